"""Whether Slurm is here, such as that of tools/start_slurm.sh."""

import shutil
import subprocess


def count_nodes() -> int:
    """Count the nodes of a working Slurm; 0 without one."""
    if shutil.which("sbatch") is None:
        return 0
    return len(subprocess.run(["sinfo", "--noheader", "--Node"], capture_output=True, text=True).stdout.splitlines())

"""Whether Slurm is here, such as that of tools/start_slurm.sh."""

import shutil
import subprocess


def list_nodes() -> set[str]:
    """Return the names of the idle nodes of a working Slurm; none without one."""
    if shutil.which("sbatch") is None:
        return set()
    command = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    return set(subprocess.run(command, capture_output=True, text=True).stdout.split())

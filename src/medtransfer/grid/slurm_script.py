"""The batch script of a job array."""

import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medtransfer.config import Params
from medtransfer.grid.resources import Share
from medtransfer.grid.runnable import Runnable

SECONDS_TO_STOP = 120  # from SIGTERM to the end of a task that is out of time


@dataclass(frozen=True)
class Batch:
    """Jobs of one array.

    Attributes:
        kind: kind of the jobs.
        share: what each of them takes.
        jobs: the jobs.
        needs: jobs that must be done before.
        beside: jobs that a task runs beside each other, on one GPU.
        per_task: jobs that a task runs in all.
    """

    kind: str
    share: Share
    jobs: Sequence[Runnable]
    needs: frozenset[Runnable]
    beside: int
    per_task: int

    @property
    def rounds(self) -> int:
        """Number of jobs that a task runs one after the other."""
        return math.ceil(min(self.per_task, len(self.jobs)) / self.beside)

    @property
    def tasks(self) -> int:
        """Number of tasks of the array."""
        return math.ceil(len(self.jobs) / self.per_task)


def script(params: Params, batch: Batch, folder: Path) -> str:
    """Return the batch script of an array.

    Slurm sends SIGTERM two minutes before the time limit, and after a preemption or a lost host starts the task again: it resumes.

    Args:
        params: params; `grid.slurm` has the options.
        batch: the jobs.
        folder: absolute path of the folder of the batch.
    """
    grid, share = params.grid, batch.share
    resources = grid.resources.get(batch.kind)  # type: ignore[call-overload]
    cpus = math.ceil(share.cpus * batch.beside)
    limit = f"%{grid.slurm.at_once}" if grid.slurm.at_once else ""
    options = [f"--job-name=medtransfer-{batch.kind}", f"--array=0-{batch.tasks - 1}{limit}"]
    options += ["--ntasks=1", f"--cpus-per-task={cpus}"]
    options += [f"--gres=gpu:{math.ceil(share.gpus)}"] if share.gpus else []
    options += [f"--mem={math.ceil(1000 * share.memory_gb * batch.beside)}M"] if share.memory_gb else []
    options += [f"--time={times(resources.time, batch.rounds)}"] if resources and resources.time else []
    options += ["--requeue", "--open-mode=append", f"--signal=B:TERM@{SECONDS_TO_STOP}", f"--output={folder}/task-%a.log"]
    lines = [f"#SBATCH {option}" for option in [*options, *grid.slurm.options]]
    code = os.pathsep.join(path for path in sys.path if path and (Path(path) / "medtransfer").is_dir())
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, int(share.cpus))))
    needs = "".join(f"# after: {name}\n" for name in sorted(need.name for need in batch.needs))
    return "\n".join([
        "#!/bin/bash", *lines, f"{needs}cd {shlex.quote(str(Path.cwd()))}",
        f"export PYTHONPATH={shlex.quote(code)} OMP_NUM_THREADS={threads}", "unset MLFLOW_RUN_ID", *grid.slurm.setup,
        f'exec {shlex.quote(sys.executable)} -m medtransfer.grid.slurm_task {shlex.quote(str(folder))} "$SLURM_ARRAY_TASK_ID"', "",
    ])  # fmt: skip


def times(duration: str, number: int) -> str:
    """Return a multiple of a time limit, as `days-hours:minutes:seconds`; the limit itself for one.

    Args:
        duration: by Slurm's forms: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or
            days-hours:minutes:seconds. Source: sbatch(1), --time.
        number: factor.
    """
    if number == 1:
        return duration
    days, dash, clock = duration.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [*parts, 0, 0][:3] if dash or len(parts) == 3 else [0, *parts, 0][:3]
    total = number * (((24 * int(days or 0) + hours) * 60 + minutes) * 60 + seconds)
    minutes, seconds = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24}-{hours % 24:02}:{minutes:02}:{seconds:02}"

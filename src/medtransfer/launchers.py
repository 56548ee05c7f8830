"""How many processes a launcher such as torchrun or srun started for this command, and which of them this one is."""

import os
from dataclasses import dataclass

from medtransfer.errors import InputError

# Variables that hold the number of processes and the index of this one. A Slurm job has SLURM_NTASKS and SLURM_PROCID in its
# batch script, too, which runs once; only srun sets SLURM_STEP_NUM_TASKS.
_SIZES = {
    "torchrun": "WORLD_SIZE", "srun": "SLURM_STEP_NUM_TASKS", "mpirun": "OMPI_COMM_WORLD_SIZE", "mpiexec": "PMI_SIZE",
    "jsrun": "JSM_NAMESPACE_SIZE",
}  # fmt: skip
_RANKS = {
    "torchrun": ("RANK", "LOCAL_RANK"), "srun": ("SLURM_PROCID",), "mpirun": ("OMPI_COMM_WORLD_RANK",), "mpiexec": ("PMI_RANK",),
    "jsrun": ("JSM_NAMESPACE_RANK",),
}  # fmt: skip
_MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK")  # where and as whom Lightning's processes meet
VARIABLES = (*_SIZES.values(), *(name for names in _RANKS.values() for name in names), *_MEETING)


@dataclass(frozen=True)
class Launch:
    """How this process was started together with others.

    Attributes:
        launcher: name of the launcher.
        processes: number of processes, at least 2.
        rank: index of this process.
    """

    launcher: str
    processes: int
    rank: int


def find_launch() -> Launch | None:
    """Return how this process was started together with others; None if it was started alone.

    Raises:
        InputError: a variable is not a number.
    """
    for launcher, names in _RANKS.items():
        rank = next((number for name in names if (number := _read_number(name)) is not None), 0)
        size = _read_number(_SIZES[launcher]) if any(name in os.environ for name in names) else None
        if (processes := max(size or 1, rank + 1)) > 1:
            return Launch(launcher, processes, rank)
    return None


def require_processes(number: int, reason: str) -> None:
    """Refuse a command that a launcher started in another number of processes than it needs.

    Args:
        number: number of processes of the command; a command that was started alone makes the others itself.
        reason: what the number comes from, for the message.

    Raises:
        InputError: the numbers differ, or several processes were started by a launcher other than torchrun and srun.
    """
    launch = find_launch()
    if launch is None or (launch.processes == number and launch.launcher in {"torchrun", "srun"}):
        return
    raise InputError(
        f"expected {number} process{'es' if number > 1 else ''} ({reason}), but {launch.launcher} started {launch.processes}; "
        f"start the command without {launch.launcher} or with one process: it makes its own"
    )


def forget_launcher() -> None:
    """Remove what a launcher set from the environment, for a command of its own in a process that was started for another."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def without_launcher() -> dict[str, str]:
    """Return the environment without what a launcher set."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def is_main_process() -> bool:
    """Whether this process writes and logs (rank 0 of a distributed job)."""
    launch = find_launch()
    return launch is None or launch.rank == 0


def _read_number(name: str) -> int | None:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise InputError(f"expected a whole number in the environment variable {name}, but got {text!r}; unset or correct it")
    return int(text) if text else None

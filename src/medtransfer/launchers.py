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
_MEETING = (
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NODE_RANK",
    "GROUP_RANK",
)  # where and as whom Lightning's processes meet
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


def require_processes(number: int, reason: str, machines: int = 1) -> None:
    """Refuse a command that a launcher started in another number of processes than it needs.

    Args:
        number: number of processes of the command; a command that was started alone makes the others itself.
        reason: what the number comes from, for the message.
        machines: number of machines that the processes are divided among evenly.

    Raises:
        InputError: the numbers differ, or several processes were started by a launcher other than torchrun and srun.
    """
    launch = find_launch()
    if launch is None:
        return
    here = _processes_here(launch)
    divided = here in (None, number // machines)
    if launch.processes == number and launch.launcher in {"torchrun", "srun"} and divided:
        return
    if machines > 1 or (launch.processes == number and not divided):
        raise InputError(
            f"expected {number} processes ({reason}), {number // machines} per machine with pretrain.num_nodes {machines}, by "
            f"torchrun or srun, but {launch.launcher} started {launch.processes}{f', {here} on this machine' if here else ''}; "
            "start the command as docs/how-to/scale.md says"
        )
    raise InputError(
        f"expected {number} process{'es' if number > 1 else ''} ({reason}), but {launch.launcher} started {launch.processes}; "
        f"start the command without {launch.launcher} or with one process: it makes its own"
    )


def _processes_here(launch: Launch) -> int | None:
    """Return the number of processes on this machine; None if the launcher does not say."""
    if launch.launcher == "torchrun":
        return _read_number("LOCAL_WORLD_SIZE")
    nodes = _read_number("SLURM_STEP_NUM_NODES") or _read_number("SLURM_NNODES")
    return launch.processes // nodes if launch.launcher == "srun" and nodes else None


def require_machines(machines: int) -> None:
    """Refuse a command of several machines that no launcher started.

    Raises:
        InputError: it was started alone.
    """
    if machines > 1 and find_launch() is None:
        raise InputError(
            f"expected the command to be started on {machines} machines (pretrain.num_nodes) by torchrun or srun, but it was "
            "started alone; start it as docs/how-to/scale.md says, or set pretrain.num_nodes to 1"
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

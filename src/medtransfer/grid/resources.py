"""What a job takes of a machine: cores, GPUs and memory, by its kind."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from medtransfer.config import Params
from medtransfer.environment import count_cores
from medtransfer.errors import InputError
from medtransfer.grid.runnable import Runnable

GB = 10**9  # bytes
ROUNDING = 1e-9  # three thirds of a GPU are one


@dataclass(frozen=True)
class Share:
    """What one job takes.

    Attributes:
        cpus: cores.
        gpus: GPUs; less than one is a share of one.
        memory_gb: memory in GB; 0 is not counted.
    """

    cpus: float
    gpus: float
    memory_gb: float = 0.0


def share_of(params: Params, job: Runnable, has_gpus: bool) -> Share:
    """Return what a job takes, by `grid.resources` of its kind, else by the grid's own values.

    A pretraining on several devices takes the cores of each, and whole GPUs. Without GPUs, none is taken.
    """
    devices = job.devices(params)
    cpus, gpus, memory = (_value(params, job.kind, name) for name in ("cpus", "gpus", "memory_gb"))
    if not (has_gpus and job.needs_gpu(params)):
        gpus = 0.0
    elif devices > 1:
        gpus = float(devices)
    return Share(cpus * devices, gpus, memory)


def _value(params: Params, kind: str, name: str) -> float:
    own = getattr(params.grid.resources.get(kind), name, None)  # type: ignore[call-overload]
    return float((getattr(params.grid, name) if own is None else own) or 0)


def key_of(params: Params, kind: str, name: str) -> str:
    """Return the key of params.yaml that a value comes from, for messages."""
    own = getattr(params.grid.resources.get(kind), name, None)  # type: ignore[call-overload]
    return f"grid.{name}" if own is None else f"grid.resources.{kind}.{name}"


def are_counted(params: Params) -> bool:
    """Return whether a local job starts only where there is room for what it takes; else any free worker runs it."""
    return bool(params.grid.resources) or params.grid.memory_gb is not None


@dataclass
class Machine:
    """A machine and what the jobs that run on it have left free.

    Attributes:
        cores: all its cores.
        memory_gb: all its memory in GB.
        gpus: names of its GPUs.
        taken: shares of the running jobs, and the GPUs of each.
    """

    cores: float
    memory_gb: float
    gpus: Sequence[str] = ()
    taken: list[tuple[Share, tuple[str, ...]]] = field(default_factory=list)

    @classmethod
    def here(cls, gpus: Sequence[str]) -> "Machine":
        """Describe this machine, with the GPUs that jobs may use."""
        return cls(count_cores(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB, gpus)

    def check(self, params: Params, jobs: Sequence[Runnable]) -> None:
        """Check that each kind of job fits the idle machine.

        Raises:
            InputError: one does not, and would wait forever; the message names its key.
        """
        for (kind, share), job in {(job.kind, share_of(params, job, bool(self.gpus))): job for job in reversed(jobs)}.items():
            sizes = {"cpus": (self.cores, "cores"), "gpus": (len(self.gpus), "GPUs"), "memory_gb": (self.memory_gb, "GB of memory")}
            for name, (most, unit) in sizes.items():
                if (value := getattr(share, name)) > most + ROUNDING:
                    raise InputError(
                        f"expected {key_of(params, kind, name)} for {job.name} to fit the {most:.4g} {unit} of this machine, but "
                        f"it takes {value:g}; lower it"
                    )

    def at_once(self, share: Share) -> int:
        """Return how many jobs of a share the idle machine runs at once."""
        fits = [self.cores / share.cpus, self.memory_gb / share.memory_gb if share.memory_gb else math.inf]
        if share.gpus >= 1:
            fits.append(len(self.gpus) // math.ceil(share.gpus))
        elif share.gpus:
            fits.append(len(self.gpus) * math.floor(1 / share.gpus + ROUNDING))
        return max(1, math.floor(min(fits) + ROUNDING))

    def place(self, share: Share) -> tuple[str, ...] | None:
        """Return the GPUs on which there is room for a share, the fullest first; None if there is no room on the machine."""
        cpus, memory = (sum(getattr(each, name) for each, _ in self.taken) for name in ("cpus", "memory_gb"))
        if cpus + share.cpus > self.cores + ROUNDING or memory + share.memory_gb > self.memory_gb + ROUNDING:
            return None
        number = math.ceil(share.gpus)
        part = share.gpus / number if number == 1 else 1.0
        loads = {gpu: sum(min(each.gpus, 1) for each, gpus in self.taken if gpu in gpus) for gpu in self.gpus}
        fitting = sorted((gpu for gpu in self.gpus if loads[gpu] + part <= 1 + ROUNDING), key=lambda gpu: -loads[gpu])
        return tuple(fitting[:number]) if len(fitting) >= number else None

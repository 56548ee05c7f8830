"""Contract of the launchers, which `medtransfer.grid_launchers.LAUNCHERS` names."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from medtransfer.config import Params
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import Outcome


class Launcher(Protocol):
    """Runs jobs somewhere."""

    @property
    def workers(self) -> int:
        """Number of jobs that run at once at most."""
        ...

    @property
    def orders(self) -> bool:
        """Whether it takes a job once what it needs is submitted, and starts it when that is done."""
        ...

    def at_once(self, job: Runnable) -> float:
        """Return how many such jobs run at once; infinity if only a cluster knows."""
        ...

    def has_room(self, job: Runnable) -> bool:
        """Return whether a job can be submitted now."""
        ...

    def submit(self, job: Any) -> None:
        """Take a job."""

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Wait until at least one job has ended; yield every ended job and its outcome."""
        ...

    def close(self) -> None:
        """End what is left running."""


# Starts a launcher of params, workers (local processes; None for as many as there is room for), all jobs that will be submitted,
# the accelerator that most of them compute on, and a folder of log files.
Start = Callable[[Params, int | None, Sequence[Runnable], str, Path], Launcher]

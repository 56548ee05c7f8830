"""Contract of the launchers, which `medtransfer.grid_launchers.LAUNCHERS` names."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

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


class LauncherKind(ABC):
    """One way of running jobs; all that is asked of it before a job runs.

    Attributes:
        here: whether its workers are processes of this machine, whose measured durations hold for the next jobs.
        queues: whether jobs also wait in the queue of a cluster, for as long as nobody knows.
    """

    here: ClassVar[bool] = False
    queues: ClassVar[bool] = False

    def prepare(self, params: Params, workers: int | None, count: int, accelerator: str) -> None:  # noqa: B027
        """Begin what `start` would wait for, so that the caller can do something else meanwhile; by default nothing.

        Args:
            params: params of all jobs.
            workers: local processes; None for as many as there is room for.
            count: number of jobs, at most.
            accelerator: that most of them compute on, as in the params.
        """

    @abstractmethod
    def start(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path) -> Launcher:
        """Start a launcher.

        Args:
            params: params of all jobs.
            workers: local processes; None for as many as there is room for.
            jobs: all jobs that will be submitted.
            accelerator: that most of them compute on, as in the params.
            logs: folder of log files.

        Raises:
            InputError: it cannot be started, or a job takes more than there is.
        """

    def check(self, params: Params, jobs: Sequence[Runnable], accelerator: str) -> None:  # noqa: B027
        """Refuse what `start` would refuse as far as that is known without starting anything; by default nothing.

        Raises:
            InputError: a job takes more than there is.
        """

    def at_once(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str) -> dict[str, float]:
        """Return how many jobs of each kind of `jobs` would run at once at most; by default nothing, since only a cluster knows."""
        return {}

    def is_single(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str) -> bool:
        """Return whether one worker would run all jobs, which this process then does itself."""
        return set(self.at_once(params, workers, jobs, accelerator).values()) == {1}

    def write_scripts(self, params: Params, jobs: Sequence[Runnable], folder: Path) -> list[Path]:
        """Write the scripts that would be submitted for the jobs, for a plan; by default none."""
        return []

"""Run one job at a time in this process, which has all devices of the machine."""

from collections.abc import Iterator

from medtransfer.config import Params
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import Outcome, attempt


class Alone:
    """Runs a submitted job when its outcome is asked for."""

    def __init__(self, params: Params) -> None:
        """Run jobs of a study."""
        self.params, self.jobs = params, list[Runnable]()

    workers, orders = 1, False

    def at_once(self, job: Runnable) -> float:
        """Return 1."""
        return 1.0

    def has_room(self, job: Runnable) -> bool:
        """Return whether no job is waiting."""
        return not self.jobs

    def submit(self, job: Runnable) -> None:
        """Take a job."""
        self.jobs.append(job)

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Run the job; yield it and its outcome."""
        job = self.jobs.pop()
        yield job, attempt(self.params, job)

    def close(self) -> None:
        """Do nothing: no job is left running."""

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

    @property
    def free(self) -> int:
        """Number of jobs that can be submitted now."""
        return 1 - len(self.jobs)

    def submit(self, job: Runnable) -> None:
        """Take a job."""
        self.jobs.append(job)

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Run the job; yield it and its outcome."""
        job = self.jobs.pop()
        yield job, attempt(self.params, job)

    def close(self) -> None:
        """Do nothing: no job is left running."""

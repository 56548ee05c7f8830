"""Jobs that a launcher gives back, by a launcher that plays a script."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from medtransfer.config import Params
from medtransfer.grid.scheduling import work
from medtransfer.grid.worker import BACK, DONE, RETRY, Outcome


@dataclass(frozen=True)
class Piece:
    """A job by its name alone."""

    name: str
    needs: frozenset["Piece"] = frozenset()
    kind: str = "finetune"

    def run(self, params: Params) -> None:
        """Do nothing."""

    def devices(self, params: Params) -> int:
        """Return 1."""
        return 1

    def needs_gpu(self, params: Params) -> bool:
        """Return False."""
        return False


@dataclass
class Scripted:
    """Launcher that takes jobs before those that they need are done; each submission of a job has the next of its outcomes."""

    script: dict[str, list[str]]
    submitted: list[Piece] = field(default_factory=list)
    open: list[Piece] = field(default_factory=list)
    workers: int = 1
    orders: bool = True

    def at_once(self, job: Piece) -> float:
        """Return 1."""
        return 1.0

    def has_room(self, job: Piece) -> bool:
        """Return True."""
        return True

    def submit(self, job: Piece) -> None:
        """Take a job."""
        self.submitted.append(job)
        self.open.append(job)

    def outcomes(self) -> Iterator[tuple[Piece, Outcome]]:
        """End the open jobs in the order of their submission."""
        ended, self.open = self.open, []
        for job in ended:
            yield job, Outcome(self.script[job.name].pop(0), "", 0.0)

    def close(self) -> None:
        """Do nothing."""


class Counts:
    """Takes note of nothing."""

    def finish(self, job: Piece, outcome: Outcome) -> None:
        """Do nothing."""

    def drop(self, job: Piece) -> None:
        """Do nothing."""


FIRST = Piece("first")
SECOND = Piece("second", frozenset({FIRST}))


def _work(script: dict[str, list[str]]) -> tuple[list[str], set[str], set[str], list[str]]:
    launcher, done, failed = Scripted(script), set[Piece](), dict[Piece, str]()
    untried = work([FIRST, SECOND], launcher, 2, Counts(), done, failed)
    return (
        [job.name for job in launcher.submitted],
        {job.name for job in done},
        {job.name for job in failed},
        [job.name for job in untried],
    )


def test_a_cancelled_job_has_failed_and_is_not_submitted_again() -> None:
    """Slurm has dropped the second job although the first is done: somebody has cancelled it."""
    assert _work({"first": [DONE], "second": [BACK]}) == (["first", "second"], {"first"}, {"second"}, [])


def test_a_job_that_lost_one_that_it_needs_is_submitted_again_after_it() -> None:
    script = {"first": [RETRY, DONE], "second": [BACK, DONE]}
    assert _work(script) == (["first", "second", "first", "second"], {"first", "second"}, set(), [])
    script = {"first": [RETRY, DONE], "second": [BACK, BACK]}  # and is cancelled then
    assert _work(script) == (["first", "second", "first", "second"], {"first"}, {"second"}, [])


def test_a_job_that_needs_a_failed_one_is_not_tried() -> None:
    assert _work({"first": ["failed"], "second": [BACK]}) == (["first", "second"], set(), {"first"}, ["second"])

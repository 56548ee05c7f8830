"""A job goes in; it is done in this process, and what became of it comes out as plain values that any launcher can send."""

import time
from dataclasses import dataclass

from medtransfer.config import Params
from medtransfer.errors import InputError, StageError, is_full_disk, name_full_disk
from medtransfer.grid.jobs import Job, do
from medtransfer.tracking import StoreLost

DONE, FAILED, AGAIN = "done", "failed", "again"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        status: `done`; `failed`, which would fail the same way again; or `again`, which may go well next time.
        words: why it was not done, in one sentence.
        seconds: that it took.
    """

    status: str
    words: str
    seconds: float


def attempt(params: Params, job: Job) -> Outcome:
    """Do a job, or say why it could not be done; only an interruption comes through as an exception."""
    begin = time.monotonic()
    try:
        do(params, job)
        status, words = DONE, ""
    except StoreLost as fault:
        status, words = AGAIN, str(fault)
    except (InputError, StageError) as fault:
        status, words = FAILED, str(fault)
    except Exception as fault:
        full = is_full_disk(fault)
        status = FAILED if full else AGAIN
        words = name_full_disk(fault) if full else f"{type(fault).__name__}: {fault}"
    return Outcome(status, " ".join(words.split()), time.monotonic() - begin)

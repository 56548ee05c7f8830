"""Run one job in this process and return its outcome as plain values that any launcher can send."""

import os
import time
from dataclasses import dataclass

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import InputError, StageError, TemporaryError, is_full_disk, name_full_disk
from medtransfer.forks import limited_to
from medtransfer.grid.runnable import Runnable

DONE, FAILED, RETRY, BACK = "done", "failed", "retry", "back"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    Attributes:
        status: `done`; `failed`, for a permanent error; `retry`, for an error that may be temporary; or `back`, for a job that
            was not started: one that it needs has not been done, or it was cancelled.
        reason: one sentence on the error, empty if done.
        seconds: duration of the job.
    """

    status: str
    reason: str
    seconds: float


def threads() -> int | None:
    """Return how many threads a launcher has given to the jobs of this process; None if it does not say."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else None


def attempt(params: Params, job: Runnable) -> Outcome:
    """Run a job; errors become an outcome, and only interruptions are raised."""
    begin = time.monotonic()
    try:
        with limited_to(threads()), tracking.patient():
            job.run(params)
        status, reason = DONE, ""
    except TemporaryError as error:
        status, reason = RETRY, str(error)
    except (InputError, StageError) as error:
        status, reason = FAILED, str(error)
    except Exception as error:
        full = is_full_disk(error)
        status = FAILED if full else RETRY
        reason = name_full_disk(error) if full else f"{type(error).__name__}: {error}"
    return Outcome(status, " ".join(reason.split()), time.monotonic() - begin)

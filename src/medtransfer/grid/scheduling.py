"""Run jobs on a launcher, each once those that it needs are done."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from medtransfer.config import Params
from medtransfer.grid.alone import Alone
from medtransfer.grid.launcher import Launcher, LauncherKind
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import BACK, DONE, FAILED, RETRY, Outcome
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.progress import status

log = logging.getLogger("medtransfer")
J = TypeVar("J", bound=Runnable, contravariant=True)


class Progress(Protocol[J]):
    """Counts jobs."""

    def finish(self, job: J, outcome: Outcome) -> None:
        """Count a job that is done or has failed after all attempts."""

    def drop(self, job: J) -> None:
        """Remove a job that need not be run from the counts."""


def launch(
    params: Params, name: str, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path
) -> Launcher:  # fmt: skip
    """Start a launcher.

    Args:
        params: params of all jobs; `grid` says what each takes.
        name: its key in LAUNCHERS.
        workers: local processes; None for as many as there is room for.
        jobs: all jobs that will be submitted.
        accelerator: that most of them compute on, as in the params.
        logs: folder of the workers' log files.

    Raises:
        InputError: it cannot be started, or a job takes more than there is.
    """
    kind: LauncherKind = LAUNCHERS[name]
    with status(f"starting {name} workers"):
        return kind.start(params, workers, jobs, accelerator, logs)


def start_workers(
    params: Params, name: str, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path
) -> Launcher:  # fmt: skip
    """Start a launcher, or none where this process would run all jobs one after the other; arguments are those of `launch`."""
    kind: LauncherKind = LAUNCHERS[name]
    with status(f"starting {name} workers"):  # GPUs are counted by PyTorch, which takes a second to load
        if kind.is_single(params, workers, jobs, accelerator):
            return Alone(params)
    return launch(params, name, workers, jobs, accelerator, logs)


def work(
    jobs: Sequence[Runnable], launcher: Launcher, retries: int, progress: Progress, done: set[Runnable],
    failed: dict[Runnable, str], is_left_out: Callable[[Runnable], bool] = lambda job: False,
) -> list[Runnable]:  # fmt: skip
    """Submit every job once the jobs that it needs are done, until no job can be run any more.

    Args:
        jobs: jobs to run.
        launcher: runs them.
        retries: more attempts for a job whose process or host died.
        progress: counts them.
        done: jobs that are done, to which finished ones are added.
        failed: reasons of failed jobs, to which further ones are added.
        is_left_out: whether a job need not be run.

    Returns:
        The jobs that were not tried because a job that they need failed.
    """
    waiting = deque(jobs)
    attempts: Counter[Runnable] = Counter()
    running, kinds = set[Runnable](), {job.kind for job in jobs}
    dropped = set[Runnable]()  # submitted jobs that lost one that they need: their launcher gives them back
    while True:
        _submit_ready(waiting, done, running, kinds, launcher, progress, is_left_out)
        if not running:
            return list(waiting)
        for job, outcome in launcher.outcomes():
            running.discard(job)
            lost = job in dropped
            dropped.discard(job)
            if outcome.status != DONE:
                dropped.update(other for other in running if job in other.needs)
            if outcome.status == BACK and lost:
                waiting.append(job)
                continue
            attempts[job] += 1
            if outcome.status == RETRY and attempts[job] <= retries:
                log.warning("%s is retried: %s", job.name, outcome.reason)
                waiting.appendleft(job)
                continue
            progress.finish(job, outcome if outcome.status == DONE else Outcome(FAILED, outcome.reason, outcome.seconds))
            if outcome.status == DONE:
                done.add(job)
            else:
                failed[job] = outcome.reason


def _submit_ready(
    waiting: deque[Runnable], done: Collection[Runnable], running: set[Runnable], kinds: set[str], launcher: Launcher,
    progress: Progress, is_left_out: Callable[[Runnable], bool],
) -> None:  # fmt: skip
    """Submit ready jobs for which there is room; one that has none keeps back only those of its own kind."""
    full = set[str]()
    for job in list(waiting):
        if job.kind in full:
            continue
        if not all(need in done or (launcher.orders and need in running) for need in job.needs):
            continue
        if not launcher.has_room(job):
            full.add(job.kind)
            if full == kinds:
                break
            continue
        waiting.remove(job)
        if is_left_out(job):
            progress.drop(job)
            continue
        launcher.submit(job)
        running.add(job)

"""Run jobs on a launcher, each once those that it needs are done."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from medtransfer.config import Params
from medtransfer.environment import count_cores
from medtransfer.grid.alone import Alone
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.local import LocalLauncher, list_gpus
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import DONE, FAILED, RETRY, Outcome

log = logging.getLogger("medtransfer")
Launcher = LocalLauncher | RayLauncher | Alone
J = TypeVar("J", bound=Runnable, contravariant=True)


class Progress(Protocol[J]):
    """Counts jobs."""

    def finish(self, job: J, outcome: Outcome) -> None:
        """Count a job that is done or has failed after all attempts."""

    def drop(self, job: J) -> None:
        """Remove a job that need not be run from the counts."""


def launch(
    params: Params, kind: str, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path
) -> tuple[Launcher, int]:  # fmt: skip
    """Start a launcher; return it and the number of jobs that it runs at once.

    Args:
        params: params of all jobs; `grid` says what each takes.
        kind: `local` or `ray`.
        workers: local processes; None for as many as GPUs, or else cores, allow.
        jobs: all jobs that will be submitted.
        accelerator: that most of them compute on, as in the params.
        logs: folder of the workers' log files.
    """
    if kind == "ray":
        cluster = RayLauncher(params, jobs)
        return cluster, cluster.workers
    gpus = usable_gpus(accelerator)
    number = count_workers(params, workers, len(jobs), gpus)
    return LocalLauncher(params, number, gpus, logs), number


def usable_gpus(accelerator: str) -> list[str]:
    """Return the names of the GPUs that local workers share."""
    return [] if accelerator == "cpu" else list_gpus()


def count_workers(params: Params, workers: int | None, jobs: int, gpus: Sequence[str]) -> int:
    """Count the local workers: those asked for, or as many as GPUs, or else cores, allow, but not more than there are jobs."""
    fitting = len(gpus) / params.grid.gpus if gpus and params.grid.gpus else count_cores() / params.grid.cpus
    return workers or min(max(1, int(fitting)), jobs)


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
    running = 0
    while True:
        running += _submit_ready(waiting, done, launcher, progress, is_left_out)
        if not running:
            return list(waiting)
        for job, outcome in launcher.outcomes():
            running -= 1
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
    waiting: deque[Runnable], done: Collection[Runnable], launcher: Launcher, progress: Progress,
    is_left_out: Callable[[Runnable], bool],
) -> int:  # fmt: skip
    """Submit ready jobs, as many as the launcher accepts; return their number."""
    submitted = 0
    for job in list(waiting):
        if not launcher.free:
            break
        if not all(need in done for need in job.needs):
            continue
        waiting.remove(job)
        if is_left_out(job):
            progress.drop(job)
            continue
        launcher.submit(job)
        submitted += 1
    return submitted

"""Stage `grid`: run all jobs of a study on many workers; an interrupted study is resumed."""

import logging
from collections import Counter, deque
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Grid, Params
from medtransfer.environment import count_cores
from medtransfer.errors import StageError
from medtransfer.grid.alone import Alone
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.jobs import Job, count_devices, is_left_out, plan
from medtransfer.grid.local import LocalLauncher, list_gpus
from medtransfer.grid.progress import StudyProgress
from medtransfer.grid.worker import DONE, FAILED, RETRY, Outcome
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes

log = logging.getLogger("medtransfer")
Launcher = LocalLauncher | RayLauncher | Alone


def run(params: Params) -> str:
    """Run all jobs of the study; finished ones are reused, and failures do not stop the others.

    Args:
        params: params, whose section `study` lists the cells and `grid` the workers.

    Returns:
        A summary for the terminal.

    Raises:
        InputError: a launcher started the grid several times.
        StageError: some jobs failed; the others are done.
    """
    require_processes(1, "the grid")
    study.reach_store(params, (*study.RESULTS, "grid"))
    section, jobs = params.grid, plan(params)
    with tracking.project_run_set_aside():
        launcher, workers = _launch(params, params.grid)
    cells = sum(job.kind == "finetune" for job in jobs)
    try:
        names = {name: ",".join(map(str, values)) for name, values in params.study.model_dump().items() if values}
        run_params = {"launcher": section.launcher, "workers": workers, "cells": cells, "jobs": len(jobs), **names}
        with tracking.open_run("grid", "grid", _cell(params, jobs), run_params, {}, on_disk=True) as handle:
            progress = StudyProgress(jobs, workers, handle)
            log.info("grid: %d cells and %d other jobs on %d %s workers", cells, len(jobs) - cells, workers, section.launcher)
            failed, untried = _work_in_turn(params, jobs, launcher, progress)
            progress.log_metrics()
            progress.close()
            summary = progress.summary()
            if failed:
                raise StageError(_failure(failed, untried, summary))
    finally:
        launcher.close()
    return f"{summary}\n\nNext: medtransfer report"


def run_and_report(params: Params) -> str:
    """Run the whole study on as many local workers as there is room for, or in this process for one; return the report."""
    if params.grid.launcher == "local" and _count_workers(params, _usable_gpus(params)) == 1:
        return study.study(params)
    with tracking.project_run_set_aside():
        run(params)
    return study.report(params)


def _launch(params: Params, section: Grid) -> tuple[Launcher, int]:
    if section.launcher == "ray":
        cluster = RayLauncher(params, plan(params))
        return cluster, cluster.workers
    gpus = _usable_gpus(params)
    workers = _count_workers(params, gpus)
    return LocalLauncher(params, workers, gpus, Path(section.out)), workers


def _usable_gpus(params: Params) -> list[str]:
    return [] if params.finetune.accelerator == "cpu" else list_gpus()


def _count_workers(params: Params, gpus: list[str]) -> int:
    """Count the local workers: those asked for, or as many as GPUs, or else cores, allow, but not more than there are jobs."""
    section = params.grid
    fitting = len(gpus) / section.gpus if gpus and section.gpus else count_cores() / section.cpus
    return section.workers or min(max(1, int(fitting)), len(plan(params)))


def _cell(params: Params, jobs: list[Job]) -> str:
    recipes = params.model_dump(mode="json", include={"prepare", "pretrain", "score", "finetune"})
    return digest([[job.name for job in jobs], recipes], 16)


def _work_in_turn(
    params: Params, jobs: list[Job], launcher: Launcher, progress: StudyProgress
) -> tuple[dict[Job, str], list[Job]]:  # fmt: skip
    """Run pretrainings on several devices alone, since a local worker has one GPU, and the other jobs on the launcher.

    Returns:
        The reason of each failed job, and the jobs that were not tried because a job that they need failed.
    """
    first = [job for job in jobs if params.grid.launcher == "local" and count_devices(params, job) > 1]
    done, failed = set[Job](), dict[Job, str]()
    _work(params, first, Alone(params), progress, done, failed)
    return failed, _work(params, [job for job in jobs if job not in first], launcher, progress, done, failed)


def _work(
    params: Params, jobs: list[Job], launcher: Launcher, progress: StudyProgress, done: set[Job], failed: dict[Job, str]
) -> list[Job]:  # fmt: skip
    """Submit every job once the jobs that it needs are done, until no job can be run any more.

    Args:
        params: params of the study.
        jobs: jobs to run.
        launcher: runs them.
        progress: counts them.
        done: jobs that are done, to which finished ones are added.
        failed: reasons of failed jobs, to which further ones are added.

    Returns:
        The jobs that were not tried because a job that they need failed.
    """
    waiting = deque(jobs)
    attempts: Counter[Job] = Counter()
    running = 0
    while True:
        running += _submit_ready(params, waiting, done, launcher, progress)
        if not running:
            return list(waiting)
        for job, outcome in launcher.outcomes():
            running -= 1
            attempts[job] += 1
            if outcome.status == RETRY and attempts[job] <= params.grid.retries:
                log.warning("grid: %s is retried: %s", job.name, outcome.reason)
                waiting.appendleft(job)
                continue
            progress.finish(job, outcome if outcome.status == DONE else Outcome(FAILED, outcome.reason, outcome.seconds))
            if outcome.status == DONE:
                done.add(job)
            else:
                failed[job] = outcome.reason


def _submit_ready(
    params: Params, waiting: deque[Job], done: set[Job], launcher: Launcher, progress: StudyProgress
) -> int:  # fmt: skip
    """Submit ready jobs, as many as the launcher accepts; return their number."""
    submitted = 0
    for job in list(waiting):
        if not launcher.free:
            break
        if not job.needs <= done:
            continue
        waiting.remove(job)
        if is_left_out(params, job):
            progress.drop(job)
            continue
        launcher.submit(job)
        submitted += 1
    return submitted


def _failure(failed: dict[Job, str], untried: list[Job], summary: str) -> str:
    first, reason = next(iter(failed.items()))
    after = f", and {len(untried)} jobs that need them were not tried" if untried else ""
    return f"{len(failed)} jobs failed{after}; the first, {first.name}: {reason} — {summary}; run the same command again to resume"

"""Stage `grid`: run all jobs of a study on many workers; an interrupted study is resumed."""

import logging
import os
from collections import Counter, deque
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Grid, Params
from medtransfer.errors import StageError
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.jobs import Job, do, is_left_out, plan
from medtransfer.grid.local import LocalLauncher, list_gpus
from medtransfer.grid.progress import StudyProgress
from medtransfer.grid.worker import DONE, FAILED, RETRY, Outcome
from medtransfer.hashing import digest

log = logging.getLogger("medtransfer")
Launcher = LocalLauncher | RayLauncher


def run(params: Params) -> str:
    """Run all jobs of the study; finished ones are reused, and failures do not stop the others.

    Args:
        params: params, whose section `study` lists the cells and `grid` the workers.

    Returns:
        A summary for the terminal.

    Raises:
        StageError: some jobs failed; the others are done.
    """
    study.reach_store(params, (*study.RESULTS, "grid"))
    section, jobs = params.grid, plan(params)
    with tracking.project_run_set_aside():
        if section.launcher == "local" and params.pretrain.devices > 1:  # a worker has one GPU
            for job in (job for job in jobs if job.kind == "pretrain"):
                log.info("grid: %s on %d devices, before the workers start", job.name, params.pretrain.devices)
                do(params, job)
        launcher, workers = _launch(params, params.grid)
    cells = sum(job.kind == "finetune" for job in jobs)
    try:
        names = {name: ",".join(map(str, values)) for name, values in params.study.model_dump().items()}
        run_params = {"launcher": section.launcher, "workers": workers, "cells": cells, "jobs": len(jobs), **names}
        with tracking.open_run("grid", "grid", _cell(params, jobs), run_params, {}, on_disk=True) as handle:
            progress = StudyProgress(jobs, workers, handle)
            log.info("grid: %d cells and %d other jobs on %d %s workers", cells, len(jobs) - cells, workers, section.launcher)
            failed, untried = _work(params, jobs, launcher, progress, section.retries)
            progress.log_metrics()
            progress.close()
            summary = progress.summary()
            if failed:
                raise StageError(_failure(failed, untried, summary))
    finally:
        launcher.close()
    return f"{summary}\n\nNext: medtransfer report"


def _launch(params: Params, section: Grid) -> tuple[Launcher, int]:
    if section.launcher == "ray":
        cluster = RayLauncher(params, section.address, section.cpus, section.gpus, section.retries)
        return cluster, cluster.workers
    gpus = [] if params.finetune.accelerator == "cpu" else list_gpus()
    fitting = len(gpus) / section.gpus if gpus and section.gpus else (os.cpu_count() or 1) / section.cpus
    workers = section.workers or max(1, int(fitting))
    return LocalLauncher(params, workers, gpus, Path(section.out)), workers


def _cell(params: Params, jobs: list[Job]) -> str:
    recipes = params.model_dump(mode="json", include={"prepare", "pretrain", "score", "finetune"})
    return digest([[job.name for job in jobs], recipes], 16)


def _work(
    params: Params, jobs: list[Job], launcher: Launcher, progress: StudyProgress, retries: int
) -> tuple[dict[Job, str], list[Job]]:  # fmt: skip
    """Submit every job once the jobs that it needs are done, until no job can be run any more.

    Returns:
        The reason of each failed job, and the jobs that were not tried because a job that they need failed.
    """
    waiting, done, failed = deque(jobs), set[Job](), dict[Job, str]()
    attempts: Counter[Job] = Counter()
    running = 0
    while True:
        running += _submit_ready(params, waiting, done, launcher, progress)
        if not running:
            return failed, list(waiting)
        for job, outcome in launcher.outcomes():
            running -= 1
            attempts[job] += 1
            if outcome.status == RETRY and attempts[job] <= retries:
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

"""Stage `grid`: run all jobs of a study on many workers; an interrupted study is resumed."""

import logging
from functools import partial
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import StageError
from medtransfer.grid.alone import Alone
from medtransfer.grid.jobs import Job, is_left_out, plan
from medtransfer.grid.progress import StudyProgress
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import Launcher, count_workers, launch, usable_gpus, work
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes

log = logging.getLogger("medtransfer")


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
        launcher, workers = launch(params, section.launcher, section.workers, jobs, params.finetune.accelerator, Path(section.out))
    cells = sum(job.kind == "finetune" for job in jobs)
    try:
        names = {
            name: ",".join(map(str, values)) if isinstance(values, list) else values
            for name, values in params.study.model_dump().items() if values and values != [None]
        }  # fmt: skip
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


def run_and_report(params: Params, short: bool = False) -> str:
    """Run the whole study on as many local workers as there is room for, or in this process for one; return the report."""
    if params.grid.launcher == "local" and _count_local(params) == 1:
        return study.study(params, short)
    with tracking.project_run_set_aside():
        run(params)
    return study.report(params, short=short)


def _count_local(params: Params) -> int:
    return count_workers(params, params.grid.workers, len(plan(params)), usable_gpus(params.finetune.accelerator))


def _cell(params: Params, jobs: list[Job]) -> str:
    recipes = params.model_dump(mode="json", include={"prepare", "pretrain", "score", "finetune"})
    return digest([[job.name for job in jobs], recipes], 16)


def _work_in_turn(
    params: Params, jobs: list[Job], launcher: Launcher, progress: StudyProgress
) -> tuple[dict[Runnable, str], list[Runnable]]:  # fmt: skip
    """Run pretrainings on several devices alone, since a local worker has one GPU, and the other jobs on the launcher.

    Returns:
        The reason of each failed job, and the jobs that were not tried because a job that they need failed.
    """
    first = [job for job in jobs if params.grid.launcher == "local" and job.devices(params) > 1]
    done, failed = set[Runnable](), dict[Runnable, str]()
    retries, left_out = params.grid.retries, partial(is_left_out, params)
    for job in first:
        log.info("grid: %s, before the other jobs", job.name)
    work(first, Alone(params), retries, progress, done, failed, left_out)
    return failed, work([job for job in jobs if job not in first], launcher, retries, progress, done, failed, left_out)


def _failure(failed: dict[Runnable, str], untried: list[Runnable], summary: str) -> str:
    first, reason = next(iter(failed.items()))
    after = f", and {len(untried)} jobs that need them were not tried" if untried else ""
    return f"{len(failed)} jobs failed{after}; the first, {first.name}: {reason} — {summary}; run the same command again to resume"

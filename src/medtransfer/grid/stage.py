"""Stage `grid`: run all jobs of a study on many workers; an interrupted study is resumed."""

import logging
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.config.loaded_files import repeated_options
from medtransfer.environment import require_device
from medtransfer.errors import InputError, StageError
from medtransfer.grid.alone import Alone
from medtransfer.grid.estimate import Durations, read_earlier
from medtransfer.grid.input_folders import check_folders
from medtransfer.grid.jobs import Job, check_inputs, check_models, is_left_out, plan, warn_of_refusals
from medtransfer.grid.kept import keep_winners
from medtransfer.grid.launcher import Launcher, LauncherKind
from medtransfer.grid.progress import StudyProgress
from medtransfer.grid.reuse import describe_reuse, find_reused
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import launch, work
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")


def run(params: Params) -> str:
    """Run all jobs of the study; finished ones are reused, and failures do not stop the others.

    Args:
        params: params, whose section `study` lists the cells and `grid` the workers.

    Returns:
        A summary for the terminal.

    Raises:
        InputError: a launcher started the grid several times, a pretraining takes several machines, an encoder does not take an
            argument, this machine lacks the device or all images, or no fine-tuning can be done as the params say.
        StageError: some jobs failed; the others are done.
    """
    jobs, reused = _look_up(params)
    cell = _cell(params, jobs)
    if len(reused) < len(jobs) or not tracking.reused("grid", "grid", cell, said="grid is finished (run {}): reused"):
        summary = _run(params, jobs, reused, cell)
    else:
        summary = f"{counted(sum(job.kind == 'finetune' for job in jobs), 'cell')} done, 0 failed, 0 remaining"
    kept = keep_winners(params, jobs)
    return f"{summary}{f'; {kept}' if kept else ''}\n\nNext: medtransfer report{repeated_options()}"


def run_and_report(params: Params, short: bool = False) -> str:
    """Run the whole study on as many local workers as there is room for, or in this process for one; return the report.

    If all jobs are finished, no library that they need is loaded. Raises as `run` does.
    """
    with tracking.project_run_set_aside():
        jobs, reused = _look_up(params)
    kind: LauncherKind = LAUNCHERS[params.grid.launcher]
    text, finished = None, len(reused) == len(jobs)
    if not finished and kind.is_single(params, params.grid.workers, jobs, params.finetune.accelerator):
        text = study.study(params, short)
    elif not finished:
        with tracking.project_run_set_aside():
            _run(params, jobs, reused, _cell(params, jobs))
    if kept := keep_winners(params, jobs):
        log.info("grid: %s", kept)
    return study.report(params, short=short) if text is None else text


def _look_up(params: Params) -> tuple[list[Job], set[Job]]:
    """Return all jobs of the study, and those that are finished, and say how many."""
    require_processes(1, "the grid")
    study.reach_store(params, (*study.RESULTS, "grid"), make=False)
    jobs = plan(params)
    with tracking.project_run_set_aside():
        reused = find_reused(params, jobs)
    log.info("grid: %s", describe_reuse(jobs, reused))
    return jobs, reused


def _check_machines(params: Params, to_do: Sequence[Job]) -> None:
    """Check that no pretraining is left that takes several machines, which a launcher such as torchrun must start."""
    left = [job.name for job in to_do if job.kind == "pretrain" and study.is_trained(params, job.origin)]
    if left and params.pretrain.num_nodes > 1:
        raise InputError(
            f"expected pretrain.num_nodes 1 in a grid, or finished pretrainings, but got {params.pretrain.num_nodes} and "
            f"{left[0]} is to do; run `medtransfer pretrain` on these machines first (docs/how-to/scale.md): the grid reuses it"
        )


def _check_machine(params: Params, to_do: Sequence[Job]) -> None:
    """Check that this machine has the images and the device of its jobs; what others have, such as a cluster's, is not known."""
    if LAUNCHERS[params.grid.launcher].here:
        check_folders(params, to_do)
        for kind in dict.fromkeys(job.kind for job in to_do if job.needs_gpu(params)):
            section = getattr(params, kind)
            require_device(section.accelerator, section.precision)


def _warn_of_refusals(params: Params, to_do: Sequence[Job], done: Job) -> None:
    """Say, once a target is prepared, which fine-tunings on it cannot be done, long before their checkpoints are there."""
    if done.kind == "prepare":
        warn_of_refusals(params, [job.cell for job in to_do if job.cell and job.target == done.target])


def _run(params: Params, jobs: Sequence[Job], reused: Collection[Job], cell: str) -> str:
    """Run the jobs that are to do; return a summary."""
    to_do = [job for job in jobs if job not in reused]
    _check_machines(params, to_do)
    refused = check_inputs(params, jobs, to_do)
    _check_machine(params, to_do)
    section, cells = params.grid, sum(job.kind == "finetune" for job in jobs)
    kind: LauncherKind = LAUNCHERS[section.launcher]
    earlier = read_earlier(params, to_do) if kind.here else {}
    launcher: Launcher = Alone(params)  # where nothing is to do, no worker is started
    if to_do:
        with tracking.project_run_set_aside():
            kind.prepare(params, section.workers, len(to_do), params.finetune.accelerator)  # while models and store are made
            check_models(params, jobs, to_do, refused)
            tracking.make_store()
            launcher = launch(params, section.launcher, section.workers, to_do, params.finetune.accelerator, Path(section.out))
    try:
        names = {
            name: ",".join(map(str, values)) if isinstance(values, list) else values
            for name, values in params.study.model_dump().items() if values and values != [None]
        }  # fmt: skip
        run_params = {"launcher": section.launcher, "workers": launcher.workers, "cells": cells, "jobs": len(jobs), **names}
        with tracking.open_run("grid", "grid", cell, run_params, {}, on_disk=True) as handle:
            at_once = {job.kind: launcher.at_once(job) for job in reversed(to_do)}
            warn = partial(_warn_of_refusals, params, to_do)
            progress = StudyProgress(to_do, at_once, handle, list(reused), Durations(earlier), kind.queues, warn)
            others, workers = len(jobs) - cells, launcher.workers
            at = counted(workers, f"{section.launcher} worker")
            log.info("grid: %s and %s on %s", counted(cells, "cell"), counted(others, "other job"), at)
            log.info("grid: %s", progress.summary())
            try:
                failed, untried = _work_in_turn(params, to_do, reused, launcher, progress)
            finally:  # an interrupted run has the counts, too
                progress.log_metrics()
                progress.close()
            summary = progress.summary()
            if failed:
                raise StageError(_failure(failed, untried, progress.counts()))
    finally:
        launcher.close()
    return summary


def _cell(params: Params, jobs: Sequence[Job]) -> str:
    recipes = params.model_dump(mode="json", include={"prepare", "pretrain", "score", "finetune"})
    return digest([[job.name for job in jobs], recipes], 16)


def _work_in_turn(
    params: Params, jobs: Sequence[Job], reused: Collection[Job], launcher: Launcher, progress: StudyProgress
) -> tuple[dict[Runnable, str], list[Runnable]]:  # fmt: skip
    """Run pretrainings on several devices alone, since a local worker has one GPU, and the other jobs on the launcher.

    Returns:
        The reason of each failed job, and the jobs that were not tried because a job that they need failed.
    """
    first = [job for job in jobs if LAUNCHERS[params.grid.launcher].here and job.devices(params) > 1]
    done, failed = set[Runnable](reused), dict[Runnable, str]()
    retries, left_out = params.grid.retries, partial(is_left_out, params)
    for job in first:
        log.info("grid: %s, before the other jobs", job.name)
    work(first, Alone(params), retries, progress, done, failed, left_out)
    return failed, work([job for job in jobs if job not in first], launcher, retries, progress, done, failed, left_out)


def _failure(failed: dict[Runnable, str], untried: list[Runnable], counts: str) -> str:
    first, reason = next(iter(failed.items()))
    tried = "was" if len(untried) == 1 else "were"
    after = f", and {counted(len(untried), 'job')} that needed what failed {tried} not tried" if untried else ""
    lost = counted(len(failed), "job")
    return f"{lost} failed{after}; the first, {first.name}: {reason} — {counts}; mend what failed, and run the same command again"

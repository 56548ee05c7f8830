"""Params go in; every cell of the study is done once, by many workers, and what was done comes out; killed, it goes on."""

import logging
import os
from collections import Counter, deque
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Grid, Params
from medtransfer.errors import StageError
from medtransfer.grid.board import Board
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.jobs import Job, do, is_left_out, plan
from medtransfer.grid.local import LocalLauncher, count_gpus
from medtransfer.grid.worker import AGAIN, DONE, FAILED, Outcome
from medtransfer.hashing import digest

log = logging.getLogger("medtransfer")
Launcher = LocalLauncher | RayLauncher


def run(params: Params) -> str:
    """Do all jobs of the study: what is finished is reused, what fails is named in the end, and the rest goes on.

    Args:
        params: their sections `study` and `grid` say what and where.

    Returns:
        What a person reads on the terminal.

    Raises:
        StageError: some jobs failed; the others are done.
    """
    study.reach_store(params)
    section, jobs = params.grid, plan(params)
    with tracking.project_run_set_aside():
        for job in _alone(params, jobs) if section.launcher == "local" else []:
            log.info("grid: %s on %d devices, before the workers start", job.name, params.pretrain.devices)
            do(params, job)
        launcher, workers = _launch(params, params.grid)
    cells = sum(job.kind == "finetune" for job in jobs)
    try:
        facts = {"launcher": section.launcher, "workers": workers, "cells": cells, "jobs": len(jobs), **_study(params)}
        with tracking.open_run("grid", "grid", _cell(params, jobs), facts, {}, on_disk=True) as handle:
            board = Board(jobs, workers, handle)
            log.info("grid: %d cells and %d other jobs on %d %s workers", cells, len(jobs) - cells, workers, section.launcher)
            failed, untried = _work(params, jobs, launcher, board, section.retries)
            board.point()
            board.close()
            said = board.words()
            if failed:
                raise StageError(_complaint(failed, untried, said))
    finally:
        launcher.close()
    return f"{said}\n\nNext: medtransfer report"


def _launch(params: Params, section: Grid) -> tuple[Launcher, int]:
    if section.launcher == "ray":
        cluster = RayLauncher(params, section.address, section.cpus, section.gpus, section.retries)
        return cluster, cluster.places
    gpus = [] if params.finetune.accelerator == "cpu" else count_gpus()
    fitting = len(gpus) / section.gpus if gpus and section.gpus else (os.cpu_count() or 1) / section.cpus
    workers = section.workers or max(1, int(fitting))
    return LocalLauncher(params, workers, gpus, Path(section.out)), workers


def _alone(params: Params, jobs: list[Job]) -> list[Job]:
    """Give the pretrainings that take several devices, which no worker with a GPU of its own could do."""
    return [job for job in jobs if job.kind == "pretrain"] if params.pretrain.devices > 1 else []


def _study(params: Params) -> dict[str, object]:
    return {name: ",".join(map(str, values)) for name, values in params.study.model_dump().items()}


def _cell(params: Params, jobs: list[Job]) -> str:
    recipes = params.model_dump(mode="json", include={"prepare", "pretrain", "score", "finetune"})
    return digest([[job.name for job in jobs], recipes], 16)


def _work(
    params: Params, jobs: list[Job], launcher: Launcher, board: Board, retries: int
) -> tuple[dict[Job, str], list[Job]]:  # fmt: skip
    """Hand out the jobs, each when those that it needs are done, until none can be done any more.

    Returns:
        The jobs that failed, with the reason, and those that were not tried since one that they need failed.
    """
    waiting, done, failed = deque(jobs), set[Job](), dict[Job, str]()
    attempts: Counter[Job] = Counter()
    at_work = 0
    while True:
        at_work += _hand_out(params, waiting, done, launcher, board)
        if not at_work:
            return failed, list(waiting)
        for job, outcome in launcher.outcomes():
            at_work -= 1
            attempts[job] += 1
            if outcome.status == AGAIN and attempts[job] <= retries:
                log.warning("grid: %s is done again: %s", job.name, outcome.words)
                waiting.appendleft(job)
                continue
            board.ended(job, outcome if outcome.status == DONE else Outcome(FAILED, outcome.words, outcome.seconds))
            if outcome.status == DONE:
                done.add(job)
            else:
                failed[job] = outcome.words


def _hand_out(params: Params, waiting: deque[Job], done: set[Job], launcher: Launcher, board: Board) -> int:
    """Submit the first jobs that are ready, as many as the launcher takes, and give their number."""
    given = 0
    for job in list(waiting):
        if not launcher.free:
            break
        if not job.needs <= done:
            continue
        waiting.remove(job)
        if is_left_out(params, job):
            board.dropped(job)
            continue
        launcher.submit(job)
        given += 1
    return given


def _complaint(failed: dict[Job, str], untried: list[Job], said: str) -> str:
    first, words = next(iter(failed.items()))
    after = f", and {len(untried)} jobs that come after them were not tried" if untried else ""
    return f"{len(failed)} jobs failed{after}; the first, {first.name}: {words} — {said}; run the same command again to go on"

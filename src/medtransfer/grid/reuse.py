"""Which jobs of a study are finished, found before any worker starts; the tracking store is asked once for all fine-tunings."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.finetune.finished import find_finished
from medtransfer.grid.estimate import WORDS
from medtransfer.grid.jobs import Job
from medtransfer.locks import is_locked
from medtransfer.records import series_folder

log = logging.getLogger("medtransfer")


def find_reused(params: Params, jobs: Sequence[Job]) -> set[Job]:
    """Return the jobs whose results are finished in the store and complete on disk; a job that needs another one counts after it.

    What cannot be looked up, since an input is missing or wrong or another process works on it, is left to a worker, which says so.
    """
    done = set[Job]()
    level = log.level
    log.setLevel(logging.WARNING)  # the stages would name each result that they reuse
    try:
        for job in jobs:
            if job.cell is None and job.needs <= done and _is_finished(params, job):
                done.add(job)
        cells = {job.cell: job for job in jobs if job.cell and job.needs <= done}
        finished = find_finished(params.finetune, list(cells), Path(params.pretrain.out), Path(params.prepare.out))
    finally:
        log.setLevel(level)
    return done | {cells[cell] for cell in finished}


def _is_finished(params: Params, job: Job) -> bool:
    folders = {
        "prepare": Path(params.prepare.out) / job.target,
        "pretrain": series_folder(Path(params.pretrain.out), job.encoder, job.origin),
        "score": series_folder(Path(params.score.out) / job.target, job.encoder, job.origin),
    }
    folder = folders[job.kind]
    if not folder.exists() or is_locked(folder):
        return False
    try:
        with tracking.looking_up():
            job.run(params)
    except (tracking.Unfinished, InputError):
        return False
    return True


def describe_reuse(jobs: Sequence[Job], reused: Collection[Job]) -> str:
    """Say how many jobs are reused and how many are to do, such as `1,790 reused, 10 to do (9 fine-tunings, 1 scoring)`."""
    left = Counter(job.kind for job in jobs if job not in reused)
    kinds = ", ".join(f"{left[kind]:,} {WORDS[kind]}{'s' * (left[kind] > 1)}" for kind in reversed(WORDS) if left[kind])
    return f"{len(reused):,} reused, {sum(left.values()):,} to do" + (f" ({kinds})" if kinds else "")

"""Which folders of images a study lacks, found before any worker starts."""

import logging
from collections.abc import Sequence
from pathlib import Path

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid.jobs import Job
from medtransfer.pretrain.start import source_of
from medtransfer.wording import are, counted

log = logging.getLogger("medtransfer")


def check_folders(params: Params, to_do: Sequence[Job]) -> None:
    """Refuse a study if no fine-tuning has the images that it needs; where some have, a warning names the folders that are missing.

    Args:
        params: params of the jobs.
        to_do: jobs that are not finished, each after those that it needs.

    Raises:
        InputError: the datasets or the source images of all fine-tunings are missing.
    """
    missing = {job: root for job in to_do if (root := _root(params, job)) and not root.exists()}
    lost = set(missing)
    for job in to_do:
        if job.needs & lost:
            lost.add(job)
    cells = [job for job in to_do if job.cell]
    names = dict.fromkeys(f"{_what(params, job)} ({root})" for job, root in missing.items())
    folders = f"{are(len(names), 'folder')} missing: {', '.join(names)}"
    if cells and lost.issuperset(cells):
        raise InputError(
            f"expected the images of the study, but {folders}; put them in place (docs/how-to/real-data.md), or correct "
            "prepare.targets and pretrain.source_root"
        )
    if missing:
        log.warning("grid: %s; %s cannot be done", folders, counted(sum(job in lost for job in cells), "fine-tuning"))


def _root(params: Params, job: Job) -> Path | None:
    """Return the folder of images that a job reads; None if it reads none, or `medtransfer samples` or another job makes it."""
    if job.kind == "prepare":
        root = Path(params.prepare.targets[job.target].root)
    elif job.kind == "pretrain" and study.is_trained(params, job.origin):
        root = source_of(study.with_values(params, "pretrain", encoder=job.encoder, origin=job.origin).pretrain)[1]
    else:
        return None
    made = study.is_sample(params, root) or any(Path(params.prepare.out) / name == root for name in params.prepare.targets)
    return None if made else root


def _what(params: Params, job: Job) -> str:
    if job.kind == "prepare":
        return f"target {job.target}"
    return f"source {source_of(study.with_values(params, 'pretrain', origin=job.origin).pretrain)[0]}"

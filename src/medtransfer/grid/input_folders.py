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
    """Refuse a study none of whose results has the images that it needs; where some have, a warning names the missing folders.

    The results are fine-tunings or, of a study without them, scores.

    Args:
        params: params of the jobs.
        to_do: jobs that are not finished, each after those that it needs.

    Raises:
        InputError: the datasets or the source images of all results are missing.
    """
    made = {(Path(params.prepare.out) / job.target).resolve() for job in to_do if job.kind == "prepare"}
    missing = {
        job: source for job in to_do
        if (source := _source(params, job)) and not source[1].exists() and source[1].resolve() not in made
    }  # fmt: skip
    lost = set(missing)
    for job in to_do:
        if job.needs & lost:
            lost.add(job)
    results = [job for job in to_do if job.cell] or [job for job in to_do if job.kind == "score"]
    names = dict.fromkeys(f"{name} ({root})" for name, root in missing.values())
    folders = f"{are(len(names), 'folder')} missing: {', '.join(names)}"
    if results and lost.issuperset(results):
        raise InputError(
            f"expected the images of the study, but {folders}; put them in place (docs/how-to/real-data.md), or correct "
            "prepare.targets and pretrain.source_root"
        )
    if missing:
        what = "fine-tuning" if results and results[0].cell else "scoring"
        log.warning("grid: %s; %s cannot be done", folders, counted(sum(job in lost for job in results), what))


def _source(params: Params, job: Job) -> tuple[str, Path] | None:
    """Return name and folder of the images that a job reads; None if it reads none, or `medtransfer samples` makes them."""
    if job.kind == "prepare":
        name, root = f"target {job.target}", Path(params.prepare.targets[job.target].root)
    elif job.kind == "pretrain" and study.is_trained(params, job.origin):
        source, root = source_of(study.with_values(params, "pretrain", encoder=job.encoder, origin=job.origin).pretrain)
        name = f"source {source}"
    else:
        return None
    return None if study.is_sample(params, root) else (name, root)

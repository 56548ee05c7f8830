"""Store a prediction as a run, once per content: its models, what was counted and measured, and the tables."""

from collections.abc import Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.hashing import digest
from medtransfer.predict.job import Job
from medtransfer.predict.tables import Metrics, table_names
from medtransfer.records import Cell, Prediction

STAGE = "predict"


def publish(job: Job, records: Sequence[Prediction], metrics: Metrics, force: bool) -> None:
    """Store a prediction, unless the store has it.

    Args:
        job: what was done.
        records: the record of each image.
        metrics: means over all images, against the reference masks; empty without.
        force: whether to store it again.
    """
    section, infos = job.section, job.infos
    cell = digest([[record.image, record.key] for record in records], 16)
    first = Cell(**infos[0].cell)
    named = first.name if len(infos) == 1 else f"{len(infos)} models → {first.target}"
    params = {
        "models": " ".join(info.key for info in infos), "target": first.target, "images": section.images,
        "masks": section.masks, "slide": section.slide, "overlap": section.overlap, "flips": " ".join(sorted(set(section.flips))),
        "precision": section.precision,
    }  # fmt: skip
    counts = {"predicted_images": len(records)}
    if not job.of_images:
        counts["predicted_empty"] = sum(not any(row["pixels"] for row in record.classes) for record in records)
    name = f"{Path(section.images or '').resolve().name} · {named}"
    with tracking.once(STAGE, name, cell, params, force=force, on_disk=True) as opened:
        if opened:
            opened.log_metrics({**counts, **metrics()})
            for table in table_names(job):
                opened.log_artifact(job.out / table)

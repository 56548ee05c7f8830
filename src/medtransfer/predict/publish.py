"""Store a prediction as a run, once per content: its models, what was counted and measured, and the tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Predict
from medtransfer.hashing import digest
from medtransfer.predict.model import Model
from medtransfer.records import Cell, Prediction

STAGE = "predict"


def publish(
    section: Predict, models: Sequence[Model], records: Sequence[Prediction], metrics: Mapping[str, float], tables: Sequence[str],
    force: bool,
) -> None:  # fmt: skip
    """Store a prediction, unless the store has it.

    Args:
        section: validated params.
        models: the models, ordered by their weights.
        records: the record of each image.
        metrics: means over all images, against the reference masks; empty without.
        tables: names of the tables in the folder of the prediction.
        force: whether to store it again.
    """
    cell = digest([[record.image, record.key] for record in records], 16)
    first = Cell(**models[0].info.cell)
    named = first.name if len(models) == 1 else f"{len(models)} models → {first.target}"
    params = {
        "models": " ".join(model.info.key for model in models), "target": first.target, "images": section.images,
        "masks": section.masks, "slide": section.slide, "overlap": section.overlap, "flips": " ".join(sorted(set(section.flips))),
        "precision": section.precision,
    }  # fmt: skip
    counts = {"predicted_images": len(records)}
    if not models[0].info.of_images:
        counts["predicted_empty"] = sum(not any(row["pixels"] for row in record.classes) for record in records)
    name = f"{Path(section.images or '').resolve().name} · {named}"
    with tracking.once(STAGE, name, cell, params, force=force, on_disk=True) as opened:
        if opened:
            opened.log_metrics({**counts, **metrics})
            for table in tables:
                opened.log_artifact(Path(section.out) / table)

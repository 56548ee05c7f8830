"""Fine-tuned models on disk go in; a finished run for each that the tracking store lacks comes out.

So that the tables do not depend on whose machine trained: what another machine pulled is as good as what it made.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import Cell, Result

log = logging.getLogger("medtransfer")


def publish(models: Path, prepared: Path) -> int:
    """Write the missing runs.

    Args:
        models: folder of all fine-tuned models.
        prepared: folder of all prepared targets, which the runs name as their inputs.

    Returns:
        How many were written. What is half-written or of another version is left out, with a warning.
    """
    return tracking.write_runs("finetune", list(_records(models, prepared)), "report: fine-tunings to the tracking store")


def _records(models: Path, prepared: Path) -> Iterator[tracking.Record]:
    for path in sorted(models.glob("*/*/*/metrics.json")):
        try:
            result = Result.read(path)
        except InputError as fault:
            log.warning("report: %s is left out: %s", path.parent, fault)
            continue
        yield record_of(result, path.parent, prepared)


def record_of(result: Result, folder: Path, prepared: Path) -> tracking.Record:
    """Give a model's run, the same that its training would have left."""
    cell = Cell(**result.cell)
    recipe = {name: result.settings[name] for name in Protocol.__dataclass_fields__}
    curves = {name: dict(enumerate(curve, start=1)) for name, curve in result.curves.items()}
    inputs = [(cell.target, cell.data, prepared / cell.target, context) for context in ("training", "testing")]
    return tracking.Record(
        cell.name, result.key, {**result.cell, **recipe, "classes": len(result.settings["class_names"])}, result.metrics, curves,
        artifacts={"model": folder}, datasets=inputs,
    )  # fmt: skip

"""Fine-tuned models on disk go in; a finished run for each that the tracking store lacks comes out.

So that the tables do not depend on whose machine trained: what another machine pulled is as good as what it made.
"""

import logging
from pathlib import Path

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.locks import is_taken
from medtransfer.records import Cell, Result

log = logging.getLogger("medtransfer")


def publish(models: Path, prepared: Path) -> int:
    """Write the missing runs.

    Args:
        models: folder of all fine-tuned models.
        prepared: folder of all prepared targets, which the runs name as their inputs.

    Returns:
        How many were written. What is half-written or of another version is left out, with one warning for all; what a process
        works on just now, without one.
    """
    records, left = [], []
    for folder in sorted(path for path in models.glob("*/*/[!.]*") if path.is_dir() and not is_taken(path)):
        try:
            records.append(record_of(_read(folder / "metrics.json"), folder, prepared))
        except (InputError, AttributeError, KeyError, TypeError, ValueError) as fault:  # a foreign file may hold anything
            left.append(f"{folder} ({type(fault).__name__}: {fault})")
    if left:
        log.warning("report: %d fine-tunings on disk are left out: %s", len(left), "; ".join(left))
    return tracking.write_runs("finetune", records, "report: fine-tunings to the tracking store")


def _read(path: Path) -> Result:
    """Read a result whose folder is whole and whose key is that of its cell."""
    result = Result.read(path)
    if not path.with_name("weights.safetensors").exists():
        raise InputError(f"expected weights.safetensors beside {path}, but it does not exist; fine-tune again or fetch it")
    if Cell(**result.cell).key != result.key:
        raise InputError(f"expected the key of its cell in {path}, but got {result.key}; fine-tune again")
    return result


def record_of(result: Result, folder: Path, prepared: Path) -> tracking.Record:
    """Give a model's run, the same that its training would have left."""
    cell = Cell(**result.cell)
    recipe = {name: result.settings[name] for name in Protocol.__dataclass_fields__}
    curves = {name: dict(enumerate(curve, start=1)) for name, curve in result.curves.items()}
    inputs = [(cell.target, cell.data, prepared / cell.target, "training")]
    return tracking.Record(
        cell.name, result.key, {**result.cell, **recipe, "classes": len(result.settings["class_names"])}, result.metrics, curves,
        artifacts={"model": folder}, datasets=inputs,
    )  # fmt: skip

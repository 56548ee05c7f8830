"""Write the runs of fine-tuned models on disk that the tracking store lacks.

So models that `dvc pull` fetched count in the tables like models that were trained here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.finetune.keys_on_disk import METRICS, KeysOnDisk
from medtransfer.finetune.protocol import Protocol
from medtransfer.locks import is_locked, lock_path
from medtransfer.progress import track
from medtransfer.records import WEIGHTS_FILE, Cell, Result, folders_and_files
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result


def publish(models: Path, prepared: Path) -> int:
    """Write the missing runs.

    Args:
        models: folder of all fine-tuned models.
        prepared: folder of all prepared targets, the inputs of the runs.

    Returns:
        Number of runs written. Incomplete models and those of another version are skipped with one warning for all; models
        that a process works on, and interrupted trainings, are skipped without a warning.
    """
    records, skipped = [], dict[Path, Exception]()
    names = _list_models(models, skipped)
    stored, keys = tracking.stored_cells("finetune") if names else set[str](), KeysOnDisk(models)
    for name in track(names, "reading the fine-tunings on disk", len(names), "fine-tunings"):
        folder = models / name
        if keys.find(name) in stored:
            continue
        try:
            if all(path.name.startswith(".") for path in folder.iterdir()):  # what a training resumes from is hidden
                continue
            result = _read(folder / METRICS)
            keys.note(name, result.key)
            if result.key not in stored:  # to keep the curves of all of a large study takes much memory
                _require_weights(result, folder)
                records.append(record_of(result, folder, prepared))
        except (InputError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:  # a foreign file may hold anything
            skipped[folder] = error
    keys.write()
    tracking.warn_of_unreadable("fine-tunings", skipped)
    return tracking.write_runs("finetune", records, "fine-tunings to the tracking store")


def _list_models(models: Path, skipped: dict[Path, Exception]) -> list[str]:
    """Return the models that no process works on, as `<target>/<encoder>-<origin>/<cell>`; folders that are closed are skipped."""
    names = []
    for target in folders_and_files(models, skipped)[0]:
        for series in folders_and_files(models / target, skipped)[0]:
            folder = models / target / series
            cells, files = folders_and_files(folder, skipped)
            for cell in cells:
                if lock_path(folder / cell).name not in files or not is_locked(folder / cell):
                    names.append(f"{target}/{series}/{cell}")
    return names


def _read(path: Path) -> Result:
    """Read a result; its key must be that of its cell."""
    result = read_result(path)
    if Cell(**result.cell).key != result.key:
        raise InputError(f"expected the key of its cell in {path}, but got {result.key}; fine-tune again")
    return result


def _require_weights(result: Result, folder: Path) -> None:
    if result.parts and not (folder / WEIGHTS_FILE).exists():
        raise InputError(f"expected {WEIGHTS_FILE} beside {folder / METRICS}, but it does not exist; fine-tune again or fetch it")


def record_of(result: Result, folder: Path, prepared: Path) -> tracking.RunRecord:
    """Return the run of a model, as its training would have logged it."""
    cell = Cell(**result.cell)
    protocol = Protocol.read(result.settings)
    params = run_params(cell, protocol, result.task, result.settings["class_names"], result.settings.get("regions", {}))
    tags = {"seconds": f"{result.seconds:.1f}"}
    if compiled := result.settings.get("compiled"):
        tags["compiled"] = compiled
    inputs = [(cell.target, cell.data, prepared / cell.target, "training")]
    return tracking.RunRecord(
        cell.name, result.key, params, result.metrics, by_epoch(result.curves), tags, {"model": folder}, inputs
    )


def run_params(
    cell: Cell, protocol: Protocol, task: str, class_names: Sequence[str], regions: Collection[str]
) -> dict[str, Any]:  # fmt: skip
    """Return the params of a fine-tuning's run; the names of `regions`, if there are any, in the order of their metrics."""
    facts = {"task": task, "primary": TASKS[task].primary.name, "classes": len(class_names)}
    named = {"regions": "; ".join(regions)} if regions else {}
    return {**asdict(cell), **asdict(protocol), **facts, **named}


def by_epoch(curves: Mapping[str, Sequence[float | None]]) -> dict[str, dict[int, float]]:
    """Number the values of curves by epoch, from 1."""
    return {
        name: {epoch: value for epoch, value in enumerate(curve, start=1) if value is not None} for name, curve in curves.items()
    }

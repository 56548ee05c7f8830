"""Find the finished fine-tunings among many cells: one query of the tracking store, and a look at each cell's folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.config import Finetune
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import (
    MODEL_FILE,
    TARGET_FILE,
    WEIGHTS_FILE,
    Cell,
    CellName,
    CheckpointInfo,
    Result,
    TargetInfo,
    find_checkpoint,
    series_folder,
)
from medtransfer.records.weights_file import is_whole


def find_finished(section: Finetune, names: Sequence[CellName], checkpoints: Path, prepared: Path) -> set[CellName]:
    """Return the cells that have a finished run in the tracking store and a complete result on disk.

    Args:
        section: validated params; its cell fields are ignored.
        names: the cells.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
    """
    if not names:
        return set()
    finished = {run.tags[tracking.CELL] for run in tracking.read_runs("finetune", only=())}
    protocol, models = Protocol.of(section).key, Path(section.out)
    targets, starts = dict[str, TargetInfo | None](), dict[tuple[str, str, int], CheckpointInfo | None]()
    complete = set[CellName]()
    for name in names if finished else ():
        if name.target not in targets:
            targets[name.target] = _target(prepared / name.target)
        if (start := (name.encoder, name.origin, name.epoch)) not in starts:
            starts[start] = _start(checkpoints, *start)
        target, info = targets[name.target], starts[start]
        if target is None or info is None:
            continue
        cell = cell_of(name, protocol, target, info)
        if cell.key in finished and is_complete(cell, models, target):
            complete.add(name)
    return complete


def cell_of(name: CellName, protocol: str, target: TargetInfo, start: CheckpointInfo) -> Cell:
    """Return everything that the result of a cell depends on.

    Args:
        name: the cell as a user names it.
        protocol: digest of the recipe.
        target: record of the prepared target.
        start: record of the checkpoint that it starts from.
    """
    return Cell(
        **vars(name), source=start.source, protocol=protocol, pretraining=start.pretraining, weights=start.weights,
        data=target.fingerprint,
    )  # fmt: skip


def _target(folder: Path) -> TargetInfo | None:
    try:
        return TargetInfo.read(folder / TARGET_FILE)
    except InputError:
        return None


def _start(checkpoints: Path, encoder: str, origin: str, epoch: int) -> CheckpointInfo | None:
    try:
        return find_checkpoint(series_folder(checkpoints, encoder, origin), epoch)[1]
    except InputError:
        return None


def is_complete(cell: Cell, models: Path, target: TargetInfo) -> bool:
    """Return whether a cell's folder holds its result and the model that it says it kept, with a record of today's form."""
    folder = cell.folder(models)
    result = _read(folder / "metrics.json")
    if result.get("key") != cell.key or result.get("format") != Result.form():
        return False
    if not result.get("settings", {}).get("parts", ["encoder"]):
        return True
    model = _read(folder / MODEL_FILE)
    described = model.get("key") == cell.key and (model.get("image_rule") is not None or target.image_rule is None)
    return described and is_whole(folder / WEIGHTS_FILE)


def _read(path: Path) -> dict[str, Any]:
    """Read a record without checking its values, as it was checked when it was written; an unreadable one is empty."""
    try:
        value = json.loads(path.read_bytes()) if path.is_file() else {}  # a pipe would never end
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

"""Files of a pretraining beside its checkpoints: `curves.json`, and `pretraining.json` when it is finished."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.config import Name
from medtransfer.errors import InputError
from medtransfer.records.atomic import write_json
from medtransfer.records.base import PRETRAINING, Count, Record

CURVES_FILE = "curves.json"
PRETRAINING_FILE = "pretraining.json"
STATE_FILE = ".resume.safetensors"  # of an interrupted pretraining
# Options that the recipe of a pretraining did not always have, with what it did then.
ADDED_OPTIONS: dict[str, Any] = {
    "decay_norms": True, "clip_grad": None, "ema_decay": None, "tf32": False, "reproducible": True, "optimiser": "adamw",
    "schedule": "cosine", "options": {}, "resampling": "pillow",
}  # fmt: skip
RANDAUGMENT = {"ops": 2, "magnitude": 9, "scale": 30}  # where it was on, when it could only be on or off


@dataclass(frozen=True)
class Pretraining(Record):
    """The run of a finished pretraining, from which a tracking store that lacks it can be filled.

    Attributes:
        name: name of the run.
        cell: digest of what makes the result.
        pretraining: digest that its checkpoints carry.
        epochs: epochs of its checkpoints.
        params: params of the run, as text.
        tags: tags of the run.
        curves: values by metric and epoch.
        inputs: name, digest, folder and context of each dataset.
    """

    name: Name
    cell: str
    pretraining: str
    epochs: list[Count]
    params: dict[str, str]
    tags: dict[str, str]
    curves: dict[str, dict[str, float]]
    inputs: list[list[str]]

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return PRETRAINING


def read_kept(folder: Path) -> int | None:
    """Return the epoch that the rule of an early stop kept; None if none was asked, or the pretraining is not finished."""
    path = folder / PRETRAINING_FILE
    kept = Pretraining.read(path).tags.get("kept") if path.exists() else None
    return None if kept is None else int(kept)


def recorded_source(folder: Path, name: str, root: Path) -> str | None:
    """Return the digest of the images that a finished pretraining was trained on; None if it is not finished, or of another source.

    Args:
        folder: folder of the checkpoints.
        name: name of the source dataset.
        root: its folder, as the params name it.
    """
    try:
        inputs = Pretraining.read(folder / PRETRAINING_FILE).inputs
    except InputError:
        return None
    return next((entry[1] for entry in inputs if entry[:1] + entry[2:] == [name, str(root), "training"]), None)


def write_curves(folder: Path, curves: Mapping[str, Mapping[str, float]]) -> None:
    """Write values by metric and epoch as `curves.json`, one row per epoch, which DVC plots."""
    epochs = sorted({int(epoch) for curve in curves.values() for epoch in curve})
    rows = [
        {"epoch": epoch, **{name: curve[str(epoch)] for name, curve in curves.items() if str(epoch) in curve}} for epoch in epochs
    ]
    write_json(folder / CURVES_FILE, rows)


def read_curves(folder: Path) -> dict[str, dict[str, float]]:
    """Return the values of `curves.json` by metric and epoch; empty if the file does not exist."""
    curves: dict[str, dict[str, float]] = {}
    if (path := folder / CURVES_FILE).exists():
        for row in json.loads(path.read_text(encoding="utf-8")):
            epoch = str(row.pop("epoch"))
            for name, value in row.items():
                curves.setdefault(name, {})[epoch] = value
    return curves

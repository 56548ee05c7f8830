"""Compare results with the golden files: more rows and columns than the golden ones are welcome, others are not."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.golden import make

# Of each golden file, the columns (of a JSON file, the dotted keys) that have another name by now: {file: {golden: new}}.
RENAMED: dict[str, dict[str, str]] = {
    "finetuning/metrics.json": {"cell.scheme": "cell.origin"},
    "checkpoint/checkpoint.json": {"record.scheme": "record.origin", "record.source_accuracy": "record.metrics.source_accuracy"},
}
CELL = ("source", "origin", "encoder", "target", "mode")
KEYS = {
    "study/dice.csv": (*CELL, "epoch"),
    "study/tis.csv": (*CELL, "selector"),
    "study/selectors.csv": ("selector",),
    "study/contrasts.csv": ("first", "second"),
    "study/search.csv": make.SETTING,
    "released/cells.csv": ("table", "row", "dataset", "scheme", "encoder", "mode"),
    "released/claims.csv": ("section", "claim", "measure"),
    "released/selectors.csv": ("selector", "alignment"),
    "released/contrasts.csv": ("alignment", "first", "second"),
}
# Digests of inputs and settings may be taken of more or otherwise; time and revision are never the same.
NOT_COMPARED = {
    "format", "record.format", "record.parent",
    "seconds", "git_revision", "key", "cell.protocol", "cell.pretraining", "cell.weights", "cell.data", "encoder_hash.0",
    "encoder_hash.1", "record.git_revision", "record.pretraining", "record.weights",
}  # fmt: skip
HERE = make.machine()
SAME_MACHINE = make.read_json(make.GOLDEN / "machine.json") == HERE
CHOICE = {*make.SETTING, "TIS", "TIS online"}  # what depends on which of several equally good settings wins


def close(name: str, column: str, golden: str, found: str) -> bool:
    """Compare two values: as text on the machine of the goldens, elsewhere numbers to a tolerance."""
    if golden == found:
        return True
    if SAME_MACHINE:
        return False
    if not name.startswith("released/") and not steady(name, column):
        return True
    try:
        one, other = float(golden), float(found)
    except ValueError:
        return False
    if name.startswith("released/"):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15)
    return math.isclose(one, other, rel_tol=0, abs_tol=5e-2)


def steady(name: str, column: str) -> bool:
    """Return whether a training result stays within the tolerance where numbers are rounded otherwise.

    Dice and robustness do. What follows from which checkpoint is the best or is chosen, by however little, jumps; so do
    bootstrap bounds of two seeds, the accuracy on ten pictures and HD95, which is in pixels.
    """
    if name == "study/dice.csv":
        return column in {*KEYS[name], "configuration", "dice_mean", "seeds", "robustness", "robustness_low", "robustness_high"}
    return name in ("finetuning/metrics.json", "checkpoint/checkpoint.json") and not ("hd95" in column or "accuracy" in column)


def how(name: str) -> str:
    if SAME_MACHINE:
        return "byte for byte (the machine that made the goldens)"
    wide = "1e-9, relative" if name.startswith("released/") else "5e-2, absolute, and only those that do not jump"
    return f"numbers to {wide}, since the goldens were made on another machine than {HERE}"


def compare(name: str, golden: Mapping[str, str], found: Mapping[str, str], where: object) -> list[str]:
    """Return a line for each golden value that the found row lacks or has otherwise."""
    names = RENAMED.get(name, {})
    pairs = {column: (text, found.get(names.get(column, column))) for column, text in golden.items()}
    return [
        f"{where}, {column}: {text!r} became {new!r}"
        for column, (text, new) in pairs.items() if new is None or not close(name, column, text, new)
    ]  # fmt: skip


def compare_rows(name: str, found: Sequence[Mapping[str, str]]) -> None:
    golden, names = make.read_rows(make.GOLDEN / name), RENAMED.get(name, {})
    by_key = {tuple(row[names.get(column, column)] for column in KEYS[name]): row for row in found}
    assert len(by_key) == len(found), f"{name}: rows with the same {', '.join(KEYS[name])}"
    # Holm's correction counts the comparisons: with more of them, p_holm and the outcome that it decides are others.
    left_out = {"p_holm", "outcome"} if name.endswith("/contrasts.csv") and len(found) != len(golden) else set()
    faults = []
    for row in golden:
        key = tuple(row[column] for column in KEYS[name])
        compared = {column: text for column, text in row.items() if column not in left_out}
        faults += compare(name, compared, by_key[key], key) if key in by_key else [f"{key}: the row is gone"]
    assert not faults, f"{name}, compared {how(name)}:\n" + "\n".join(faults)


def flat(value: Any, path: str = "") -> dict[str, str]:
    """Return every value of a JSON document as text, by dotted key."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: text for name, part in parts for key, text in flat(part, f"{path}.{name}" if path else str(name)).items()}
    return {path: json.dumps(value)}


def compare_json(name: str, found: Any, left_out: set[str]) -> None:
    golden = {key: text for key, text in flat(make.read_json(make.GOLDEN / name)).items() if key not in left_out}
    faults = compare(name, golden, flat(found), name)
    assert not faults, f"{name}, compared {how(name)}:\n" + "\n".join(faults)

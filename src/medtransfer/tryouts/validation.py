"""Validation samples of a target: its own, or training patients that are held out."""

from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.data.held_out import hold_out
from medtransfer.errors import InputError
from medtransfer.finetune.portions import Portions
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import TARGET_FILE, CellName, PreparedTarget


def open_validated(params: Params, name: str, fraction: float) -> tuple[PreparedTarget, float]:
    """Open a target with its validation samples; it is prepared first if it is missing.

    Args:
        params: params, whose section `finetune` may name a fraction of its own.
        name: name of the target.
        fraction: fraction of the training groups that are held out of a target without validation samples.

    Returns:
        The target, and the fraction that is held out; 0 for a target with validation samples.

    Raises:
        InputError: the target cannot be opened, or no group would be left to train on.
    """
    folder = Path(params.prepare.out) / name
    if not (folder / TARGET_FILE).exists():
        study.prepare(study.with_values(params, "prepare", target=name))
    else:
        study.warn_of_changed(params, [name])
    target, section = PreparedTarget.open(folder), params.finetune
    if section.folds is not None:
        portion = one_portion(params) | {"size": None}
        cell = CellName(name, section.encoder, section.origin, 0, section.mode, section.seed, **portion)
        return Portions(target, Protocol.of(section)).of(cell), section.validation
    if "validation" in set(target.index["split"]):
        return target, section.validation  # above 0 it is refused by the fine-tunings
    held = section.validation or fraction
    return hold_out(target, held, section.validation_seed), held


def one_portion(params: Params) -> dict[str, Any]:
    """Return the fields `size`, `fold` and `folds` of cells, by `finetune`.

    Raises:
        InputError: it names folds, but none of them.
    """
    section = params.finetune
    if section.folds is not None and section.fold is None:
        raise InputError(
            f"expected finetune.fold, from 1 to {section.folds}, since here one set of patients validates, but got null; name a "
            "fold, or set finetune.folds to null"
        )
    return {"size": section.size, "fold": section.fold, "folds": section.folds}


def recorded_portion(params: Params) -> dict[str, Any]:
    """Return those of the fields of `one_portion` that are set, for the record of a result."""
    return {name: value for name, value in one_portion(params).items() if value is not None}

"""Validation samples of a target: its own, or training patients that are held out."""

from pathlib import Path

from medtransfer import study
from medtransfer.config import Params
from medtransfer.data.held_out import hold_out
from medtransfer.records import TARGET_FILE, PreparedTarget


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
    target, section = PreparedTarget.open(folder), params.finetune
    if "validation" in set(target.index["split"]):
        return target, section.validation  # above 0 it is refused by the fine-tunings
    held = section.validation or fraction
    return hold_out(target, held, section.validation_seed), held

"""Look up the prepared target that a model was trained on, where it is still there."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import WHITE, MaskRule, show_labels
from medtransfer.records import IGNORE, ModelInfo, PreparedTarget

log = logging.getLogger("medtransfer")


def open_target(name: str, data: str, prepared: Path) -> PreparedTarget | None:
    """Open a prepared target; None if it is not there, or was prepared in another way.

    Args:
        name: its name.
        data: its fingerprint.
        prepared: folder of all prepared targets.
    """
    try:
        target = PreparedTarget.open(prepared / name)
    except InputError:
        return None
    return target if target.info.fingerprint == data else None


def with_own_labels(rule: MaskRule, info: ModelInfo, prepared: Path) -> MaskRule:
    """Return the rule of reference masks with what values meant in the target of a model, and warn if that contradicts it.

    Args:
        rule: what values mean as long as nobody says it: class numbers.
        info: record of the model.
        prepared: folder of all prepared targets.
    """
    own = _read_labels(info.cell["target"], info.cell["data"], prepared)
    numbers = {"background": 0, "ignore": IGNORE} | {name: number for number, name in enumerate(info.classes, start=1)}
    taken = rule.table or {0: 0, 1: 1, WHITE: 1}
    if any(taken.get(value, numbers[name]) != numbers[name] for value, name in own.items() if name in numbers):
        log.warning(
            "predict: the values of reference masks are taken for class numbers (%s), but those of the masks that %s was prepared "
            "from meant something else; if these masks are like those, add `%s`",
            ", ".join(f"{number} {name}" for number, name in enumerate(info.classes, start=1)), info.cell["target"],
            show_labels(own, from_command=True),
        )  # fmt: skip
    return replace(rule, own=own)


def _read_labels(name: str, data: str, prepared: Path) -> dict[int, str]:
    """Return what the raw values of a target's masks mean by the option `labels` that it was prepared with; empty if unknown."""
    target = open_target(name, data, prepared)
    options = target.info.settings.get("options") if target else None
    labels = options.get("labels") if isinstance(options, Mapping) else None
    named = labels.items() if isinstance(labels, Mapping) else ()
    return {int(value): str(name) for value, name in named if value.removeprefix("-").isdecimal()}  # JSON has texts as keys

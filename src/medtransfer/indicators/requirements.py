"""What indicators require of a target and of a checkpoint."""

from collections.abc import Sequence

from medtransfer.errors import InputError
from medtransfer.indicators.contract import Indicator
from medtransfer.records import MASKS_FILE, TARGET_FILE, PreparedTarget

PROBABILITIES = "source_probabilities"
OR_LABELS = {"several": ", or labels of images", "one": ", or one label for each image"}  # that serve as well as masks


def fits(indicator: Indicator, target: PreparedTarget) -> bool:
    """Return whether a target has the labels that an indicator needs, if it needs any."""
    return "labels" not in indicator.needs or target.label_kind in indicator.labels


def without(target: PreparedTarget) -> str:
    """Return why indicators do not fit a target, in words that follow what they cannot do."""
    reasons = {"one": "by labels of images", "several": "where an image has several labels"}
    return reasons.get(target.label_kind or "", "without masks")


def require_labels(indicators: Sequence[Indicator], target: PreparedTarget, key: str) -> None:
    """Refuse indicators that need labels on a target that has none of that kind.

    Args:
        indicators: asked for.
        target: that they are asked of.
        key: of params.yaml that lists them, for the message.

    Raises:
        InputError: there is one.
    """
    if needing := [indicator for indicator in indicators if not fits(indicator, target)]:
        or_labels = next((text for kind, text in OR_LABELS.items() if kind in needing[0].labels), "")
        raise InputError(
            f"expected {MASKS_FILE} among the arrays in {target.folder / TARGET_FILE}{or_labels}, which {needing[0].name} needs, "
            f"but got {', '.join(target.info.arrays)}; name another one in {key}"
        )


def needs_head(indicators: Sequence[Indicator]) -> bool:
    """Return whether an indicator needs the source head."""
    return any(PROBABILITIES in indicator.needs for indicator in indicators)

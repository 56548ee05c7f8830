"""What indicators require of a target and of a checkpoint."""

from collections.abc import Sequence

from medtransfer.errors import InputError
from medtransfer.indicators.contract import Indicator
from medtransfer.records import IMAGE_TASKS, MASKS_FILE, TARGET_FILE, PreparedTarget

PROBABILITIES = "source_probabilities"


def fits(indicator: Indicator, target: PreparedTarget) -> bool:
    """Return whether a target has the labels that an indicator needs, if it needs any."""
    return "labels" not in indicator.needs or target.has_masks or (indicator.of_images and target.has_image_classes)


def missing_labels(target: PreparedTarget) -> str:
    """Return what a target lacks for the indicators that do not fit it."""
    if target.info.task == "multilabel":
        return "labels of pixels or one label for each image"
    return "labels of pixels" if target.info.task in IMAGE_TASKS else "masks"


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
        or_labels = ", or one label for each image" if needing[0].of_images else ""
        raise InputError(
            f"expected {MASKS_FILE} among the arrays in {target.folder / TARGET_FILE}{or_labels}, which {needing[0].name} needs, "
            f"but got {', '.join(target.info.arrays)}; name another one in {key}"
        )


def needs_head(indicators: Sequence[Indicator]) -> bool:
    """Return whether an indicator needs the source head."""
    return any(PROBABILITIES in indicator.needs for indicator in indicators)

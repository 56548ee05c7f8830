"""Raw intensities of an array or a volume as stored uint8 pixels, by the image rule of a model."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.data.intensities import IntensityRule, Limits, require_finite, to_uint8
from medtransfer.errors import InputError
from medtransfer.records import ImageRule, ModelInfo

log = logging.getLogger("medtransfer")
IMAGES = "images (N, H, W, C) as a NumPy array or a torch tensor of real numbers"
SHAPES = {  # what to do with images of other numbers of axes
    2: "pass one grey image as image[None, :, :, None]", 3: "pass one image as image[None], or grey images as images[..., None]",
}  # fmt: skip
_NOTED: set[tuple[int, tuple[int, ...]]] = set()  # numbers of channels, and those that are taken, that this process has noted


def rule_of(info: ModelInfo) -> ImageRule:
    """Return the image rule of a model.

    Raises:
        InputError: it is unknown.
    """
    if info.image_rule is None:
        raise InputError(
            f"expected a rule how raw images become those of the target {info.cell.get('target')}, but its model was made before "
            "targets had one, or its reader has none; run `medtransfer prepare` and the same `medtransfer finetune` again, which "
            "add it without training"
        )
    return ImageRule(**info.image_rule)


def stored_pixels(images: np.ndarray, info: ModelInfo, source: str) -> np.ndarray:
    """Scale and convert raw images as those of the model's target were.

    Args:
        images: (N, H, W, C), any real numbers; uint8 is kept.
        info: the model.
        source: their name, for messages.

    Returns:
        uint8 (N, H, W, channels).

    Raises:
        ValueError: another shape.
        InputError: the rule does not say how to scale them, or a value is NaN or infinite.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"expected {IMAGES}, but got the shape {images.shape}; {SHAPES.get(images.ndim, 'pass another shape')}")
    if images.shape[1] in (1, 3, 4) and min(images.shape[2:]) > 4:
        raise ValueError(
            f"expected {IMAGES}, but got the shape {images.shape}; move the channels last, as np.moveaxis(images, 1, -1)"
        )
    rule = rule_of(info)
    taken = take_channels(images, rule, source)
    pixels = taken if taken.dtype == np.uint8 else scale(taken, rule, source)
    return convert_channels(pixels, info.channels)


def take_channels(values: np.ndarray, rule: ImageRule, source: str) -> np.ndarray:
    """Return the channels (..., C) that the model's target took.

    Raises:
        InputError: there are too few, or neither one nor three and the target was of pictures, which have no other number.
    """
    require_channels(values.shape[-1], rule, source)
    return values if rule.channels is None else values[..., rule.channels]


def require_channels(count: int, rule: ImageRule, source: str) -> None:
    """Raise InputError unless images of this number of channels have those that the model's target took.

    An image whose only channels are the first ones, which are taken, is one of which the others were left out before. Of a model
    that does not know how many its volumes had, further channels are logged.
    """
    if rule.channels is None:
        wanted = "1 or 3 channels" if count not in (1, 3) else ""
    elif count <= max(rule.channels):
        wanted = f"at least {max(rule.channels) + 1} channels"
    elif rule.of_channels not in (None, count) and rule.channels != list(range(count)):
        wanted = f"{rule.of_channels} channel{'s' * (rule.of_channels != 1)}"
    else:
        wanted = ""
        if rule.of_channels is None and count > max(rule.channels) + 1:
            _note_channels(count, tuple(rule.channels), source)
    if wanted:
        raise InputError(
            f"expected {wanted} in {source}, as the model's target has, but got {count}, {_what_channels_may_be(count, rule)}"
        )


def _what_channels_may_be(count: int, rule: ImageRule) -> str:
    """Return what the channels may be that a model does not take, and the remedy."""
    if rule.channels is None and count in (2, 4):
        colours = "grey" if count == 2 else "red, green, blue"
        return (
            f"which may be {colours} and alpha, or frames or sequences; leave out the alpha channel, in an array by "
            f"images[..., :{count - 1}], or give images of one frame"
        )
    return "which may be frames or sequences; give such images"


def _note_channels(count: int, taken: tuple[int, ...], source: str) -> None:
    """Log, once for images that are alike, which of their channels a model takes that does not know how many there should be."""
    if (count, taken) not in _NOTED:
        _NOTED.add((count, taken))
        numbers = f"channel{'s' * (len(taken) > 1)} {', '.join(map(str, taken))}"
        log.warning(
            "predict: of the %d channels of images such as %s only %s, counted from 0, will be looked at", count, source, numbers
        )  # fmt: skip


def scale(values: np.ndarray, rule: ImageRule, source: str, limits: Sequence[Limits] | None = None) -> np.ndarray:
    """Scale intensities (N, ..., C) to uint8, each channel by its own statistics.

    Args:
        values: raw intensities; where the rule is over images, each of the N counts alone, else all together.
        rule: the rule.
        source: name of the images, for messages.
        limits: raw values that become 0 and 255 where they are known, one pair per channel.

    Raises:
        InputError: the rule is for 8-bit pictures alone, or a value is NaN or infinite.
    """
    if rule.kind == "keep":
        raise InputError(f"expected 8-bit values, as all of the target have, in {source}, but got {values.dtype}; convert them")
    values = require_finite(values, Path(source))
    if limits is None and rule.over == "image":
        return np.stack([_scale_together(image, rule, None) for image in values])
    return _scale_together(values, rule, limits)


def _scale_together(values: np.ndarray, rule: ImageRule, limits: Sequence[Limits] | None) -> np.ndarray:
    intensity = intensity_rule(rule)
    known = limits or [(pair[0], pair[1]) for pair in rule.limits or []]
    channels = np.moveaxis(values, -1, 0)  # (C, ...)
    pairs = [known[min(index, len(known) - 1)] if known else intensity.limits(channel) for index, channel in enumerate(channels)]
    return np.stack([to_uint8(channel, *pair) for channel, pair in zip(channels, pairs, strict=True)], axis=-1)


def intensity_rule(rule: ImageRule) -> IntensityRule:
    """Return the intensities of an image rule that is not `keep`."""
    assert rule.kind != "keep" and rule.low is not None and rule.high is not None
    return IntensityRule(rule.kind, rule.low, rule.high)  # type: ignore[arg-type]


def convert_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 (N, H, W, C) to grey as Pillow does, or repeat grey to three channels."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 1:
        return np.stack([np.asarray(Image.fromarray(picture).convert("L"))[..., None] for picture in pixels])
    return np.repeat(pixels, channels, axis=-1)

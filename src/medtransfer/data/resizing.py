"""Resize images and masks to the stored size, squeezed or padded."""

import numpy as np
from PIL import Image

Size = tuple[int, int]  # (height, width), pixels


def resize_image(image: np.ndarray, size: Size, keep_aspect: bool = False) -> np.ndarray:
    """Resize uint8 (h, w, C) to size + (C,), bilinear and antialiased.

    Args:
        image: the image.
        size: (height, width), pixels.
        keep_aspect: whether to keep the ratio of height and width, and to fill the rest with 0 on both sides.
    """
    if image.shape[:2] == size:
        return image
    inner = inner_box(image.shape[:2], size, keep_aspect)[2:]
    parts = [image] if image.shape[-1] == 3 else list(np.moveaxis(image, -1, 0))  # Pillow takes one channel or three
    resized = [np.asarray(Image.fromarray(part).resize(inner[::-1], Image.Resampling.BILINEAR)) for part in parts]
    return _pad(np.dstack(resized), size)


def resize_mask(mask: np.ndarray, size: Size, keep_aspect: bool = False, fill: int = 0) -> np.ndarray:
    """Resize uint8 (h, w) to `size`, nearest neighbour, which creates no new labels.

    Args:
        mask: the mask.
        size: (height, width), pixels.
        keep_aspect: as in `resize_image`.
        fill: label of the pixels beyond the mask.
    """
    if mask.shape == size:
        return mask
    inner = inner_box(mask.shape, size, keep_aspect)[2:]
    return _pad(np.asarray(Image.fromarray(mask).resize(inner[::-1], Image.Resampling.NEAREST)), size, fill)


def resize_spacing(
    spacing: tuple[float, float] | None, shape: tuple[int, ...], size: Size, keep_aspect: bool = False
) -> tuple[float, float] | None:  # fmt: skip
    """Return the height and the width of a pixel after resizing, mm.

    Args:
        spacing: (height, width) of a pixel before it, mm; None if unknown.
        shape: (height, width) of the image before it, pixels.
        size: (height, width) after it, pixels.
        keep_aspect: as in `resize_image`.
    """
    if spacing is None:
        return None
    inner = inner_box(shape, size, keep_aspect)[2:]
    return spacing[0] * shape[0] / inner[0], spacing[1] * shape[1] / inner[1]


def inner_box(shape: tuple[int, ...], size: Size, keep_aspect: bool) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a picture within `size`: all of it, or the largest centred box of its aspect."""
    if not keep_aspect:
        return 0, 0, *size
    share = min(size[0] / shape[0], size[1] / shape[1])
    height, width = max(1, round(share * shape[0])), max(1, round(share * shape[1]))
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def _pad(pixels: np.ndarray, size: Size, fill: int = 0) -> np.ndarray:
    """Pad (h, w, ...) with one value on all sides to `size`."""
    if pixels.shape[:2] == size:
        return pixels
    padded = np.full((*size, *pixels.shape[2:]), fill, pixels.dtype)
    top, left = (size[0] - pixels.shape[0]) // 2, (size[1] - pixels.shape[1]) // 2
    padded[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return padded

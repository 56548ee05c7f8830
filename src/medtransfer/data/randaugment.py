"""RandAugment of uint8 pixels: torchvision's draws and operations to the bit, those on values alone and the sharpening faster.

Source: Cubuk et al. 2020 (arXiv 1909.13719), as `torchvision.transforms.v2.RandAugment` has it for Pillow pictures.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32)  # of Pillow's ImageFilter.SMOOTH, whose sum is 13
BY_VALUE = ("Brightness", "Posterize", "Solarize")  # what a value becomes depends on it and on the magnitude alone


class RandAugment(v2.RandAugment):
    """RandAugment that takes and returns uint8 pixels (H, W, 3); arguments are those of torchvision's."""

    def __init__(self, num_ops: int, magnitude: int, num_magnitude_bins: int = 31) -> None:
        super().__init__(num_ops, magnitude, num_magnitude_bins)
        self._magnitudes: dict[tuple[str, int, int], float] = {}

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Apply `num_ops` random operations, drawn by torch's global generator."""
        height, width = pixels.shape[:2]
        changed: np.ndarray | Image.Image = pixels
        for _ in range(self.num_ops):
            name, (_, signed) = self._get_random_item(self._AUGMENTATION_SPACE)
            magnitude = self._magnitude(name, height, width)
            if signed and torch.rand(()) <= 0.5:
                magnitude *= -1
            changed = self._operate(changed, name, magnitude)
        return np.array(changed)

    def _magnitude(self, name: str, height: int, width: int) -> float:
        """Return how much of an operation `magnitude` is for pictures of a size; 0 for one that has no magnitude."""
        if (name, height, width) not in self._magnitudes:
            values = self._AUGMENTATION_SPACE[name][0](self.num_magnitude_bins, height, width)
            self._magnitudes[name, height, width] = 0.0 if values is None else float(values[self.magnitude])
        return self._magnitudes[name, height, width]

    def _operate(self, changed: np.ndarray | Image.Image, name: str, magnitude: float) -> np.ndarray | Image.Image:
        """Apply an operation, by Pillow where it has no faster equal."""
        if name == "Identity":
            return changed
        if name in BY_VALUE:
            return cv2.LUT(np.asarray(changed), _table(name, magnitude))
        if name == "AutoContrast":
            return autocontrast(np.asarray(changed))
        if name == "Equalize":
            return equalize(np.asarray(changed))
        if name == "Sharpness":
            return sharpen(np.asarray(changed), 1 + magnitude)
        return _by_pillow(self, Image.fromarray(changed) if isinstance(changed, np.ndarray) else changed, name, magnitude)


def _by_pillow(transform: v2.RandAugment, picture: Image.Image, name: str, magnitude: float) -> Any:
    return transform._apply_image_or_video_transform(
        picture, name, magnitude, interpolation=transform.interpolation, fill=transform._fill
    )


@lru_cache(maxsize=64)
def _table(name: str, magnitude: float) -> np.ndarray:
    """Return what Pillow makes of the values 0 to 255, uint8 (256,)."""
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return np.array(_by_pillow(v2.RandAugment(), every, name, magnitude))[0]


def autocontrast(pixels: np.ndarray) -> np.ndarray:
    """Stretch the values of each channel to 0 to 255, as Pillow's ImageOps.autocontrast does.

    Args:
        pixels: uint8 (H, W, 3).
    """
    low, high = (each(each(pixels.reshape(len(pixels), -1), 0).reshape(-1, 3), 0) for each in (np.min, np.max))  # (3,)
    return cv2.LUT(pixels, np.stack([_stretched(*limits) for limits in zip(low.tolist(), high.tolist(), strict=True)], 1)[None])


@lru_cache(maxsize=4096)
def _stretched(low: int, high: int) -> np.ndarray:
    values = np.arange(256, dtype=np.float64)
    if high == low:
        return values.astype(np.uint8)
    scale = 255.0 / (high - low)
    return (values * scale + -low * scale).clip(0, 255).astype(np.uint8)


def equalize(pixels: np.ndarray) -> np.ndarray:
    """Make the values of each channel evenly frequent, as Pillow's ImageOps.equalize does.

    Args:
        pixels: uint8 (H, W, 3).
    """
    histograms = [cv2.calcHist([pixels], [channel], None, [256], [0, 256]).reshape(256) for channel in range(3)]
    return cv2.LUT(pixels, np.stack([_evened(histogram.astype(np.int64)) for histogram in histograms], 1)[None])


def _evened(counts: np.ndarray) -> np.ndarray:
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    if not step:
        return np.arange(256, dtype=np.uint8)
    below = np.cumsum(counts) - counts
    return ((step // 2 + below) // step).clip(0, 255).astype(np.uint8)


def sharpen(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Move the pixels away from their smoothed neighbourhood, as Pillow's ImageEnhance.Sharpness does; the border stays.

    Args:
        pixels: uint8 (H, W, 3).
        factor: 0 for the smoothed picture, 1 for the picture itself, more for a sharper one.
    """
    sums = cv2.filter2D(pixels, cv2.CV_16S, SMOOTH)
    smooth = cv2.convertScaleAbs(sums, alpha=float(1 / SMOOTH.sum()))  # rounded: no sum of 13 is a half
    smooth[[0, -1]], smooth[:, [0, -1]] = pixels[[0, -1]], pixels[:, [0, -1]]
    blended = smooth.astype(np.float32)
    blended += np.float32(factor) * (pixels.astype(np.float32) - blended)
    return blended.clip(0, 255, out=blended).astype(np.uint8)

"""Colours to look at: of classes in pictures of masks, distinguishable without colour vision, and of pixels of any channels."""

from typing import TYPE_CHECKING

import numpy as np

from medtransfer.records import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")  # Okabe and Ito
IGNORED = "#999999"


def colour_of(label: int) -> str:
    """Return the colour of a label above 0, as #RRGGBB; of many classes every seventh has the same."""
    return IGNORED if label == IGNORE else CLASSES[(label - 1) % len(CLASSES)]


def to_colours(pixels: "np.ndarray | Tensor") -> np.ndarray:
    """Return pixels (H, W, C) as colours uint8 (H, W, 3) to look at: of other than 3 channels the first, in grey.

    Args:
        pixels: uint8, or float32 in [0, 1] units, which are rounded.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8:
        pixels = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels[..., :1], 3, axis=-1)

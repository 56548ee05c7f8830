"""Masks as run lengths."""

import numpy as np

from medtransfer.data.resizing import Size


def decode_relative(text: str, size: Size) -> np.ndarray:
    """Decode relative run lengths, which go down the columns from left to right.

    Args:
        text: pairs of numbers: pixels from the end of the run before, or from the first pixel, to the beginning of a run; and its
            length.
        size: (height, width) of the mask, pixels.

    Returns:
        bool (h, w).

    Raises:
        ValueError: there is half a pair, a number is none or negative, or a run ends outside the mask.

    Source: SIIM-ACR Pneumothorax Segmentation, Kaggle 2019, mask_functions.py.
    """
    numbers = [int(number) for number in text.split()]
    if len(numbers) % 2 or min(numbers, default=0) < 0:
        raise ValueError("they are no pairs of counts")
    flat, position = np.zeros(size[0] * size[1], bool), 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        start = position + offset
        position = start + length
        if position > len(flat):
            raise ValueError(f"a run ends at {position} of {len(flat)} pixels")
        flat[start:position] = True
    return flat.reshape(size[1], size[0]).T  # (w, h) -> (h, w)

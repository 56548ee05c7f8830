"""Stored uint8 pixels as float tensors, channels first; normalisation, and centre crop.

Batches travel from the dataset to the device as they are stored, uint8 (N, H, W, C), a byte per value and one channel for grey;
`normalise_pixels` makes a model's input of them there. Pixels that an augmentation left as fractions of 255 travel as float32 in
[0, 1] units, in the same order of axes.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from medtransfer.records import input_channels


def to_images(pixels: np.ndarray | Tensor) -> Tensor:
    """Scale stored pixels to [0, 1], channels first; grey is repeated to three channels, others are kept.

    Args:
        pixels: uint8 (..., H, W, C).

    Returns:
        float32 (..., C, H, W) on the same device, with 3 channels for C = 1.
    """
    tensor = torch.from_numpy(np.array(pixels)) if isinstance(pixels, np.ndarray) else pixels
    tensor = tensor.movedim(-1, -3).float() / 255  # (..., C, H, W)
    return tensor.expand(*tensor.shape[:-3], input_channels(tensor.shape[-3]), *tensor.shape[-2:]).contiguous()


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (images - mean) / std, channel by channel.

    Args:
        images: float (..., C, H, W), in the [0, 1] units of `mean` and `std`.
        mean: mean per channel, C numbers.
        std: standard deviation per channel, C numbers.
    """
    shift, scale = (
        torch.tensor(values, dtype=images.dtype).to(images.device, non_blocking=images.is_cuda).view(-1, 1, 1)
        for values in (mean, std)
    )
    return (images - shift) / scale


def normalise_pixels(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Make a model's input of pixels on their device; the same bits as `normalise` of `to_images`, on every device.

    Args:
        pixels: uint8 (N, H, W, C), or float32 in [0, 1] units.
        mean: mean per channel of the input, in [0, 1] units.
        std: standard deviation per channel, likewise.

    Returns:
        float32 (N, C, H, W), channels last in memory, with 3 channels for C = 1.
    """
    width, channels = pixels.shape[-2], input_channels(pixels.shape[-1])
    values = pixels.expand(*pixels.shape[:-1], channels).flatten(-2)  # (N, H, W C): long rows, since loops over C = 3 are slow
    shift, scale = (_row(tuple(each), width, pixels.device) for each in (mean, std))
    if values.dtype == torch.uint8:
        whole = _row((255.0,), 1, pixels.device)  # a GPU would multiply by the rounded 1 / 255 of a plain number
        values = values.float().div_(whole).sub_(shift)
    else:
        values = values - shift  # the caller's pixels stay
    return values.div_(scale).unflatten(-1, (width, channels)).movedim(-1, -3)


@lru_cache(maxsize=32)
def _row(values: tuple[float, ...], width: int, device: torch.device) -> Tensor:
    """Return a value per channel, repeated for every pixel of a row, on a device: float32 (width * C,)."""
    return torch.tensor(values, dtype=torch.float32).repeat(width).to(device)


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a number per channel: those of red, green and blue, repeated as `adapt_input` repeats the weights.

    Args:
        values: mean or standard deviation of an encoder's images.
        channels: channels of the images, see `input_channels`.
    """
    return tuple(values[channel % len(values)] for channel in range(channels))


def centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the centre of `size` (height, width) from (H, W) or (H, W, C) pixels; an odd margin is larger at bottom and right.

    Raises:
        ValueError: the pixels are fewer than `size`.
    """
    top, left = ((length - target) // 2 for length, target in zip(pixels.shape[:2], size, strict=True))
    if top < 0 or left < 0:
        raise ValueError(f"expected at least {size} pixels, but got {pixels.shape[:2]}")
    return pixels[top : top + size[0], left : left + size[1]]

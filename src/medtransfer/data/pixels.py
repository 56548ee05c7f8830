"""Stored uint8 pixels as float tensors, channels first; normalisation, centre crop, and pixels to look at."""

from collections.abc import Sequence

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


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a number per channel: those of red, green and blue, repeated as `adapt_input` repeats the weights.

    Args:
        values: mean or standard deviation of an encoder's images.
        channels: channels of the images, see `input_channels`.
    """
    return tuple(values[channel % len(values)] for channel in range(channels))


def to_colours(pixels: np.ndarray) -> np.ndarray:
    """Return stored pixels uint8 (H, W, C) as colours (H, W, 3) to look at: of other than 3 channels the first, in grey."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels[..., :1], 3, axis=-1)


def centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the centre of `size` (height, width) from (H, W) or (H, W, C) pixels; an odd margin is larger at bottom and right.

    Raises:
        ValueError: the pixels are fewer than `size`.
    """
    top, left = ((length - target) // 2 for length, target in zip(pixels.shape[:2], size, strict=True))
    if top < 0 or left < 0:
        raise ValueError(f"expected at least {size} pixels, but got {pixels.shape[:2]}")
    return pixels[top : top + size[0], left : left + size[1]]

"""Stored uint8 pixels as RGB float tensors; normalisation and centre crop."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def rgb(pixels: np.ndarray | Tensor) -> Tensor:
    """Scale stored pixels to [0, 1], channels first; grey is repeated to three channels.

    Args:
        pixels: uint8 (..., H, W, C) with C 1 or 3.

    Returns:
        float32 (..., 3, H, W) on the same device.
    """
    tensor = torch.from_numpy(np.array(pixels)) if isinstance(pixels, np.ndarray) else pixels
    tensor = tensor.movedim(-1, -3).float() / 255  # (..., C, H, W)
    return tensor.expand(*tensor.shape[:-3], 3, *tensor.shape[-2:]).contiguous()


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (images - mean) / std, channel by channel.

    Args:
        images: float (..., 3, H, W), in the [0, 1] units of `mean` and `std`.
        mean: mean per channel, three numbers.
        std: standard deviation per channel, three numbers.
    """
    shift, scale = (
        torch.tensor(values, dtype=images.dtype).to(images.device, non_blocking=images.is_cuda).view(3, 1, 1)
        for values in (mean, std)
    )
    return (images - shift) / scale


def centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the centre of `size` (height, width) from (H, W) or (H, W, C) pixels; an odd margin is larger at bottom and right.

    Raises:
        ValueError: the pixels are fewer than `size`.
    """
    top, left = ((length - target) // 2 for length, target in zip(pixels.shape[:2], size, strict=True))
    if top < 0 or left < 0:
        raise ValueError(f"expected at least {size} pixels, but got {pixels.shape[:2]}")
    return pixels[top : top + size[0], left : left + size[1]]

"""Colour jitter of the robustness views (paper A.6, Algorithm 3)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medtransfer.seeds import derive_seed

RANGES = {"brightness": (0.9, 1.1), "contrast": (0.95, 1.05), "saturation": (0.9, 1.1), "hue": (-0.05, 0.05)}
GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class JitterDraws:
    """One draw per image, float32 (n,) each: factors of brightness, contrast and saturation, and the shift of hue."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor

    def __len__(self) -> int:
        """Count the images."""
        return len(self.hue)

    def __getitem__(self, rows: "np.ndarray | Tensor | slice | list[int]") -> "JitterDraws":
        """Return the draws of some images, in that order."""
        return JitterDraws(self.brightness[rows], self.contrast[rows], self.saturation[rows], self.hue[rows])


def draw_jitter(n: int, seed: int, repeat: int, view: int) -> JitterDraws:
    """Draw for a whole set of images; the draw of image i depends only on (seed, repeat, view, i).

    Args:
        n: number of images.
        seed: seed of the scoring.
        repeat: index of the pair of views.
        view: 0 for the query, 1 for the key.
    """
    return jitter_of(n, np.random.default_rng(derive_seed("jitter", seed, repeat, view)))


def jitter_of(n: int, rng: np.random.Generator) -> JitterDraws:
    """Draw for n images from a generator."""
    low, high = np.array(list(RANGES.values())).T
    values = torch.from_numpy(rng.uniform(low, high, size=(n, 4)).astype(np.float32))
    return JitterDraws(*values.unbind(1))


def jitter(images: Tensor, draws: JitterDraws) -> Tensor:
    """Jitter brightness, contrast, saturation and hue, in this order, each image by its own draw.

    Contrast and saturation use the same grey image, computed after the brightness step. Nothing is clamped, except that
    negative colours become 0 before the conversion to HSV.

    Args:
        images: float (N, 3, H, W), RGB in [0, 1].
        draws: draws of these N images.

    Returns:
        float (N, 3, H, W), non-negative; bright pixels may exceed 1.

    Raises:
        ValueError: the numbers of images and draws differ.

    Source: paper A.6, Algorithm 3.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) != len(draws):
        raise ValueError(f"expected images ({len(draws)}, 3, H, W), one per draw, but got {tuple(images.shape)}")
    brightness, contrast, saturation, hue = (
        draw.to(images, non_blocking=images.is_cuda).view(-1, 1, 1, 1)
        for draw in (draws.brightness, draws.contrast, draws.saturation, draws.hue)
    )
    images = brightness * images
    red, green, blue = images.unbind(1)
    grey = (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[:, None]  # (N, 1, H, W)
    images = contrast * images + (1 - contrast) * grey.mean((2, 3), keepdim=True)
    images = saturation * images + (1 - saturation) * grey
    hsv = rgb_to_hsv(images.clamp(min=0))
    hsv[:, :1] = (hsv[:, :1] + hue) % 1
    return hsv_to_rgb(hsv)


def rgb_to_hsv(images: Tensor) -> Tensor:
    """Convert non-negative colours (N, 3, H, W); hue and saturation are in [0, 1], grey has hue 0."""
    value, low = images.amax(1), images.amin(1)  # (N, H, W)
    chroma = value - low
    red, green, blue = images.unbind(1)
    unit = torch.where(chroma > 0, chroma, 1)
    sector = torch.where(value == green, 2 + (blue - red) / unit, 4 + (red - green) / unit)
    sector = torch.where(value == red, (green - blue) / unit, sector)
    saturation = chroma / torch.where(value > 0, value, 1)
    return torch.stack([(sector / 6) % 1, saturation, value], 1)


def hsv_to_rgb(images: Tensor) -> Tensor:
    """Invert `rgb_to_hsv`, (N, 3, H, W); exact for colours without saturation."""
    hue, saturation, value = images.unbind(1)  # (N, H, W)
    chroma = value * saturation
    channels = []
    for start in (5, 3, 1):
        sector = (start + 6 * hue) % 6
        channels.append(value - chroma * torch.minimum(sector, 4 - sector).clamp(0, 1))
    return torch.stack(channels, 1)

"""Jitter of the robustness views: of colours as in the paper (A.6, Algorithm 3), of other channels each by itself."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medtransfer.seeds import derive_seed

RANGES = {"brightness": (0.9, 1.1), "contrast": (0.95, 1.05), "saturation": (0.9, 1.1), "hue": (-0.05, 0.05)}
GREY = (0.2989, 0.587, 0.114)
COLOURS = 3


@dataclass(frozen=True)
class JitterDraws:
    """Factors of brightness, contrast and saturation, and the shift of hue, of each image.

    Colours have one draw per image, float32 (n,) each. Other channels, such as MRI sequences, have brightness and contrast
    (n, C), a draw per image and channel; saturation and hue, which they lack, are None.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor | None
    hue: Tensor | None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.brightness)

    def __getitem__(self, rows: "np.ndarray | Tensor | slice | list[int]") -> "JitterDraws":
        """Return the draws of some images, in that order."""
        brightness, contrast = self.brightness[rows], self.contrast[rows]
        if self.saturation is None or self.hue is None:
            return JitterDraws(brightness, contrast, None, None)
        return JitterDraws(brightness, contrast, self.saturation[rows], self.hue[rows])


def draw_jitter(n: int, seed: int, repeat: int, view: int, channels: int = COLOURS) -> JitterDraws:
    """Draw for a whole set of images; the draw of image i depends only on (seed, repeat, view, i).

    Args:
        n: number of images.
        seed: seed of the scoring.
        repeat: index of the pair of views.
        view: 0 for the query, 1 for the key.
        channels: channels of the images; three are colours.
    """
    return jitter_of(n, np.random.default_rng(derive_seed("jitter", seed, repeat, view)), channels)


def jitter_of(n: int, rng: np.random.Generator, channels: int = COLOURS) -> JitterDraws:
    """Draw for n images from a generator; see `draw_jitter`."""
    low, high = np.array(list(RANGES.values())).T
    if channels != COLOURS:
        factors = torch.from_numpy(rng.uniform(low[:2], high[:2], size=(n, channels, 2)).astype(np.float32))
        return JitterDraws(factors[..., 0], factors[..., 1], None, None)
    values = torch.from_numpy(rng.uniform(low, high, size=(n, 4)).astype(np.float32))
    return JitterDraws(*values.unbind(1))


def jitter(images: Tensor, draws: JitterDraws) -> Tensor:
    """Jitter brightness, contrast, saturation and hue, in this order, each image by its own draw.

    Of images that are no colours each channel has its own brightness, and contrast around its own mean.

    Contrast and saturation use the same grey image, computed after the brightness step. Nothing is clamped, except that
    negative colours become 0 before the conversion to HSV.

    Args:
        images: float (N, C, H, W) in [0, 1], of three channels RGB.
        draws: draws of these N images.

    Returns:
        float (N, C, H, W), non-negative; bright pixels may exceed 1.

    Raises:
        ValueError: the numbers of images and draws differ.

    Source: paper A.6, Algorithm 3.
    """
    channels = COLOURS if draws.brightness.ndim == 1 else draws.brightness.shape[1]
    if images.ndim != 4 or images.shape[1] != channels or len(images) != len(draws):
        raise ValueError(f"expected images ({len(draws)}, {channels}, H, W), one per draw, but got {tuple(images.shape)}")
    if draws.saturation is None or draws.hue is None:
        return _jitter_channels(images, draws)
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


def _jitter_channels(images: Tensor, draws: JitterDraws) -> Tensor:
    """Jitter brightness and contrast of every channel by itself; negative values become 0, as in `jitter`."""
    brightness, contrast = (
        draw.to(images, non_blocking=images.is_cuda)[:, :, None, None] for draw in (draws.brightness, draws.contrast)
    )
    images = brightness * images
    return (contrast * images + (1 - contrast) * images.mean((2, 3), keepdim=True)).clamp(min=0)


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

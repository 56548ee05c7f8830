"""Squares cut out of source pictures and resized, bilinear and antialiased: by Pillow, or in a fifth of the time by PyTorch.

Pillow cuts boxes to parts of a pixel. PyTorch's vectorised kernel resizes whole pixels, as torchvision's random crops do, so each
edge of a crop moves by half a pixel at most; of the same box the two differ by one grey level at most.
"""

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import v2

Box = tuple[float, float, float, float]  # left, top, right and bottom edge, in pixels


class Pictures(Protocol):
    """The pictures of one split."""

    def __len__(self) -> int:
        """Count the pictures."""

    def picture(self, index: int) -> Image.Image:
        """Return a picture, RGB."""

    def pixels(self, index: int) -> Tensor:
        """Return its pixels, uint8 (H, W, 3)."""


class Resampling(Protocol):
    """How squares are cut out of pictures, each in the form that `read` returns it in."""

    name: ClassVar[str]

    def read(self, pictures: Pictures, index: int) -> Any:
        """Read a picture."""

    def size(self, picture: Any) -> tuple[int, int]:
        """Return width and height of a picture, pixels."""

    def crop(self, picture: Any, box: Box, side: int) -> np.ndarray:
        """Resize a box inside a picture to uint8 (side, side, 3)."""

    def middle(self, picture: Any, side: int) -> np.ndarray:
        """Resize the shorter side of a picture to `side`, and return the centre, uint8 (side, side, 3)."""


class Pillow:
    """Cuts to parts of a pixel; see `Resampling`."""

    name: ClassVar[str] = "pillow"

    def read(self, pictures: Pictures, index: int) -> Image.Image:
        """Read a picture."""
        return pictures.picture(index)

    def size(self, picture: Image.Image) -> tuple[int, int]:
        """Return width and height."""
        return picture.size

    def crop(self, picture: Image.Image, box: Box, side: int) -> np.ndarray:
        """Resize a box."""
        return np.array(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))

    def middle(self, picture: Image.Image, side: int) -> np.ndarray:
        """Resize and return the centre."""
        return np.array(v2.functional.center_crop(v2.functional.resize(picture, [side]), [side, side]))


class Torch:
    """Cuts whole pixels; see `Resampling`."""

    name: ClassVar[str] = "torch"

    def read(self, pictures: Pictures, index: int) -> Tensor:
        """Read the pixels of a picture."""
        return pictures.pixels(index)

    def size(self, picture: Tensor) -> tuple[int, int]:
        """Return width and height."""
        return picture.shape[1], picture.shape[0]

    def crop(self, picture: Tensor, box: Box, side: int) -> np.ndarray:
        """Resize a box, rounded to whole pixels and at least one."""
        left, top, right, bottom = (round(edge) for edge in box)
        left, top = min(left, picture.shape[1] - 1), min(top, picture.shape[0] - 1)
        part = picture[top : max(bottom, top + 1), left : max(right, left + 1)].permute(2, 0, 1)[None]  # (1, 3, h, w)
        part = part.contiguous(memory_format=torch.channels_last)
        resized = interpolate(part, (side, side), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).numpy()

    def middle(self, picture: Tensor, side: int) -> np.ndarray:
        """Resize and return the centre."""
        resized = v2.functional.resize(picture.permute(2, 0, 1), [side], antialias=True)
        return np.ascontiguousarray(v2.functional.center_crop(resized, [side, side]).permute(1, 2, 0).numpy())


RESAMPLINGS: dict[str, Resampling] = {each.name: each for each in (Pillow(), Torch())}

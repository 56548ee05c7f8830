"""Which pictures are coloured, lose transparency or show nothing, noted while they are read."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

TINGE = 8  # of 255: lossy compression may make the channels of grey differ by so much
LOOK = 512  # pixels of a picture's side that are looked at, at most


@dataclass(frozen=True)
class Conversions:
    """What is noted of the pictures that are read, each once.

    Attributes:
        in_colour: whether the file of a picture has colours, if only equal ones: red, green and blue.
        coloured: whether the channels of a picture really differ.
        transparent: whether it has transparent pixels, whose transparency is dropped.
        constant: whether all its pixels are equal.
    """

    in_colour: dict[Path, bool] = field(default_factory=dict)
    coloured: dict[Path, bool] = field(default_factory=dict)
    transparent: dict[Path, bool] = field(default_factory=dict)
    constant: dict[Path, bool] = field(default_factory=dict)

    def of(self, paths: Iterable[Path]) -> "Conversions":
        """Return what is noted of some files."""
        parts = (self.in_colour, self.coloured, self.transparent, self.constant)
        return Conversions(*({path: part[path] for path in paths if path in part} for part in parts))

    def add(self, others: "Conversions") -> None:
        """Note what another process has noted."""
        self.in_colour.update(others.in_colour)
        self.coloured.update(others.coloured)
        self.transparent.update(others.transparent)
        self.constant.update(others.constant)

    def see(self, path: Path, picture: Image.Image) -> None:
        """Note a picture, without its alpha channel."""
        self.transparent.setdefault(path, False)
        if path not in self.coloured:
            self.in_colour[path] = picture.mode == "P" or len(picture.getbands()) > 1
            self.coloured[path] = self.in_colour[path] and _is_coloured(picture)

    def see_alpha(self, path: Path, alpha: np.ndarray) -> None:
        """Note the alpha channel of a picture, uint8 (h, w)."""
        self.transparent[path] = bool((alpha < 255).any())

    def see_slices(self, path: Path, pixels: np.ndarray) -> None:
        """Note uint8 slices (N, H, W, 3)."""
        self.transparent[path] = False
        self.coloured[path] = any(_is_coloured(Image.fromarray(page)) for page in pixels)

    def see_stored(self, path: Path, pixels: np.ndarray) -> None:
        """Note pixels as they are stored, uint8 (N, H, W, C)."""
        self.constant[path] = is_constant(pixels)


def is_constant(pixels: np.ndarray) -> bool:
    """Return whether an image, or each channel of it (the last axis), has one value only."""
    return bool((pixels == pixels[(0,) * (pixels.ndim - 1)]).all())


def _is_coloured(picture: Image.Image) -> bool:
    """Return whether a picture has other colours than grey; of a large one some pixels are looked at."""
    width, height = picture.size
    thin = picture.resize((min(width, LOOK), min(height, LOOK)), Image.Resampling.NEAREST) if max(width, height) > LOOK else picture
    red, *others = thin.convert("RGB").split()
    return any(ImageChops.difference(red, other).getextrema()[1] > TINGE for other in others)  # type: ignore[operator]

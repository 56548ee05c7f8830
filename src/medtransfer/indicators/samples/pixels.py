"""A sample of pixel embeddings without labels."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.reservoir import Reservoir, finite, pixel_keys


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of pixels or images.

    Attributes:
        features: float64 (N, D), finite.
        images: int64 (N,), position of the image that each embedding is of.
        flags: `nonfinite` (embeddings replaced by zeros); zero counts are left out.
    """

    features: NDArray[np.float64]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the sample of the chosen rows."""
        return replace(self, features=self.features[rows], images=self.images[rows])


class PlainPixels:
    """Keeps the pixels with the smallest random keys, which depend on the seed and the image only."""

    needs: ClassVar[frozenset[str]] = frozenset({"features"})

    def __init__(self, images: tuple[str, ...], level: int, pixels: int, seed: int) -> None:
        """Start empty; arguments as of `LabelledPixels`."""
        self._images, self._level, self._seed, self._kept = images, level, seed, Reservoir(pixels)

    def update(self, batch: Batch) -> None:
        """Sample from the pixels of a batch."""
        assert batch.features is not None
        features = batch.features[self._level]  # (B, D, h, w)
        pixels = features.shape[2] * features.shape[3]
        keys = pixel_keys(self._seed, [self._images[position] for position in batch.positions], pixels)
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)  # (B * h * w, D)
        self._kept.offer(keys, rows, np.repeat(batch.positions, pixels), np.arange(len(keys)))

    def collect(self) -> Embeddings:
        """Return the sample, in the order of the keys.

        Raises:
            ValueError: there were no pixels.
        """
        if self._kept.embeddings is None:
            raise ValueError("expected the pixels of at least one image, but got none")
        features, broken = finite(self._kept.embeddings)
        return Embeddings(features, self._kept.images, {"nonfinite": broken} if broken else {})


def plain_pixels(context: Context) -> PlainPixels:
    """Return the sample of pixels at the level of the options."""
    return context.samples.share(
        PlainPixels, tuple(context.images), context.options.level, context.options.pixels, context.seed
    )  # fmt: skip

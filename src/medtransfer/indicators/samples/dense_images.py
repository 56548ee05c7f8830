"""Pixel embeddings of few images, many of each."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.samples.reservoir import finite, pixel_keys
from medtransfer.seeds import derive_seed

MOST = 196  # pixels of an image: a grid of 14 x 14


class DenseImages:
    """Keeps up to MOST pixels of each of so many images as the size of the sample allows.

    Images and pixels depend on the seed and the images' ids only.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"features"})

    def __init__(self, images: tuple[str, ...], level: int, pixels: int, seed: int) -> None:
        """Start empty; arguments as of `LabelledPixels`."""
        self._images, self._level, self._pixels, self._seed = images, level, pixels, seed
        order = np.random.default_rng(derive_seed(seed, "dense images")).permutation(len(images))
        self._turn = np.argsort(order)  # (N,), images with a low one are taken
        self._kept: dict[int, NDArray[np.float32]] = {}

    def update(self, batch: Batch) -> None:
        """Take the pixels of the chosen images of a batch."""
        assert batch.features is not None
        features = batch.features[self._level]  # (B, D, h, w)
        pixels = features.shape[2] * features.shape[3]
        count = min(pixels, MOST, self._pixels)
        for row in np.flatnonzero(self._turn[batch.positions] < self._pixels // count):
            position = int(batch.positions[row])
            cells = np.sort(np.argsort(pixel_keys(self._seed, [self._images[position]], pixels))[:count])
            self._kept[position] = features[row].flatten(1).T[cells].float().cpu().numpy()  # (count, D)

    def collect(self) -> Embeddings:
        """Return the sample, image by image.

        Raises:
            ValueError: there were no pixels.
        """
        if not self._kept:
            raise ValueError("expected the pixels of at least one image, but got none")
        kept = sorted(self._kept.items())
        features, broken = finite(np.concatenate([rows for _, rows in kept]))
        images = np.repeat([position for position, _ in kept], [len(rows) for _, rows in kept])
        return Embeddings(features, images, {"nonfinite": broken} if broken else {})


def dense_images(context: Context) -> DenseImages:
    """Return the sample of dense images at the level of the options."""
    return context.samples.share(
        DenseImages, tuple(context.images), context.options.level, context.options.pixels, context.seed
    )  # fmt: skip

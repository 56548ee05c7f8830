"""A sample of embeddings of whole images, each with several labels."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, Pixels, pooled
from medtransfer.indicators.samples.reservoir import Reservoir, finite, pixel_keys


class LabelledImages:
    """Keeps the images with the smallest random keys, which depend on the seed and the image only."""

    needs: ClassVar[frozenset[str]] = LabelledPixels.needs

    def __init__(self, images: tuple[str, ...], level: int, most: int, seed: int) -> None:
        """Start empty.

        Args:
            images: ids, in the order of the positions in batches.
            level: level of the maps, counted from the end.
            most: most images to keep.
            seed: seed of the keys.
        """
        self._images, self._level, self._seed = images, level, seed
        self._kept = Reservoir(most)
        self._labels: dict[int, NDArray[np.int64]] = {}  # (L,), by position

    def update(self, batch: Batch) -> None:
        """Sample from the images of a batch."""
        assert batch.features is not None and batch.labels is not None
        rows = pooled(batch.features[self._level]).flatten(1)  # (B, D)
        keys = pixel_keys(self._seed, [self._images[position] for position in batch.positions], 1)
        self._kept.offer(keys, rows, batch.positions, np.arange(len(rows)))
        self._labels |= zip(batch.positions.tolist(), batch.labels.numpy()[:, :, 0, 0].astype(np.int64), strict=True)

    def collect(self) -> Pixels:
        """Return the sample, in the order of the keys.

        Raises:
            ValueError: there were no images.
        """
        if self._kept.embeddings is None:
            raise ValueError("expected at least one image, but got none")
        features, broken = finite(self._kept.embeddings)
        labels = np.stack([self._labels[position] for position in self._kept.images.tolist()])
        return Pixels(features, labels, self._kept.images, {"nonfinite": broken} if broken else {})

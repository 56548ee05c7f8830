"""A sample of embeddings of whole images, each with several labels, that is balanced for every label."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, Pixels, pooled
from medtransfer.indicators.samples.reservoir import Reservoir, finite, pixel_keys
from medtransfer.records import IGNORE

VALUES = 0, 1  # of a label


class LabelledImages:
    """Keeps, for each label and either value, the images with the smallest random keys, which depend on the seed and the image.

    So the sample of a label is that of `LabelledPixels`, as if there were no others, and the samples of different labels share
    images where they can.
    """

    needs: ClassVar[frozenset[str]] = LabelledPixels.needs

    def __init__(self, images: tuple[str, ...], level: int, most: int, seed: int) -> None:
        """Start empty.

        Args:
            images: ids, in the order of the positions in batches.
            level: level of the maps, counted from the end.
            most: most images to keep for a label, the same share for either value.
            seed: seed of the keys.
        """
        self._images, self._level, self._most, self._seed = images, level, most, seed
        self._kept: list[tuple[Reservoir, ...]] = []  # of positions, by label and value
        self._rows: dict[int, NDArray[np.float32]] = {}  # (D,), by position

    def update(self, batch: Batch) -> None:
        """Sample from the images of a batch; those whose label is unknown are not sampled for it."""
        assert batch.features is not None and batch.labels is not None
        rows = pooled(batch.features[self._level]).flatten(1)  # (B, D)
        labels = batch.labels[:, :, 0, 0].numpy()  # (B, L)
        keys = pixel_keys(self._seed, [self._images[position] for position in batch.positions], 1)
        nothing = torch.empty(len(labels), 0)  # as the reservoirs choose positions alone
        self._kept = self._kept or [tuple(Reservoir(max(1, self._most // len(VALUES))) for _ in VALUES) for _ in labels.T]
        for kept, column in zip(self._kept, labels.T, strict=True):
            for value, reservoir in zip(VALUES, kept, strict=True):
                reservoir.offer(keys, nothing, batch.positions, np.flatnonzero(column == value))
        self._rows |= zip(batch.positions.tolist(), rows.float().cpu().numpy(), strict=True)
        positions = {int(position) for kept in self._kept for reservoir in kept for position in reservoir.images}
        self._rows = {position: row for position, row in self._rows.items() if position in positions}

    def collect(self) -> Pixels:
        """Return the sample, by position; a label is IGNORE for images that were kept for others only.

        Raises:
            ValueError: there was no image with a label.
        """
        if not self._rows:
            raise ValueError("expected at least one image with a known label, but got none")
        positions = np.array(sorted(self._rows))
        labels = np.full((len(positions), len(self._kept)), IGNORE, dtype=np.int64)
        for number, kept in enumerate(self._kept):
            for value, reservoir in zip(VALUES, kept, strict=True):
                labels[np.searchsorted(positions, reservoir.images), number] = value
        features, broken = finite(np.stack([self._rows[position] for position in positions.tolist()]))
        return Pixels(features, labels, positions, {"nonfinite": broken} if broken else {})

"""A class-balanced sample of the probabilities of the source classes at labelled pixels."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, Pixels

MOST = 2**24  # probabilities that are kept: 128 MiB as float64


class SourcePixels(LabelledPixels):
    """Keeps the probabilities at the pixels that `LabelledPixels` keeps: those of the position of the last level they are in.

    Of a head with so many classes that MOST probabilities are of fewer pixels, fewer are kept, by the same keys.
    """

    needs: ClassVar[frozenset[str]] = LabelledPixels.needs | {"source_probabilities"}

    def __init__(
        self, images: tuple[str, ...], classes: int, level: int, pixels: int, seed: int, without_head: bool
    ) -> None:  # fmt: skip
        """Start empty; `without_head` says that no probabilities will come, the others are as of `LabelledPixels`."""
        super().__init__(images, classes, level, pixels, seed)
        self._without_head, self._flags = without_head, dict[str, int]()

    def _rows(self, batch: Batch, height: int, width: int) -> tuple[Tensor, NDArray[np.int64]]:
        assert batch.source_probabilities is not None
        count, classes, coarse_height, coarse_width = batch.source_probabilities.shape
        self._limit(classes)
        if (shared := height * width // (coarse_height * coarse_width)) > 1:
            self._flags["shared_positions"] = shared
        cells = np.arange(count * coarse_height * coarse_width).reshape(count, coarse_height, coarse_width)
        row_of = cells[:, _nearest(height, coarse_height)][:, :, _nearest(width, coarse_width)].ravel()  # (B * h * w,)
        return batch.source_probabilities.permute(0, 2, 3, 1).flatten(0, 2), row_of

    def _limit(self, source_classes: int) -> None:
        most = max(1, MOST // (source_classes * len(self._kept)))
        if any(kept.size > most for kept in self._kept):
            self._flags["many_source_classes"] = source_classes
        for kept in self._kept:
            kept.size = min(kept.size, most)

    def collect(self) -> Pixels:
        """Return the sample with the probabilities as features; pixels where they are not finite are left out.

        It is empty, and flagged, without a source head.

        Raises:
            ValueError: there were no pixels.
        """
        if self._without_head:
            none = np.empty(0, dtype=np.int64)
            return Pixels(np.empty((0, 0)), none, none, {"no_source_head": 1})
        sample = super().collect()
        return replace(sample, flags=sample.flags | self._flags).keep(np.asarray(sample.features.any(axis=1)))


def _nearest(pixels: int, positions: int) -> NDArray[np.int64]:
    """Return the position of a coarser row that the middle of each pixel of a finer one is in."""
    return ((np.arange(pixels) + 0.5) * positions / pixels).astype(np.int64)


def source_pixels(context: Context) -> SourcePixels:
    """Return the sample of probabilities, at the pixels of the level of the options."""
    options = context.options
    return context.samples.share(
        SourcePixels, tuple(context.images), context.classes, options.level, options.pixels, context.seed,
        bool(context.without_head),
    )  # fmt: skip

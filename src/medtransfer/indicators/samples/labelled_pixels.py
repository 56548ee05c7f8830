"""A class-balanced sample of embeddings of pixels, or of whole images, with their labels."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.reservoir import Reservoir, finite, pixel_keys
from medtransfer.records import IGNORE

SURVIVING = 0.2  # share of a class's pixels that must be in cells of the class, else the level is too coarse for it


@dataclass(frozen=True)
class Pixels:
    """Embeddings of pixels, or of whole images, with their labels.

    Attributes:
        features: float64 (N, D), finite.
        labels: int64 (N,); of pixels 0 is background. Of images with several labels (N, L): 0, 1 or, where unknown, IGNORE.
        images: int64 (N,), position of the image that each row is of.
        flags: `empty_classes` (classes without a cell on the grid), `vanishing_classes` (fewer than SURVIVING of whose pixels
            are in cells of the class) and `nonfinite` (embeddings replaced by zeros); zeros are left out.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the sample of the chosen rows."""
        return replace(self, features=self.features[rows], labels=self.labels[rows], images=self.images[rows])

    def by_label(self) -> list[Self]:
        """Return the sample or, of several labels, for each of them the rows for which it is known; none where these are alike."""
        if self.labels.ndim == 1:
            return [self]
        return [replace(self, labels=column).keep(_where_known(column)) for column in self.labels.T]


def _where_known(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where labels (N,) are known; nowhere if those have one value."""
    known = labels != IGNORE
    return known & (len(np.unique(labels[known])) > 1)


def to_grid(labels: Tensor, classes: int, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Downsample labels to a grid: each cell gets the class that covers most of it; the lowest label wins a tie.

    A cell of which pixels to ignore cover more than any class gets IGNORE.

    Args:
        labels: whole numbers (B, H, W) in 0..classes - 1, or IGNORE.
        classes: number of labels, background included.
        height: height of the grid.
        width: width of the grid.

    Returns:
        The labels (B, height, width), and the share of each cell that each class covers, (B, classes, height, width).
    """
    members = labels[:, None] == torch.arange(classes, dtype=labels.dtype)[:, None, None]  # (B, classes, H, W)
    shares = adaptive_avg_pool2d(members.double(), (height, width)).numpy()
    ignored = adaptive_avg_pool2d((labels[:, None] == IGNORE).double(), (height, width)).numpy()[:, 0]
    return np.where(ignored > shares.max(axis=1), IGNORE, shares.argmax(axis=1)), shares


def pooled(maps: Tensor) -> Tensor:
    """Return the embeddings of whole images, the means of maps (B, D, h, w), float32 (B, D, 1, 1)."""
    return maps.float().mean((2, 3), keepdim=True)


class LabelledPixels:
    """Keeps, per class, the pixels with the smallest random keys, which depend on the seed and the image only.

    So the sample is uniform within a class, independent of the batches, and of bounded size. Where whole images have labels, an
    image is one pixel, whose embedding is the mean over the map.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"features", "labels"})

    def __init__(self, images: tuple[str, ...], classes: int, level: int, pixels: int, seed: int) -> None:
        """Start empty.

        Args:
            images: ids, in the order of the positions in batches.
            classes: number of labels, background included.
            level: level of the maps, counted from the end.
            pixels: most pixels to keep, the same share for each class.
            seed: seed of the keys.
        """
        self._images, self._level, self._seed = images, level, seed
        self._kept = [Reservoir(max(1, pixels // classes)) for _ in range(classes)]
        self._covered, self._surviving = np.zeros(classes), np.zeros(classes)

    def update(self, batch: Batch) -> None:
        """Sample from the pixels of a batch; those labelled IGNORE are not sampled."""
        assert batch.features is not None and batch.labels is not None
        height, width = self._grid(batch)
        grid, shares = to_grid(batch.labels, len(self._kept), height, width)
        keys = pixel_keys(self._seed, [self._images[position] for position in batch.positions], height * width)
        rows, row_of = self._rows(batch, height, width)
        of = np.repeat(batch.positions, height * width)
        for label, kept in enumerate(self._kept):
            self._covered[label] += shares[:, label].sum()
            self._surviving[label] += shares[:, label][grid == label].sum()
            kept.offer(keys, rows, of, np.flatnonzero(grid == label), row_of)

    def _grid(self, batch: Batch) -> tuple[int, int]:
        """Return height and width of the grid of pixels."""
        assert batch.features is not None and batch.labels is not None
        if batch.labels.shape[1:] == (1, 1):
            return 1, 1
        height, width = batch.features[self._level].shape[2:]
        return height, width

    def _rows(self, batch: Batch, height: int, width: int) -> tuple[Tensor, NDArray[np.int64] | None]:
        """Return what is kept of the pixels of the grid: rows (n, D), and the row of each pixel if several share one."""
        assert batch.features is not None
        maps = batch.features[self._level]
        if maps.shape[2:] != (height, width):  # of a whole image
            maps = pooled(maps)
        return maps.permute(0, 2, 3, 1).flatten(0, 2), None  # (B * h * w, D)

    def collect(self) -> Pixels:
        """Return the sample, class by class, in the order of the keys.

        Raises:
            ValueError: there were no pixels.
        """
        kept = [(label, sample) for label, sample in enumerate(self._kept) if sample.embeddings is not None]
        if not kept:
            raise ValueError("expected the pixels of at least one image, but got none")
        features, broken = finite(np.concatenate([sample.embeddings for _, sample in kept]))
        labels = np.concatenate([np.full(len(sample.images), label) for label, sample in kept])
        flags = {
            "empty_classes": len(self._kept) - len(kept),
            "vanishing_classes": int((self._surviving < SURVIVING * self._covered).sum()),
            "nonfinite": broken,
        }
        images = np.concatenate([sample.images for _, sample in kept])
        return Pixels(features, labels, images, {name: number for name, number in flags.items() if number})


def labelled_pixels(context: Context) -> LabelledPixels:
    """Return the sample of labelled pixels at the level of the options."""
    options = context.options
    return context.samples.share(
        LabelledPixels, tuple(context.images), context.classes, options.level, options.pixels, context.seed
    )  # fmt: skip

"""Pixel embeddings of some images at several levels: a few of each foreground class, and a few of any label."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.labelled_pixels import to_grid
from medtransfer.indicators.samples.reservoir import finite, pixel_keys
from medtransfer.records import IGNORE
from medtransfer.seeds import derive_seed

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class ImagePixels:
    """Embeddings of one image at one level.

    Attributes:
        classes: (n, D) by foreground class, without classes that the image lacks.
        spread: (P, D), pixels of any label.
    """

    classes: dict[int, Numbers]
    spread: Numbers


@dataclass(frozen=True)
class ClassPixels:
    """Embeddings of several images at several levels.

    Attributes:
        levels: by level, the pixels of each image.
        images: int64 (n,), position of each image.
        flags: `missing_levels` (levels that the encoder lacks) and `nonfinite` (embeddings replaced by zeros); zero counts are
            left out.
    """

    levels: list[list[ImagePixels]]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)


def choose_pixels(
    labels: NDArray[np.int64], keys: NDArray[np.float64], most: int | None = None
) -> tuple[dict[int, NDArray[np.intp]], NDArray[np.intp]]:  # fmt: skip
    """Choose the pixels with the smallest keys: of each foreground class, and of all that are not labelled IGNORE.

    Args:
        labels: (P,), 0 is background.
        keys: (P,).
        most: how many of each, None for all.

    Returns:
        Indices of the pixels by class, and of those of any label.
    """
    order = np.argsort(keys)
    order = order[labels[order] != IGNORE]
    return {int(label): order[labels[order] == label][:most] for label in np.unique(labels[order]) if label}, order[:most]


class ClassPixelSampler:
    """Chooses images, and of each the pixels with the smallest random keys, which depend on the seed and the image only."""

    needs: ClassVar[frozenset[str]] = frozenset({"features", "labels"})

    def __init__(self, images: tuple[str, ...], classes: int, levels: int, pixels: int, most_images: int, seed: int) -> None:
        """Choose images.

        Args:
            images: ids, in the order of the positions in batches.
            classes: number of labels, background included.
            levels: how many of the last levels.
            pixels: most pixels of each class of an image, and of any label.
            most_images: most images to keep.
            seed: seed of the choice and of the keys.
        """
        shuffled = np.random.default_rng(derive_seed(seed, "class pixels")).permutation(len(images))
        self._chosen = np.sort(shuffled[:most_images])
        self._images, self._classes, self._pixels, self._seed = images, classes, pixels, seed
        self._kept: dict[tuple[int, int], ImagePixels] = {}  # by level and position
        self._most_levels = self._levels = levels
        self._nonfinite = 0

    def update(self, batch: Batch) -> None:
        """Take the chosen images of a batch."""
        assert batch.features is not None and batch.labels is not None
        self._levels = min(self._most_levels, len(batch.features))
        rows = np.flatnonzero(np.isin(batch.positions, self._chosen))
        if not len(rows):
            return
        labels = batch.labels[rows]
        for level, maps in enumerate(batch.features[-self._levels :]):
            grids, _ = to_grid(labels, self._classes, *maps.shape[2:])
            for row, grid in zip(rows, grids, strict=True):
                self._kept[level, int(batch.positions[row])] = self._choose(maps[row], grid, int(batch.positions[row]))

    def _choose(self, features: Tensor, labels: NDArray[np.int64], position: int) -> ImagePixels:
        """Choose pixels of one map (D, h, w) with labels (h, w)."""
        keys = pixel_keys(self._seed, [self._images[position]], labels.size)
        classes, spread = choose_pixels(labels.ravel(), keys, self._pixels)
        flat = features.flatten(1)  # (D, h * w)

        def take(chosen: NDArray[np.intp]) -> Numbers:
            rows, broken = finite(flat[:, torch.from_numpy(chosen).to(flat.device)].T.float().cpu().numpy())
            self._nonfinite += broken
            return rows.astype(np.float32)

        return ImagePixels({label: take(chosen) for label, chosen in classes.items()}, take(spread))

    def collect(self) -> ClassPixels:
        """Return the pixels of all chosen images.

        Raises:
            ValueError: there were no images.
        """
        if not self._kept:
            raise ValueError("expected the pixels of at least one image, but got none")
        levels = [[self._kept[level, int(position)] for position in self._chosen] for level in range(self._levels)]
        flags = {"missing_levels": self._most_levels - self._levels, "nonfinite": self._nonfinite}
        return ClassPixels(levels, self._chosen, {name: number for name, number in flags.items() if number})


def class_pixels(context: Context, levels: int, pixels: int, images: int) -> ClassPixelSampler:
    """Return the sampler of so many levels, pixels and images."""
    return context.samples.share(
        ClassPixelSampler, tuple(context.images), context.classes, levels, pixels, images, context.seed
    )  # fmt: skip

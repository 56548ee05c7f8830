"""A class-balanced sample of pixel embeddings, of bounded size, drawn from a stream of batches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from medtransfer.records import IGNORE
from medtransfer.seeds import derive_seed

SURVIVING = 0.2  # share of a class's pixels that must be in cells of the class, else the level is too coarse for it


@dataclass(frozen=True)
class Pixels:
    """Pixel embeddings with their labels.

    Attributes:
        features: float64 (N, D), finite.
        labels: int64 (N,), 0 is background.
        flags: `empty_classes` (classes without a cell on the grid), `vanishing_classes` (fewer than SURVIVING of whose pixels
            are in cells of the class) and `nonfinite` (embeddings replaced by zeros); zeros are left out.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    flags: dict[str, int]


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


class PixelSample:
    """Keeps, per class, the pixels with the smallest random keys, which depend on the seed and the image only.

    So the sample is uniform within a class, independent of the batches, and of bounded size.
    """

    def __init__(self, classes: int, pixels: int, seed: int) -> None:
        """Start empty.

        Args:
            classes: number of labels, background included.
            pixels: most pixels to keep, the same share for each class.
            seed: seed of the keys.
        """
        self._share, self._seed = max(1, pixels // classes), seed
        self._kept: list[tuple[NDArray[np.float64], NDArray[Any]] | None] = [None] * classes  # keys (n,), embeddings (n, D)
        self._covered, self._surviving = np.zeros(classes), np.zeros(classes)

    def update(self, features: Tensor, labels: Tensor, images: list[str]) -> None:
        """Sample from the pixels of a batch.

        Args:
            features: (B, D, h, w), of any floating type and on any device.
            labels: whole numbers (B, H, W), on the CPU; pixels labelled IGNORE are not sampled.
            images: B ids.
        """
        height, width = features.shape[2:]
        grid, shares = to_grid(labels, len(self._kept), height, width)
        keys = np.stack([np.random.default_rng(derive_seed(self._seed, "pixels", name)).random(height * width) for name in images])
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)  # (B * h * w, D)
        for label in range(len(self._kept)):
            self._covered[label] += shares[:, label].sum()
            self._surviving[label] += shares[:, label][grid == label].sum()
            self._take(label, keys.ravel(), rows, np.flatnonzero(grid == label))

    def _take(self, label: int, keys: NDArray[np.float64], rows: Tensor, candidates: NDArray[np.int64]) -> None:
        candidates = candidates[np.argsort(keys[candidates])][: self._share]
        if not len(candidates):
            return
        own = keys[candidates]
        embeddings = rows[torch.from_numpy(candidates).to(rows.device)].float().cpu().numpy()
        if (kept := self._kept[label]) is not None:
            own, embeddings = np.concatenate([kept[0], own]), np.concatenate([kept[1], embeddings])
        first = np.argsort(own)[: self._share]
        self._kept[label] = own[first], embeddings[first]

    def collect(self) -> Pixels:
        """Return the sample, class by class, in the order of the keys.

        Raises:
            ValueError: there were no pixels.
        """
        kept = [(label, sample[1]) for label, sample in enumerate(self._kept) if sample is not None]
        if not kept:
            raise ValueError("expected the pixels of at least one image, but got none")
        features = np.concatenate([embeddings for _, embeddings in kept]).astype(np.float64)
        labels = np.concatenate([np.full(len(embeddings), label) for label, embeddings in kept])
        broken = ~np.isfinite(features).all(axis=1)
        features[broken] = 0.0
        flags = {
            "empty_classes": len(self._kept) - len(kept),
            "vanishing_classes": int((self._surviving < SURVIVING * self._covered).sum()),
            "nonfinite": int(broken.sum()),
        }
        return Pixels(features, labels, {name: number for name, number in flags.items() if number})

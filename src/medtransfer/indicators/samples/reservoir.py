"""Keep the pixels with the smallest random keys, so that a sample is uniform, bounded and independent of the batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.seeds import derive_seed


class Reservoir:
    """Keeps the embeddings with the smallest keys.

    Attributes:
        size: most embeddings to keep; it may be lowered.
        embeddings: float32 (n, D), in the order of their keys; None before the first.
        images: int64 (n,), the position of the image that each embedding is of.
    """

    def __init__(self, size: int) -> None:
        """Start empty; `size` is the most embeddings to keep."""
        self.size, self._keys = size, np.empty(0)
        self.embeddings: NDArray[np.float32] | None = None
        self.images = np.empty(0, dtype=np.int64)

    def offer(
        self, keys: NDArray[np.float64], rows: Tensor, images: NDArray[np.int64], candidates: NDArray[np.int64],
        row_of: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        """Keep those candidates whose keys are small enough.

        Args:
            keys: (n,), the key of each pixel.
            rows: (n, D), of any floating type and on any device; only what may be kept is copied.
            images: (n,), position of the image of each pixel.
            candidates: indices of the pixels to choose from.
            row_of: (n,), row of each pixel where several share one; None: each has its own.
        """
        candidates = candidates[np.argsort(keys[candidates])][: self.size]
        if not len(candidates):
            return
        own, of = keys[candidates], images[candidates]
        taken = torch.from_numpy(candidates if row_of is None else row_of[candidates]).to(rows.device)
        embeddings = rows[taken].float().cpu().numpy()
        if self.embeddings is not None:
            own, of = np.concatenate([self._keys, own]), np.concatenate([self.images, of])
            embeddings = np.concatenate([self.embeddings, embeddings])
        first = np.argsort(own)[: self.size]
        self._keys, self.images, self.embeddings = own[first], of[first], embeddings[first]


def pixel_keys(seed: int, images: Sequence[str], pixels: int) -> NDArray[np.float64]:
    """Return random keys (len(images) * pixels,), which depend on the seed and each image's id only."""
    return np.stack([np.random.default_rng(derive_seed(seed, "pixels", name)).random(pixels) for name in images]).ravel()


def finite(embeddings: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """Return embeddings as float64, with zeros in place of those that are not finite, and the number of these."""
    features = embeddings.astype(np.float64)
    broken = ~np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
    features[broken] = 0.0
    return features, int(broken.sum())

"""Pooled embeddings of the jittered views of a sample of images."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.samples.reservoir import finite
from medtransfer.seeds import derive_seed


@dataclass(frozen=True)
class Views:
    """Embeddings of the views of images.

    Attributes:
        features: float64 (N, V, D), finite; the views 2r and 2r + 1 of an image are its pair of repeat r.
        images: int64 (N,), position of each image.
        flags: `nonfinite` (images whose embeddings were replaced by zeros); zero counts are left out.
    """

    features: NDArray[np.float64]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the sample of the chosen images."""
        return replace(self, features=self.features[rows], images=self.images[rows])


class ViewPairs:
    """Averages the maps of both views of the chosen images over their pixels."""

    needs: ClassVar[frozenset[str]] = frozenset({"views"})

    def __init__(self, images: int, repeats: int, level: int, most: int, seed: int) -> None:
        """Choose images.

        Args:
            images: number of images of the pass.
            repeats: number of pairs of views.
            level: level of the maps, counted from the end.
            most: most images to keep.
            seed: seed of the choice.
        """
        shuffled = np.random.default_rng(derive_seed(seed, "view pairs")).permutation(images)
        self._chosen = np.sort(shuffled[:most])
        self._row = np.full(images, -1)
        self._row[self._chosen] = np.arange(len(self._chosen))
        self._views, self._level = 2 * repeats, level
        self._features = np.empty(0, dtype=np.float32)  # (N, V, D) from the first batch on

    def update(self, batch: Batch) -> None:
        """Take the views of a batch."""
        assert batch.views is not None
        queries, keys = batch.views.queries[self._level], batch.views.keys[self._level]  # (B, D, h, w), (K, D, h, w)
        if not self._features.size:
            self._features = np.zeros((len(self._chosen), self._views, queries.shape[1]), dtype=np.float32)
        rows = self._row[batch.positions]
        for view, maps in enumerate((queries, keys[: len(queries)])):
            pooled = maps.float().mean((2, 3)).cpu().numpy()  # (B, D)
            self._features[rows[rows >= 0], 2 * batch.views.repeat + view] = pooled[rows >= 0]

    def collect(self) -> Views:
        """Return the embeddings of all views.

        Raises:
            ValueError: there were no images.
        """
        if not self._features.size:
            raise ValueError("expected the views of at least one image, but got none")
        features, broken = finite(self._features)
        return Views(features, self._chosen, {"nonfinite": broken} if broken else {})


def view_pairs(context: Context) -> ViewPairs:
    """Return the embeddings of views at the level of the options."""
    return context.samples.share(
        ViewPairs, len(context.images), context.repeats, context.options.level, context.options.pixels, context.seed
    )  # fmt: skip

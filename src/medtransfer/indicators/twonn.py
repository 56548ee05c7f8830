"""TwoNN: intrinsic dimension of pixel embeddings, from the distances to the two nearest neighbours."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import require_samples
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.unlabelled import PixelIndicator

DUPLICATE = 1e-6  # largest distance of duplicates, relative to the spread of all embeddings: rounding of float32


def twonn(features: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Estimate the intrinsic dimension, N / sum ln(r2 / r1), the maximum of the likelihood.

    r1 and r2 are the distances of an embedding to its nearest and second nearest neighbour. Of duplicates, whose distances
    say nothing, the first is kept.

    Args:
        features: finite (N, D).

    Returns:
        The dimension, NaN of fewer than three distinct embeddings or where all neighbours are equally far; and flags:
        `duplicates` (left out) and `constant` (all embeddings are one).

    Raises:
        ValueError: the features are no sample.

    Source: Facco et al., Estimating the Intrinsic Dimension of Datasets by a Minimal Neighborhood Information, Scientific
    Reports 7, 2017; the maximum of the likelihood of its Eq. 3 in place of a fit to the distribution.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    require_samples(features)
    shifted = features - features[0]  # exactly zero if constant
    centred = shifted - shifted.mean(axis=0)
    squares = euclidean_distances(centred, squared=True)  # (N, N)
    near = squares <= DUPLICATE**2 * np.square(centred).sum(axis=1).mean()
    first = ~np.tril(near, -1).any(axis=1)
    flags = {"duplicates": int((~first).sum()), "constant": int(first.sum() == 1)}
    flags = {name: number for name, number in flags.items() if number}
    squares = squares[np.ix_(first, first)]
    np.fill_diagonal(squares, np.inf)
    if len(squares) < 3:
        return np.nan, flags
    nearest, second = np.partition(squares, 1, axis=1)[:, :2].T
    total = np.log(second / nearest).sum() / 2
    return float(len(squares) / total) if total > 0 else np.nan, flags


class TwoNN(PixelIndicator):
    """TwoNN of pixel embeddings: fewer dimensions are better, according to arXiv:2606.03338, which estimates them otherwise."""

    name: ClassVar[str] = "twonn"
    higher_is_better: ClassVar[bool] = False

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the dimension."""
        return twonn(sample.features)

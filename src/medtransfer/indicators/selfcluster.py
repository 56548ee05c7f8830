"""Self-cluster: how much less pixel embeddings cluster than chance would have it, a measure of collapse."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import directions, is_collapsed, require_samples
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.unlabelled import PixelIndicator


def selfcluster(features: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compare the mean squared cosine of pairs of embeddings with its mean 1 / D between random directions.

    With U the directions, the value is -(D ||UU'||_F^2 - N (D + N - 1)) / ((D - 1) (N - 1) N).

    Args:
        features: finite (N, D).

    Returns:
        The value: 0 of directions that are uniform on average, above 0 of more even ones, -1 of one direction; NaN of fewer
        than two directions or features. And flags: `zero_vectors` (left out) and `constant` (all directions are one).

    Raises:
        ValueError: the features are no sample.

    Source: Tsitsulin, Munkhoeva, Perozzi, Unsupervised Embedding Quality Evaluation, arXiv:2305.16562, with the opposite sign,
    and with the square of the norm, which its printed formula lacks.
    """
    require_samples(features)
    units, nonzero = directions(features)
    units = units[nonzero]
    flags = {"zero_vectors": int((~nonzero).sum()), "constant": int(is_collapsed(units))}
    flags = {name: number for name, number in flags.items() if number}
    n, d = units.shape
    if n < 2 or d < 2:
        return np.nan, flags
    squares = np.square(units.T @ units if d <= n else units @ units.T).sum()  # of all cosines: both matrices have one norm
    return -float((d * squares - n * (d + n - 1)) / ((d - 1) * (n - 1) * n)), flags


class SelfCluster(PixelIndicator):
    """Self-cluster of pixel embeddings."""

    name: ClassVar[str] = "selfcluster"

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute self-cluster."""
        return selfcluster(sample.features)

"""Uniformity: how evenly the pooled embeddings of images spread over the unit sphere."""

from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import directions, is_collapsed, require_samples
from medtransfer.indicators.samples.view_pairs import Views
from medtransfer.indicators.unlabelled import ViewIndicator


def uniformity(features: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compute minus the logarithm of the mean Gaussian kernel between directions, -ln mean_{i<j} exp(-2 ||u_i - u_j||^2).

    Args:
        features: finite (N, D).

    Returns:
        The value, from 0 (one direction) to 8 (two opposite ones) and about 4 (uniform in many dimensions), NaN of fewer than
        two directions; and flags: `zero_vectors` (left out) and `constant` (all directions are one).

    Raises:
        ValueError: the features are no sample.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, with the opposite sign.
    """
    require_samples(features)
    units, nonzero = directions(features)
    units = units[nonzero]
    flags = {"zero_vectors": int((~nonzero).sum()), "constant": int(is_collapsed(units))}
    flags = {name: number for name, number in flags.items() if number}
    if (n := len(units)) < 2:
        return np.nan, flags
    kernel = np.exp(4 * (units @ units.T) - 4)  # (N, N)
    mean = (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
    return max(0.0, -float(np.log(mean))), flags


def uniformity_of_views(views: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compute the mean uniformity of views (N, V, D); flags are summed over the views."""
    results = [uniformity(view) for view in views.swapaxes(0, 1)]
    flags = sum((Counter(flags) for _, flags in results), Counter[str]())
    return float(np.mean([value for value, _ in results])), dict(flags)


class Uniformity(ViewIndicator):
    """Uniformity of the pooled embeddings of views of images, averaged over the views."""

    name: ClassVar[str] = "uniformity"

    def measure(self, sample: Views, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the mean uniformity; flags are summed over the views."""
        return uniformity_of_views(sample.features)

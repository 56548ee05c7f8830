"""Paired comparison of two selectors over the same pools, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

TIE = 1e-12  # differences up to this are rounding of equal values


@dataclass(frozen=True)
class Comparison:
    """A paired comparison over n pools.

    Attributes:
        difference: mean of first - second.
        interval: percentile bootstrap interval of the mean, over pools.
        p_value: p-value of the two-sided Wilcoxon signed-rank test; 1 if all are ties or n is 1.
        n: number of pools.
        wins: number of pools where the first is better.
        losses: number of pools where it is worse.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    n: int
    wins: int
    losses: int


def compare_paired(first: ArrayLike, second: ArrayLike, draws: int, confidence: float, rng: np.random.Generator) -> Comparison:
    """Compare the values of two selectors, pool by pool.

    Args:
        first: values by pool, (n,).
        second: values of the same pools, in the same order.
        draws: number of bootstrap draws.
        confidence: confidence of the interval.
        rng: source of randomness.

    Raises:
        ValueError: the lengths differ, are 0, or a value is not finite.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"expected the values of the same configurations, but got shapes {a.shape} and {b.shape}")
    difference = a - b
    difference[np.abs(difference) <= TIE] = 0.0
    p_value = 1.0
    if len(difference) > 1 and difference.any():  # Pratt: differences of 0 are ranked, then dropped
        p_value = float(stats.wilcoxon(difference, zero_method="pratt").pvalue)
    return Comparison(
        float(difference.mean()), bootstrap_mean(difference, draws, confidence, rng), p_value, len(difference),
        int((difference > 0).sum()), int((difference < 0).sum()),
    )  # fmt: skip


def bootstrap_mean(values: ArrayLike, draws: int, confidence: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean; the same generator state draws the same pools.

    Raises:
        ValueError: there are no values, or one is not finite.
    """
    sample: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if not sample.size or not np.all(np.isfinite(sample)):
        raise ValueError(f"expected finite values, at least one, but got {sample}")
    means = sample[rng.integers(len(sample), size=(draws, len(sample)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing, in the given order.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected

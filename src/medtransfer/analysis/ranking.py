"""Statistics of a ranking: intervals, ranks, P(best) and indistinguishable candidates, from values without blocks of groups.

Every candidate is measured on the same images, and the same blocks of groups are left out for all of them, so that what the
images share cancels in differences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medtransfer.metrics.jackknife import covariance, deviations

Array = NDArray[np.float64]
ROUNDING = 1e-12  # differences up to this come from the order of additions


@dataclass(frozen=True)
class Standing:
    """How the candidates stand by one indicator, each array (C,), in the order of the candidates; NaN where undefined.

    Attributes:
        low: lower limit of the interval of the value.
        high: upper limit.
        ranks: 1 for the best; ties share the mean of their ranks.
        best: probability of being the best.
        kept: whether the candidate cannot be distinguished from the best.
    """

    low: Array
    high: Array
    ranks: Array
    best: Array
    kept: NDArray[np.bool_]


def stand(values: Array, replicates: Array, confidence: float, draws: int, rng: np.random.Generator) -> Standing:
    """Compare candidates by one indicator, of which higher values are better.

    A candidate is not kept if another is better by a one-sided t test at level (1 - confidence) / (C - 1), with the jackknife
    error of their difference. P(best) is its share of draws from the joint t distribution of the values.

    Args:
        values: (C,), NaN where undefined.
        replicates: values without each of K blocks, (C, K); K = 0 where the images are too few groups. A candidate with a NaN
            among its replicates has no interval, is kept, and is not compared with the others.
        confidence: coverage of intervals and of the kept set.
        draws: draws of P(best).
        rng: source of randomness.

    Source: Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12,
        1984.
    """
    defined = np.isfinite(values)
    low, high, ranks, best = (np.full(len(values), np.nan) for _ in range(4))
    kept = np.zeros(len(values), dtype=bool)
    if defined.any():
        from pandas import Series

        ranks[defined] = Series(-values[defined]).rank()
        kept[defined] = True
        known = defined & np.isfinite(replicates).all(axis=1) if replicates.shape[1] else np.zeros_like(defined)
        if known.any():
            error = np.sqrt(covariance(replicates[known]).diagonal())
            half = special.stdtrit(replicates.shape[1] - 1, (1 + confidence) / 2) * error
            low[known], high[known] = values[known] - half, values[known] + half
            kept[known] = _keep(values[known], replicates[known], confidence)
        if known.sum() > 1 and known.sum() == defined.sum():
            best[known] = _draw_best(values[known], replicates[known], draws, rng)
    return Standing(low, high, ranks, best, kept)


def _draw_best(values: Array, replicates: Array, draws: int, rng: np.random.Generator) -> Array:
    blocks = replicates.shape[1]
    noise = rng.standard_normal((draws, blocks)) @ deviations(replicates).T  # (draws, C)
    noise *= np.sqrt((blocks - 1) / rng.chisquare(blocks - 1, size=(draws, 1)))
    drawn = values + noise
    first = drawn >= drawn.max(axis=1, keepdims=True) - ROUNDING
    share: Array = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return share


def _keep(values: Array, replicates: Array, confidence: float) -> NDArray[np.bool_]:
    joint, count = covariance(replicates), len(values)
    variances = joint.diagonal()[:, None] + joint.diagonal() - 2 * joint  # (C, C), of differences
    critical = special.stdtrit(replicates.shape[1] - 1, 1 - (1 - confidence) / max(1, count - 1))
    ahead = values[None, :] - values[:, None]  # of the second over the first
    beaten: NDArray[np.bool_] = (ahead > np.maximum(ROUNDING, critical * np.sqrt(np.maximum(variances, 0.0)))).any(axis=1)
    return ~beaten


def agreement(first: Array, second: Array) -> tuple[float, int]:
    """Return Kendall's tau-b between two indicators over the candidates that both are defined for, and how many these are."""
    both = np.isfinite(first) & np.isfinite(second)
    count = int(both.sum())
    if count < 2 or len(np.unique(first[both])) < 2 or len(np.unique(second[both])) < 2:
        return float("nan"), count
    from scipy import stats  # takes a second to load

    return float(stats.kendalltau(first[both], second[both]).statistic), count


def null_spread(candidates: int) -> float:
    """Return the standard deviation of Kendall's tau between unrelated rankings of so many candidates without ties.

    Source: Kendall, A New Measure of Rank Correlation, Biometrika 30, 1938.
    """
    if candidates < 2:
        return float("nan")
    return float(np.sqrt(2 * (2 * candidates + 5) / (9 * candidates * (candidates - 1))))

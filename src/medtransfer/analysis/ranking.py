"""Statistics of a ranking: intervals, ranks, P(best) and indistinguishable candidates, from values without blocks of groups.

Every candidate is measured on the same images, and the same blocks of groups are left out for all of them, so that what the
images share cancels in differences. Of trained models the values by seed tell how much another training would change them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medtransfer.metrics.jackknife import deviations

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


@dataclass(frozen=True)
class _Spread:
    """One source of error of the values: deviations (C, n) whose products, summed over n, are covariances, with n - 1 degrees."""

    deviations: Array

    @property
    def degrees(self) -> int:
        return self.deviations.shape[1] - 1

    def quantile(self, level: float) -> float:
        """Return the quantile of Student's t distribution."""
        return float(special.stdtrit(self.degrees, level))

    def errors(self) -> Array:
        """Return the standard errors of the values, (C,)."""
        return np.linalg.norm(self.deviations, axis=1)

    def errors_of_differences(self) -> Array:
        """Return the standard errors of their differences, (C, C)."""
        joint = self.deviations @ self.deviations.T
        variances = joint.diagonal()[:, None] + joint.diagonal() - 2 * joint
        return np.sqrt(np.maximum(variances, 0.0))

    def draw(self, draws: int, rng: np.random.Generator) -> Array:
        """Return draws of the errors of all values from their joint t distribution, (draws, C)."""
        noise: Array = rng.standard_normal((draws, self.degrees + 1)) @ self.deviations.T
        return noise * np.sqrt(self.degrees / rng.chisquare(self.degrees, size=(draws, 1)))


def stand(
    values: Array, replicates: Array, confidence: float, draws: int, rng: np.random.Generator, by_seed: Array | None = None
) -> Standing:  # fmt: skip
    """Compare candidates by one indicator, of which higher values are better.

    A candidate is not kept if another is better by a one-sided t test at level (1 - confidence) / C, with the jackknife error of
    their difference. At (1 - confidence) / (C - 1) the kept ones would hold a given best with this confidence; at this level
    one that is kept alone is above the others, too: where all are equal, this is said no more often than 1 - confidence. P(best)
    is its share of draws from the joint t distribution of the values.

    With values by seed each error is of other seeds, too: the half-widths over groups and over seeds, each with its own degrees
    of freedom, are added as squares, as in `paired_difference`.

    Args:
        values: (C,), NaN where undefined.
        replicates: values without each of K blocks, (C, K); K = 0 where the images are too few groups. A candidate with a NaN
            among its replicates has no interval, is kept, and is not compared with the others.
        confidence: coverage of intervals and of the kept set.
        draws: draws of P(best).
        rng: source of randomness.
        by_seed: values of single trainings, (C, S), whose means over at least two seeds are the values; None: of no training, or
            of one each.

    Source: Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12,
        1984; Howe, Approximate confidence limits on the mean of X + Y, Journal of the American Statistical Association 69, 1974.
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
            spreads = [_Spread(deviations(replicates[known])), *_over_seeds(None if by_seed is None else by_seed[known])]
            half = _add([spread.quantile((1 + confidence) / 2) * spread.errors() for spread in spreads])
            low[known], high[known] = values[known] - half, values[known] + half
            kept[known] = _keep(values[known], spreads, confidence)
            if known.sum() > 1 and known.sum() == defined.sum():
                best[known] = _draw_best(values[known], spreads, draws, rng)
    return Standing(low, high, ranks, best, kept)


def _over_seeds(by_seed: Array | None) -> list[_Spread]:
    """Return how means over seeds spread; nothing without seeds."""
    if by_seed is None:
        return []
    seeds = by_seed.shape[1]
    return [_Spread((by_seed - by_seed.mean(axis=1, keepdims=True)) / np.sqrt(seeds * (seeds - 1)))]


def _add(halves: Sequence[Array]) -> Array:
    """Return half-widths of intervals of a sum of errors."""
    half: Array = np.sqrt(np.square(halves).sum(axis=0))
    return half


def _draw_best(values: Array, spreads: Sequence[_Spread], draws: int, rng: np.random.Generator) -> Array:
    drawn = values + sum(spread.draw(draws, rng) for spread in spreads)
    first = drawn >= drawn.max(axis=1, keepdims=True) - ROUNDING
    share: Array = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return share


def _keep(values: Array, spreads: Sequence[_Spread], confidence: float) -> NDArray[np.bool_]:
    level = 1 - (1 - confidence) / len(values)
    half = _add([spread.quantile(level) * spread.errors_of_differences() for spread in spreads])
    ahead = values[None, :] - values[:, None]  # of the second over the first
    kept: NDArray[np.bool_] = np.all(ahead <= np.maximum(ROUNDING, half), axis=1)
    return kept


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

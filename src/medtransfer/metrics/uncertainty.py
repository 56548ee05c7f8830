"""Bootstrap draws of outcomes over seeds and of robustness over images; intervals, P(best) and the confidence set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medtransfer.metrics.transfer import K, named

Draws = NDArray[np.float64]
ROUNDING = 1e-12  # differences of outcomes up to this come from the order of additions


def bootstrap_seed_means(outcome: Mapping[K, Sequence[float]], draws: int, rng: np.random.Generator) -> Draws:
    """Draw mean outcomes by candidate; the seeds of each are resampled separately, since fine-tunings are independent.

    Deviations from the mean are scaled by sqrt(n / (n - 1)): the plain bootstrap of n values understates the variance of
    their mean by (n - 1) / n, which matters for five seeds and fewer.

    Args:
        outcome: values over seeds, by candidate; at least two each.
        draws: number of draws.
        rng: source of randomness.

    Returns:
        (draws, C), candidates ascending.

    Raises:
        ValueError: there is no candidate, or one has fewer than two values.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 2.3.
    """
    if not outcome:
        raise ValueError("expected the outcome of at least one candidate, but got none")
    columns = []
    for candidate in sorted(outcome):
        values = np.asarray(outcome[candidate], dtype=np.float64)
        if (n := len(values)) < 2:
            raise ValueError(
                f"expected the outcome of at least 2 seeds for {named(candidate)}, but got {n}; a single one has no spread"
            )
        drawn = values[rng.integers(n, size=(draws, n))].mean(axis=1)
        columns.append(values.mean() + (drawn - values.mean()) * np.sqrt(n / (n - 1)))
    return np.stack(columns, axis=1)


def draw_images(count: int, draws: int, rng: np.random.Generator) -> Draws:
    """Draw how often each of `count` images is taken in each draw, (draws, count); each row sums to `count`."""
    taken = np.empty((draws, count))
    for row in taken:  # one draw at a time: all indices at once would be as large as the result
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return taken


def interval(draws: Draws, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentile interval of draws (B, ...) along their first axis."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def probability_best(draws: Draws) -> NDArray[np.float64]:
    """Return the share of draws (B, C) in which each candidate is the best, (C,); ties are shared equally."""
    best = draws == draws.max(axis=1, keepdims=True)
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=0)


def confidence_set(outcome: Mapping[K, Sequence[float]], confidence: float) -> tuple[K, ...]:
    """Return the candidates that cannot be distinguished from the best.

    A candidate is excluded if any other is significantly better: one-sided Welch test at level (1 - confidence) / (C - 1).
    So the set holds the truly best candidate with at least the given probability.

    Args:
        outcome: values over seeds, by candidate; a candidate with a single seed cannot be distinguished from any other.
        confidence: probability that the best is in the set.

    Source: Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12,
        1984, with Bonferroni's bound for unequal variances.
    """
    level = (1 - confidence) / max(1, len(outcome) - 1)
    values = {candidate: np.asarray(outcome[candidate], dtype=np.float64) for candidate in sorted(outcome)}
    return tuple(
        candidate for candidate, own in values.items()
        if not any(_better(other, own) < level for rival, other in values.items() if rival != candidate)
    )  # fmt: skip


def _better(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the one-sided p-value that the first's mean is above the second's (Welch)."""
    if min(len(first), len(second)) < 2 or first.mean() - second.mean() <= ROUNDING:
        return 1.0
    if max(first.std(), second.std()) <= ROUNDING:
        return 0.0
    moments = [(values.mean(), values.std(ddof=1), len(values)) for values in (first, second)]
    return float(stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False, alternative="greater").pvalue)

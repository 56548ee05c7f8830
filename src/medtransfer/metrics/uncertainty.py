"""Dice by seed and losses by image go in; bootstrap draws, intervals and what cannot be told apart come out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Draws = NDArray[np.float64]
ROUNDING = 1e-12  # differences of Dice up to here come from the order of additions


def bootstrap_seed_means(dice: Mapping[int, Sequence[float]], draws: int, rng: np.random.Generator) -> Draws:
    """Draw mean Dice by epoch, resampling the seeds of every epoch on its own, since each fine-tuning is its own training.

    Deviations from the mean are scaled by sqrt(n / (n - 1)): the plain bootstrap of n values understates the variance of
    their mean by (n - 1) / n, which matters for five seeds and fewer.

    Args:
        dice: values over seeds, by epoch; at least two each.
        draws: number of draws.
        rng: source of randomness.

    Returns:
        (draws, E), epochs in ascending order.

    Raises:
        ValueError: there is no epoch, or one has fewer than two values.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 2.3.
    """
    if not dice:
        raise ValueError("expected the Dice of at least one epoch, but got none")
    columns = []
    for epoch in sorted(dice):
        values = np.asarray(dice[epoch], dtype=np.float64)
        if (n := len(values)) < 2:
            raise ValueError(f"expected the Dice of at least 2 seeds for epoch {epoch}, but got {n}; a single one has no spread")
        drawn = values[rng.integers(n, size=(draws, n))].mean(axis=1)
        columns.append(values.mean() + (drawn - values.mean()) * np.sqrt(n / (n - 1)))
    return np.stack(columns, axis=1)


def draw_images(count: int, draws: int, rng: np.random.Generator) -> Draws:
    """Draw how often each of `count` images is taken in each draw, (draws, count); a row sums to `count`."""
    taken = np.empty((draws, count))
    for row in taken:  # one draw at a time: the drawn places of all would be as large as the result
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return taken


def bootstrap_robustness(losses: NDArray[np.float64], taken: Draws) -> Draws:
    """Draw the robustness of several checkpoints, the same images for all of them.

    Args:
        losses: triplet loss of each image, (E, N).
        taken: of `draw_images`, (draws, N).

    Returns:
        (draws, E).
    """
    return 1.0 - taken @ losses.T / losses.shape[1]


def interval(draws: Draws, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the percentile interval of draws (B, ...) along their first axis."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def probability_best(draws: Draws) -> NDArray[np.float64]:
    """Give the share of draws (B, E) in which each checkpoint is the best, (E,); ties are shared equally."""
    best = draws == draws.max(axis=1, keepdims=True)
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=0)


def confidence_set(dice: Mapping[int, Sequence[float]], confidence: float) -> tuple[int, ...]:
    """Give the checkpoints that cannot be told apart from the best.

    A checkpoint is left out when some other is significantly better: one-sided Welch test at level (1 - confidence) / (E - 1).
    So the set holds the truly best checkpoint with at least the given probability, whichever looks best in the data.

    Args:
        dice: values over seeds, by epoch. An epoch with one seed cannot be told apart from any other.
        confidence: probability that the best is in the set.

    Source: Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12,
        1984, with Bonferroni's bound for unequal variances.
    """
    level = (1 - confidence) / max(1, len(dice) - 1)
    values = {epoch: np.asarray(dice[epoch], dtype=np.float64) for epoch in sorted(dice)}
    return tuple(
        epoch for epoch, own in values.items()
        if not any(_better(other, own) < level for rival, other in values.items() if rival != epoch)
    )  # fmt: skip


def _better(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Give the one-sided p-value that the first's mean is above the second's (Welch)."""
    if min(len(first), len(second)) < 2 or first.mean() - second.mean() <= ROUNDING:
        return 1.0
    if max(first.std(), second.std()) <= ROUNDING:
        return 0.0
    moments = [(values.mean(), values.std(ddof=1), len(values)) for values in (first, second)]
    return float(stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False, alternative="greater").pvalue)

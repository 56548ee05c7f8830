"""Dice and scores keyed by epoch go in; TIS, means over seeds and rank correlations, joined by key, come out."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medtransfer.errors import InputError


def transferability_indicator_score(dice_by_epoch: Mapping[int, float], epoch: int) -> float:
    """Compute TIS: the chosen checkpoint's mean Dice relative to the best among all.

    Args:
        dice_by_epoch: mean over seeds of the downstream Dice, by pretraining epoch.
        epoch: the chosen checkpoint.

    Returns:
        A value of at most 1, which the best checkpoint has.

    Raises:
        InputError: there is no Dice for the chosen epoch.
        ValueError: a Dice is not finite, there is none, or the best is not above 0.

    Source: Eq. 1.
    """
    best = _best(dice_by_epoch)
    require_epoch(dice_by_epoch, epoch, "a mean Dice")
    return dice_by_epoch[epoch] / best


def regret(dice_by_epoch: Mapping[int, float], epoch: int) -> float:
    """Compute the absolute Dice that a choice loses against the best, 0 where all are 0; other errors as for TIS."""
    require_finite(dice_by_epoch, "a mean Dice")
    require_epoch(dice_by_epoch, epoch, "a mean Dice")
    return max(dice_by_epoch.values()) - dice_by_epoch[epoch]


def tis_random(dice_by_epoch: Mapping[int, float]) -> float:
    """Compute the expected TIS of a checkpoint drawn uniformly from those given; errors as for TIS."""
    best = _best(dice_by_epoch)
    return float(np.mean(list(dice_by_epoch.values()))) / best


def _best(dice_by_epoch: Mapping[int, float]) -> float:
    require_finite(dice_by_epoch, "a mean Dice")
    best = max(dice_by_epoch.values())
    if best <= 0:
        raise ValueError(f"expected a best mean Dice above 0, but got {best}; TIS is undefined")
    return best


@dataclass(frozen=True)
class SeedMean:
    """Mean and standard deviation (ddof 1, NaN for one seed) over n seeds."""

    mean: float
    std: float
    n: int


def mean_over_seeds(dice: Mapping[tuple[int, int], float]) -> dict[int, SeedMean]:
    """Average over the seeds of each epoch.

    Args:
        dice: value by (epoch, seed).

    Returns:
        Statistics by epoch, in ascending order.

    Raises:
        ValueError: a value is not finite, or there is none.
    """
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for (epoch, _), value in sorted(dice.items()):
        require_finite({epoch: value}, "a Dice")
        by_epoch[epoch].append(value)
    if not by_epoch:
        raise ValueError("expected the Dice of at least one epoch, but got none")
    return {epoch: _seed_mean(values) for epoch, values in by_epoch.items()}


def _seed_mean(values: list[float]) -> SeedMean:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return SeedMean(float(np.mean(values)), std, len(values))


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation over n epochs; NaN when n < 2 or when one side is `constant` and so ranks nothing."""

    value: float
    n: int
    constant: bool


def spearman(scores: Mapping[int, float], dice_by_epoch: Mapping[int, float]) -> RankCorrelation:
    """Correlate the ranks of an indicator with those of the downstream Dice, joined by epoch.

    Args:
        scores: indicator by epoch.
        dice_by_epoch: mean Dice, of at least the same epochs; others take no part.

    Raises:
        InputError: an epoch has a score but no Dice.
        ValueError: a value is not finite, or there are no scores.
    """
    return _correlate(scores, dice_by_epoch, lambda x, y: stats.spearmanr(x, y).statistic)


def kendall(scores: Mapping[int, float], dice_by_epoch: Mapping[int, float]) -> RankCorrelation:
    """Compute Kendall's tau-b between an indicator and Dice; arguments and errors as in `spearman`."""
    return _correlate(scores, dice_by_epoch, lambda x, y: stats.kendalltau(x, y).statistic)


def weighted_kendall(scores: Mapping[int, float], dice_by_epoch: Mapping[int, float]) -> RankCorrelation:
    """Compute Kendall's tau with hyperbolic weights by rank of Dice, so that the order of the best checkpoints counts most.

    A pair of ranks r and s, 0 for the best Dice, weighs 1 / (r + 1) + 1 / (s + 1). Equal Dice are ranked by the indicator,
    never by their place in the list. Arguments and errors as in `spearman`.

    Source: Vigna, A weighted correlation index for rankings with ties, WWW 2015.
    """
    return _correlate(scores, dice_by_epoch, lambda x, y: stats.weightedtau(y, x, rank=None).statistic)


CORRELATIONS: dict[str, Callable[[Mapping[int, float], Mapping[int, float]], RankCorrelation]] = {
    "spearman": spearman, "kendall": kendall, "weighted_kendall": weighted_kendall,
}  # fmt: skip


def _correlate(
    scores: Mapping[int, float], dice_by_epoch: Mapping[int, float], formula: Callable[[list[float], list[float]], float]
) -> RankCorrelation:
    require_finite(scores, "a score")
    for epoch in sorted(scores):
        require_epoch(dice_by_epoch, epoch, "a mean Dice")
    require_finite(dice_by_epoch, "a mean Dice")
    epochs = sorted(scores)
    x, y = [scores[epoch] for epoch in epochs], [dice_by_epoch[epoch] for epoch in epochs]
    constant = len(set(x)) == 1 or len(set(y)) == 1
    return RankCorrelation(float("nan") if constant else float(formula(x, y)), len(x), constant)


def interpolate_fixed(values: Mapping[int, float], cost: float) -> float:
    """Give what fixed lengths bring at an expected cost.

    A random mix of the two neighbouring lengths has exactly this expected cost and, linearly between theirs, this value.

    Args:
        values: such as TIS, by fixed length in epochs.
        cost: expected epochs, within the range of the lengths.

    Raises:
        ValueError: the cost lies outside, a value is not finite, or there is none.
    """
    require_finite(values, "a value")
    epochs = sorted(values)
    if not epochs[0] <= cost <= epochs[-1]:
        raise ValueError(f"expected a cost within the fixed lengths {epochs}, but got {cost}")
    return float(np.interp(cost, epochs, [values[epoch] for epoch in epochs]))


def require_finite(values: Mapping[int, float], what: str) -> None:
    """Refuse an empty mapping and values that are not finite with a ValueError that names the epoch."""
    if not values:
        raise ValueError(f"expected {what} of at least one epoch, but got none")
    for epoch, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"expected {what} that is finite for epoch {epoch}, but got {value}")


def require_epoch(values: Mapping[int, float], epoch: int, what: str) -> None:
    """Refuse an epoch that the mapping does not hold with an InputError that names it and those there are."""
    if epoch not in values:
        known = ", ".join(map(str, sorted(values))) or "none"
        raise InputError(f"expected {what} for epoch {epoch}, but got those of epochs {known} only; run that cell")

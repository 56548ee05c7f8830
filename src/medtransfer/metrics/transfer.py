"""TIS, regret, means over seeds and rank correlations of candidates, joined by key.

A candidate's key is its pretraining epoch, or a name where the candidates are not checkpoints of one pretraining.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from medtransfer.errors import InputError
from medtransfer.metrics.ties import rounded

Key = int | str  # of a candidate: the epoch in a series


class Ordered(Protocol):
    """Keys that can be sorted."""

    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", bound=Ordered)


def transferability_indicator_score(outcome: Mapping[K, float], candidate: K) -> float:
    """Compute TIS: the chosen candidate's mean outcome relative to the best among all.

    Args:
        outcome: mean over seeds of the downstream metric, such as Dice, by candidate.
        candidate: the chosen one.

    Returns:
        A value of at most 1, which the best candidate has.

    Raises:
        InputError: the chosen candidate has no outcome.
        ValueError: an outcome is not finite, there is none, or the best is not above 0.

    Source: Eq. 1.
    """
    best = _best(outcome)
    require_key(outcome, candidate, "a mean outcome")
    return outcome[candidate] / best


def regret(outcome: Mapping[K, float], candidate: K) -> float:
    """Compute the outcome of the best candidate minus that of the chosen one; 0 if all are 0. Errors as for TIS."""
    require_finite(outcome, "a mean outcome")
    require_key(outcome, candidate, "a mean outcome")
    return max(outcome.values()) - outcome[candidate]


def tis_random(outcome: Mapping[K, float]) -> float:
    """Compute the expected TIS of a candidate drawn uniformly from those given; errors as for TIS."""
    best = _best(outcome)
    return float(np.mean(list(outcome.values()))) / best


def _best(outcome: Mapping[K, float]) -> float:
    require_finite(outcome, "a mean outcome")
    best = max(outcome.values())
    if best <= 0:
        raise ValueError(f"expected a best mean outcome above 0, but got {best}; TIS is undefined")
    return best


@dataclass(frozen=True)
class SeedMean:
    """Mean and standard deviation (ddof 1, NaN for one seed) over n seeds."""

    mean: float
    std: float
    n: int


def mean_over_seeds(outcome: Mapping[tuple[K, int], float]) -> dict[K, SeedMean]:
    """Average over the seeds of each candidate; means that differ by the rounding of their sums alone are made equal.

    Args:
        outcome: outcome by (candidate, seed).

    Returns:
        Statistics by candidate, ascending.

    Raises:
        ValueError: a value is not finite, or there is none.
    """
    values: dict[K, list[float]] = defaultdict(list)
    for (candidate, _), value in sorted(outcome.items()):
        require_finite({candidate: value}, "an outcome")
        values[candidate].append(value)
    if not values:
        raise ValueError("expected the outcome of at least one candidate, but got none")
    found = {candidate: _seed_mean(of_seeds) for candidate, of_seeds in values.items()}
    first: dict[float, float] = {}
    return {
        candidate: replace(one, mean=first.setdefault(rounded(one.mean), one.mean)) for candidate, one in found.items()
    }  # fmt: skip


def _seed_mean(values: list[float]) -> SeedMean:
    sample = np.asarray(values, dtype=np.float64)
    std = float(sample.std(ddof=1)) if len(sample) > 1 else float("nan")
    return SeedMean(float(sample.mean()), std, len(sample))


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation over n candidates; NaN if n < 2 or if one side is `constant`."""

    value: float
    n: int
    constant: bool


def spearman(scores: Mapping[K, float], outcome: Mapping[K, float]) -> RankCorrelation:
    """Correlate the ranks of an indicator with those of the downstream outcome, joined by candidate.

    Args:
        scores: indicator by candidate.
        outcome: mean outcome of at least the same candidates; others are ignored.

    Raises:
        InputError: a candidate has a score but no outcome.
        ValueError: a value is not finite, or there are no scores.
    """
    from scipy import stats  # takes a second to load

    return _correlate(scores, outcome, lambda x, y: stats.spearmanr(x, y).statistic)


def kendall(scores: Mapping[K, float], outcome: Mapping[K, float]) -> RankCorrelation:
    """Compute Kendall's tau-b between an indicator and the outcome; arguments and errors as in `spearman`."""
    from scipy import stats  # takes a second to load

    return _correlate(scores, outcome, lambda x, y: stats.kendalltau(x, y).statistic)


def weighted_kendall(scores: Mapping[K, float], outcome: Mapping[K, float]) -> RankCorrelation:
    """Compute Kendall's tau with hyperbolic weights by rank of the outcome, so that the order of the best counts most.

    A pair of ranks r and s, 0 for the best outcome, weighs 1 / (r + 1) + 1 / (s + 1). Equal outcomes are ranked by the
    indicator, never by their position. Arguments and errors as in `spearman`.

    Source: Vigna, A weighted correlation index for rankings with ties, WWW 2015.
    """
    from scipy import stats  # takes a second to load

    return _correlate(scores, outcome, lambda x, y: stats.weightedtau(y, x, rank=None).statistic)


CORRELATIONS: dict[str, Callable[[Mapping[Any, float], Mapping[Any, float]], RankCorrelation]] = {
    "spearman": spearman, "kendall": kendall, "weighted_kendall": weighted_kendall,
}  # fmt: skip


def _correlate(
    scores: Mapping[K, float], outcome: Mapping[K, float], formula: Callable[[list[float], list[float]], float]
) -> RankCorrelation:
    require_finite(scores, "a score")
    for candidate in sorted(scores):
        require_key(outcome, candidate, "a mean outcome")
    require_finite(outcome, "a mean outcome")
    keys = sorted(scores)
    x, y = [scores[key] for key in keys], [outcome[key] for key in keys]
    constant = len(set(x)) == 1 or len(set(y)) == 1
    return RankCorrelation(float("nan") if constant else float(formula(x, y)), len(x), constant)


def interpolate_fixed(values: Mapping[int, float], cost: float) -> float:
    """Compute the expected value of fixed lengths at an expected cost, by linear interpolation.

    A random mix of the two neighbouring lengths has exactly this expected cost and value.

    Args:
        values: values such as TIS, by fixed length in epochs.
        cost: expected epochs, within the range of the lengths.

    Raises:
        ValueError: the cost is outside this range, a value is not finite, or there is none.
    """
    require_finite(values, "a value")
    epochs = sorted(values)
    if not epochs[0] <= cost <= epochs[-1]:
        raise ValueError(f"expected a cost within the fixed lengths {epochs}, but got {cost}")
    return float(np.interp(cost, epochs, [values[epoch] for epoch in epochs]))


def named(candidate: object) -> str:
    """Return the name of a candidate in texts: `epoch 5`, or its own name."""
    return f"epoch {candidate}" if isinstance(candidate, int) else str(candidate)


def require_finite(values: Mapping[K, float], what: str) -> None:
    """Raise ValueError if the mapping is empty or a value is not finite."""
    if not values:
        raise ValueError(f"expected {what} of at least one candidate, but got none")
    for key, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"expected {what} that is finite for {named(key)}, but got {value}")


def require_key(values: Mapping[K, float], key: K, what: str) -> None:
    """Raise InputError if the mapping lacks a candidate."""
    if key not in values:
        known = ", ".join(map(str, sorted(values))) or "none"
        kind = "epochs" if isinstance(key, int) else "candidates"
        raise InputError(f"expected {what} for {named(key)}, but got those of {kind} {known} only; run that cell")

"""Means and differences of selectors over pools, with intervals that count clusters, and what can be decided from them.

Pools that share a pretraining or a target are not independent, so their number says little about how sure a mean is. What
counts are clusters: the pretrainings or the targets, whichever are numerous enough.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Interval = tuple[float, float]
Outcome = Literal["better", "worse", "equivalent", "undecided"]

LEAST_CLUSTERS = 6  # below, intervals do not cover what they say, and a sign test cannot reach 5 %
LEAST_EFFECTIVE = 4.5  # of clusters of unequal sizes: the square of the number of pools over the sum of squared sizes
POWER = 0.8  # of the smallest difference that a study is said to be able to see
TIE = 1e-12  # differences up to this are rounding of equal values


@dataclass(frozen=True)
class ClusterMean:
    """A mean over pools and how well it is known.

    Attributes:
        value: mean over the pools.
        error: its standard error; None with too few clusters.
        degrees: degrees of freedom of the error: effective number of clusters minus 1; 0 without an error.
        clusters: number of clusters behind the error; without one, the largest number that any factor has.
        factors: names of the factors whose levels are the clusters; empty without an error.
    """

    value: float
    error: float | None
    degrees: float
    clusters: int
    factors: tuple[str, ...]

    @property
    def is_nil(self) -> bool:
        """Whether value and error are 0: differences that are all 0 do not show how large others can be."""
        return self.error is not None and self.error <= TIE and abs(self.value) <= TIE

    def interval(self, confidence: float) -> Interval | None:
        """Return Student's interval; None without an error."""
        if self.error is None:
            return None
        half = float(special.stdtrit(self.degrees, (1 + confidence) / 2)) * self.error
        return self.value - half, self.value + half

    def difference_interval(self, confidence: float) -> Interval | None:
        """Return Student's interval of a mean difference; None without an error, and where all differences are 0."""
        return None if self.is_nil else self.interval(confidence)

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value that the mean is 0; None without an error."""
        if self.error is None:
            return None
        if self.error <= TIE:
            return 1.0 if self.is_nil else 0.0
        return float(2 * special.stdtr(self.degrees, -abs(self.value) / self.error))

    def outcome(self, confidence: float, margin: float) -> Outcome:
        """Decide what a difference shows.

        It is `better` or `worse` where the interval lies on one side of 0, `equivalent` where two one-sided tests at level
        1 - confidence put it within the margin, and `undecided` otherwise. A difference that is clear and yet within the
        margin is called better or worse. Differences that are all 0 decide nothing: rare ones may not have been seen.
        """
        interval, inner = self.interval(confidence), self.interval(2 * confidence - 1)
        if interval is None or inner is None or self.is_nil:
            return "undecided"
        if interval[0] > TIE or interval[1] < -TIE:
            return "better" if interval[0] > TIE else "worse"
        return "equivalent" if -margin < inner[0] and inner[1] < margin else "undecided"

    def detectable(self, confidence: float) -> float | None:
        """Return the smallest difference that such a study would call better or worse with a probability of POWER.

        None without an error, and where the values do not vary.
        """
        if self.error is None or self.error <= TIE:
            return None
        return float(sum(special.stdtrit(self.degrees, [(1 + confidence) / 2, POWER]))) * self.error


def cluster_mean(values: Sequence[float], factors: Mapping[str, Sequence[str]]) -> ClusterMean:
    """Compute the mean of values, of which those with the same level of a factor depend on each other.

    A factor with LEAST_CLUSTERS levels or more is random: the error says how the mean would vary with other levels. A factor
    with fewer levels, or with a few that hold most pools (LEAST_EFFECTIVE), is taken as it is: nothing is said about other
    levels. With two random factors the error is the largest of those of either and of both together.

    Args:
        values: one for each pool, (n,).
        factors: level of each pool, by factor, each (n,).

    Raises:
        ValueError: there are no values, one is not finite, or a factor has another number of levels.

    Source: Cameron, Gelbach and Miller, Robust inference with multiway clustering, Journal of Business and Economic
        Statistics 29, 2011, with the effective number of clusters, by Kish, Survey Sampling, 1965, in place of their number.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size or not np.all(np.isfinite(sample)):
        raise ValueError(f"expected finite values, at least one, but got {sample}")
    if any(len(levels) != len(sample) for levels in factors.values()):
        raise ValueError(f"expected the levels of {len(sample)} values, but got { ({k: len(v) for k, v in factors.items()}) }")
    counts = {name: len(set(levels)) for name, levels in factors.items()}
    effective = {name: effective_number(levels) for name, levels in factors.items()}
    random = tuple(name for name, levels in factors.items() if are_numerous(levels))
    mean = float(sample.mean())
    if not random:
        return ClusterMean(mean, None, 0, max(counts.values(), default=0), ())
    residuals = sample - mean
    variances = [_variance(residuals, factors[name]) for name in random]
    if len(random) > 1:
        together = _variance(residuals, list(zip(*(factors[name] for name in random), strict=True)))
        variances.append(sum(variances) - together)
    clusters = min(counts[name] for name in random)
    degrees = min(effective[name] for name in random) - 1
    return ClusterMean(mean, float(np.sqrt(max(variances))), degrees, clusters, random)


def share_interval(events: Sequence[bool], factors: Mapping[str, Sequence[str]], confidence: float) -> Interval:
    """Return the interval of the share of pools in which an event happens.

    It is that of Clopper and Pearson with one trial for each cluster, not for each pool: wide enough for pools of a cluster in
    which it always happens together. The clusters are those of `cluster_mean`, and the levels of the largest factor where none
    is numerous enough: nothing is said about other levels of the other factors.

    Args:
        events: whether it happens in each pool, (n,).
        factors: level of each pool, by factor, each (n,).
        confidence: coverage.

    Source: Clopper and Pearson, Biometrika 26, 1934, with the effective number of clusters, by Kish, Survey Sampling, 1965.
    """
    from scipy import stats  # takes a second to load

    numerous = [effective_number(levels) for levels in factors.values() if are_numerous(levels)]
    trials = min(numerous, default=max(map(effective_number, factors.values())))
    share, tail = sum(events) / len(events), (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, share * trials, (1 - share) * trials + 1)) if share > 0 else 0.0
    high = float(stats.beta.isf(tail, share * trials + 1, (1 - share) * trials)) if share < 1 else 1.0
    return low, high


def are_numerous(levels: Sequence[object]) -> bool:
    """Return whether the levels of a factor, one for each pool, are enough clusters for an error over them."""
    return len(set(levels)) >= LEAST_CLUSTERS and effective_number(levels) >= LEAST_EFFECTIVE


def effective_number(levels: Sequence[object]) -> float:
    """Return how many clusters of equal size would vary as much as these; their number if they are of equal size."""
    sizes = np.array(list(Counter(levels).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def coarsest(fine: Sequence[str], coarse: Sequence[str]) -> Sequence[str]:
    """Return the levels of a nested factor that count as clusters: the coarse ones if they are numerous enough.

    With few coarse levels, such as recipes that were pretrained with several seeds, the coarse ones are taken as they are: what
    the fine ones show holds for other seeds of these recipes.

    Args:
        fine: level of each pool, (n,).
        coarse: level of each pool that its fine level belongs to, (n,).
    """
    return coarse if len(set(coarse)) >= LEAST_CLUSTERS else fine


def _variance(residuals: NDArray[np.float64], levels: Sequence[object]) -> float:
    """Return the variance of a mean whose residuals (n,) are summed by cluster."""
    names = {level: index for index, level in enumerate(dict.fromkeys(levels))}
    sums = np.bincount([names[level] for level in levels], weights=residuals, minlength=len(names))
    count = effective_number(levels)
    return float(count / (count - 1) * (sums**2).sum() / len(residuals) ** 2)


def mean_tis_interval(
    mean: ClusterMean, confidence: float, lowest: float = 0.0, highest: float = 1.0, worst: float | None = None
) -> Interval | None:  # fmt: skip
    """Return the interval of a mean TIS; None with too few clusters, or without losses if there is no lowest TIS.

    Args:
        mean: the mean.
        confidence: coverage of the interval.
        lowest: lowest possible TIS (`tasks.contract.lowest_tis`).
        highest: highest possible TIS; infinite for a choice that is judged on other seeds than it is made on, by another metric.
        worst: lowest TIS that any choice could have had in these pools; None for `lowest`.

    What a choice loses, 1 - TIS, is mostly small and rarely large, and with few clusters a large loss may not have been seen.
    So the lower limit is at least as far away as that of exponentially distributed losses. Where no loss was seen at all, it is
    as far away as if losses were as large as can be, 1 - `worst`, and as probable as they may be without being seen in as many
    clusters.

    Source: Epstein and Sobel, Life testing, Journal of the American Statistical Association 48, 1953; without losses Clopper
        and Pearson, Biometrika 26, 1934.
    """
    from scipy import stats  # takes a second to load

    interval, tail = mean.interval(confidence), (1 - confidence) / 2
    if interval is None:
        return None
    if interval[0] >= 1 - TIE and interval[1] - interval[0] <= TIE:
        probability = 1 - tail ** (1 / (mean.degrees + 1))
        low = 1 - probability * (1 - (lowest if worst is None else worst))
        return (low, min(highest, interval[1])) if isfinite(low) else None
    count = 2 * mean.clusters
    largest = count * (1 - mean.value) / float(stats.chi2.ppf(tail, count))
    return max(lowest, min(interval[0], 1 - largest)), min(highest, interval[1])


def correlation_interval(mean: ClusterMean, confidence: float) -> Interval | None:
    """Return Student's interval of a mean correlation, cut to [-1, 1]; None with too few clusters."""
    bounds = mean.interval(confidence)
    return (max(-1.0, bounds[0]), min(1.0, bounds[1])) if bounds else None


def differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Return the differences of two selectors, pool by pool; those that are rounding of equal values are 0.

    Raises:
        ValueError: the lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f"expected the values of the same pools, but got {len(first)} and {len(second)}")
    exact = (a - b for a, b in zip(first, second, strict=True))
    return [0.0 if abs(difference) <= TIE else difference for difference in exact]


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

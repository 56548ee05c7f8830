"""Comparison of two samples: tests, effect sizes and equivalence, also from printed means and spreads."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
from scipy import special

MOST_EXACT = 60  # values of both samples together for which the rank-sum test is exact


@dataclass(frozen=True)
class Summary:
    """A sample by its summary.

    Attributes:
        mean: its mean.
        std: its standard deviation, with n - 1 in the denominator.
        n: its size, at least 2.
    """

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarise a sample."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


@dataclass(frozen=True)
class TTest:
    """A two-sided t test of two independent samples.

    Attributes:
        statistic: t, above 0 where the first mean is higher.
        degrees: degrees of freedom.
        p: p-value.
    """

    statistic: float
    degrees: float
    p: float


def student(first: Summary, second: Summary) -> TTest:
    """Test equal means, taking the variances to be equal."""
    return _t_test(first, second, equal=True)


def welch(first: Summary, second: Summary) -> TTest:
    """Test equal means, with a variance for each sample."""
    return _t_test(first, second, equal=False)


def _t_test(first: Summary, second: Summary, *, equal: bool) -> TTest:
    gap, error = first.mean - second.mean, standard_error(first, second, equal=equal)
    degrees = degrees_of(first, second, equal=equal)
    if error == 0:
        return TTest(np.copysign(np.inf, gap) if gap else 0.0, degrees, 0.0 if gap else 1.0)
    return TTest(gap / error, degrees, float(2 * special.stdtr(degrees, -abs(gap) / error)))


def standard_error(first: Summary, second: Summary, *, equal: bool) -> float:
    """Return the standard error of the difference of two means, of equal variances or not."""
    if equal:
        return pooled_std(first, second) * sqrt(1 / first.n + 1 / second.n)
    return sqrt(first.std**2 / first.n + second.std**2 / second.n)


def degrees_of(first: Summary, second: Summary, *, equal: bool) -> float:
    """Return the degrees of freedom of the difference; by Welch and Satterthwaite for variances that are not equal."""
    if equal or first.std == second.std == 0:
        return first.n + second.n - 2
    a, b = first.std**2 / first.n, second.std**2 / second.n
    return (a + b) ** 2 / (a**2 / (first.n - 1) + b**2 / (second.n - 1))


def pooled_std(first: Summary, second: Summary) -> float:
    """Return the standard deviation that two samples of equal variances share."""
    squares = (first.n - 1) * first.std**2 + (second.n - 1) * second.std**2
    return sqrt(squares / (first.n + second.n - 2))


def cohens_d(first: Summary, second: Summary) -> float:
    """Return the difference of the means in pooled standard deviations; NaN without any spread."""
    spread = pooled_std(first, second)
    return (first.mean - second.mean) / spread if spread else float("nan")


def hedges_g(first: Summary, second: Summary) -> float:
    """Return Cohen's d, corrected for small samples.

    Source: Hedges, Distribution theory for Glass's estimator of effect size, Journal of Educational Statistics 6, 1981, the
        approximation 1 - 3 / (4 df - 1).
    """
    return cohens_d(first, second) * (1 - 3 / (4 * (first.n + second.n - 2) - 1))


def equivalence_p(first: Summary, second: Summary, margin: float) -> float:
    """Return the p-value of two one-sided tests that the means differ by less than a margin.

    Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.
    """
    gap, error = first.mean - second.mean, standard_error(first, second, equal=False)
    if error == 0:
        return 0.0 if abs(gap) < margin else 1.0
    return float(special.stdtr(degrees_of(first, second, equal=False), (abs(gap) - margin) / error))


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of the rank-sum test, exact also with ties up to MOST_EXACT values together.

    It is the share of all divisions of the values into samples of these sizes whose rank sum is as far from its mean as this one;
    equal values share their mean rank.
    """
    from scipy import stats  # takes a second to load

    if len(first) + len(second) > MOST_EXACT:
        return float(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)
    ranks = np.rint(2 * stats.rankdata([*first, *second])).astype(int)  # doubled, so that shared ranks are whole numbers
    ways = [np.zeros(ranks.sum() + 1, dtype=object) for _ in range(len(first) + 1)]  # of choosing k values, by their rank sum
    ways[0][0] = 1
    for rank in ranks:
        for k in range(len(first), 0, -1):
            ways[k][rank:] += ways[k - 1][: len(ways[k]) - rank]
    mean = len(first) * (len(ranks) + 1)
    gaps = np.abs(np.arange(len(ways[-1])) - mean)
    return float(ways[-1][gaps >= gaps[ranks[: len(first)].sum()]].sum() / comb(len(ranks), len(first)))

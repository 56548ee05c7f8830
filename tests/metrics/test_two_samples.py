"""Tests and effect sizes have the values of the textbook functions of SciPy, and of a worked example."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from medtransfer.metrics.two_samples import (
    Summary,
    cohens_d,
    equivalence_p,
    hedges_g,
    mann_whitney_p,
    student,
    welch,
)

A = [70.1, 71.3, 69.8, 70.9, 70.4, 71.0, 69.5, 70.7, 70.2, 70.6]
B = [69.2, 70.0, 68.7, 70.3, 69.1, 69.9, 68.8, 70.05, 69.4, 69.0]
FIRST, SECOND = Summary.of(A), Summary.of(B)


def test_the_worked_example():
    assert (student(FIRST, SECOND).statistic, student(FIRST, SECOND).p) == pytest.approx((3.9632475030, 9.1147584e-4))
    assert (welch(FIRST, SECOND).degrees, welch(FIRST, SECOND).p) == pytest.approx((17.989882, 9.1233504e-4))
    assert (cohens_d(FIRST, SECOND), hedges_g(FIRST, SECOND)) == pytest.approx((1.7724181657, 1.6975272573))
    assert mann_whitney_p(A, B) == pytest.approx(1.5046873e-3)


def test_printed_values_give_the_test_that_their_samples_gave():
    """SwAV against supervised ImageNet on pneumothorax segmentation, from Table 5 of arXiv:2108.05930."""
    test = student(Summary(70.44, 0.75, 10), Summary(67.93, 1.45, 10))
    assert (test.statistic, test.p) == pytest.approx((4.8621137475, 1.2523820e-4))


@pytest.mark.parametrize("seed", range(3))
def test_scipy_agrees_on_samples_of_unequal_sizes(seed: int):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=7), rng.normal(1, 3, size=12)
    for test, equal in ((student, True), (welch, False)):
        found, expected = test(Summary.of(x), Summary.of(y)), stats.ttest_ind(x, y, equal_var=equal)
        assert (found.statistic, found.degrees, found.p) == pytest.approx((expected.statistic, expected.df, expected.pvalue))
    shifted = stats.ttest_ind(x, y - 2.0, equal_var=False, alternative="greater").pvalue  # difference above -2
    other = stats.ttest_ind(x, y + 2.0, equal_var=False, alternative="less").pvalue  # difference below 2
    assert equivalence_p(Summary.of(x), Summary.of(y), 2.0) == pytest.approx(max(shifted, other))


def test_samples_without_spread():
    same, higher = Summary(1.0, 0.0, 5), Summary(2.0, 0.0, 5)
    assert (student(same, same).p, student(higher, same).p, student(higher, same).statistic) == (1.0, 0.0, np.inf)
    assert (equivalence_p(same, same, 0.1), equivalence_p(same, higher, 0.1)) == (0.0, 1.0) and np.isnan(cohens_d(same, same))


def divisions(first: list[float], second: list[float]) -> float:
    """Return the share of all divisions whose rank sum is as far from its mean."""
    ranks = stats.rankdata(first + second)
    sums = np.array([ranks[list(chosen)].sum() for chosen in combinations(range(len(ranks)), len(first))])
    return float(
        np.mean(np.abs(sums - ranks.mean() * len(first)) >= abs(ranks[: len(first)].sum() - ranks.mean() * len(first)) - 1e-9)
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.99, 0.99], [0.85, 0.85]),
        ([1.0, 2.0, 2.0], [2.0, 3.0, 4.0]),
        ([0.5], [0.5, 0.5, 0.1]),
        ([3.0, 1.0, 1.0, 2.0], [1.0, 5.0]),
    ],
)
def test_the_rank_sum_test_is_exact_with_ties(first: list[float], second: list[float]):
    assert mann_whitney_p(first, second) == pytest.approx(divisions(first, second))


def test_two_and_two_that_do_not_overlap_are_a_third():
    assert mann_whitney_p([0.99, 0.99], [0.85, 0.85]) == pytest.approx(1 / 3)


def test_large_samples_take_the_normal_approximation():
    x, y = np.arange(40) / 7, np.arange(40) / 8
    assert mann_whitney_p(x, y) == pytest.approx(stats.mannwhitneyu(x, y, method="asymptotic").pvalue)

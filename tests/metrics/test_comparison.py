"""Means over clusters against one-sample t tests, tables made by hand, and simulation."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtransfer.metrics.comparison import (
    LEAST_CLUSTERS,
    ClusterMean,
    cluster_mean,
    differences,
    effective_number,
    holm,
    mean_tis_interval,
    share_interval,
)
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import lowest_tis

SIX = [0.02, -0.01, 0.03, 0.04, 0.01, 0.05]
NAMES = list("abcdef")


def test_independent_values_give_the_one_sample_t_test() -> None:
    mean = cluster_mean(SIX, {"pretraining": NAMES, "target": ["moon"] * 6})
    test = stats.ttest_1samp(SIX, 0)
    assert (mean.value, mean.clusters, mean.factors) == (pytest.approx(np.mean(SIX)), 6, ("pretraining",))
    assert mean.p_value == pytest.approx(test.pvalue)
    assert mean.interval(0.95) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_a_balanced_design_is_tested_by_the_means_of_its_clusters() -> None:
    table = np.array(SIX)[:, None] + np.array([0.0, 0.2, -0.1])
    levels = {"pretraining": [name for name in NAMES for _ in range(3)], "target": ["moon", "sun", "star"] * 6}
    mean = cluster_mean(table.ravel().tolist(), levels)
    assert mean.interval(0.9) == pytest.approx(tuple(stats.ttest_1samp(table.mean(axis=1), 0).confidence_interval(0.9)))
    assert mean.clusters == 6


def test_two_random_factors_take_the_largest_error() -> None:
    """With targets that shift all pretrainings alike the error is that over the targets."""
    shifts = np.array([0.3, -0.2, 0.1, 0.0, 0.25, -0.15, 0.05])
    table = np.tile(shifts, (6, 1))
    levels = {"pretraining": [n for n in NAMES for _ in shifts], "target": [str(i) for _ in NAMES for i in range(7)]}
    mean = cluster_mean(table.ravel().tolist(), levels)
    assert mean.factors == ("pretraining", "target")
    assert (mean.error, mean.degrees) == (pytest.approx(stats.sem(shifts)), 5)


@pytest.mark.parametrize("count", [1, 2, LEAST_CLUSTERS - 1])
def test_too_few_clusters_decide_nothing(count: int) -> None:
    mean = cluster_mean([0.5] * count + [0.6] * count, {"pretraining": NAMES[:count] * 2, "target": ["moon"] * (2 * count)})
    assert (mean.error, mean.interval(0.95), mean.p_value, mean.detectable(0.95)) == (None,) * 4
    assert (mean.outcome(0.95, 0.01), mean.clusters) == ("undecided", count)
    assert mean_tis_interval(mean, 0.95) is None


def test_a_cluster_that_holds_most_pools_decides_nothing() -> None:
    """Twenty pools of one pretraining and one of five others weigh as little more than one."""
    levels = ["a"] * 20 + list("bcdef")
    assert cluster_mean(list(np.linspace(0, 1, 25)), {"pretraining": levels}).error is None
    assert effective_number(levels) == pytest.approx(25**2 / (20**2 + 5))


@pytest.mark.parametrize(
    ("value", "error", "outcome"),
    [
        (0.03, 0.01, "better"), (-0.03, 0.01, "worse"), (0.03, 0.02, "undecided"), (0.002, 0.002, "equivalent"),
        (0.0, 0.0, "undecided"), (0.004, 0.001, "better"), (0.0, 0.006, "undecided"), (0.05, 0.0, "better"),
    ],
)  # fmt: skip
def test_three_words_for_what_a_difference_shows(value: float, error: float, outcome: str) -> None:
    """With 5 degrees of freedom: t(.975) is 2.571, t(.95) is 2.015; the margin is .01."""
    assert ClusterMean(value, error, 5, 6, ("pretraining",)).outcome(0.95, 0.01) == outcome


def test_a_detectable_difference_is_found_in_four_of_five_studies() -> None:
    rng, effect = np.random.default_rng(0), ClusterMean(0.0, 1 / np.sqrt(12), 11, 12, ("pretraining",)).detectable(0.95)
    assert effect is not None
    samples = rng.normal(effect, 1, (4000, 12))
    p_values = stats.ttest_1samp(samples, 0, axis=1).pvalue
    assert np.mean((p_values < 0.05) & (samples.mean(axis=1) > 0)) == pytest.approx(0.8, abs=0.03)


def test_the_interval_of_a_mean_tis_reaches_as_far_as_that_of_exponential_losses() -> None:
    """Twelve degrees of freedom: the 2.5 % quantile of chi-squared is 4.404; t would end at .9894."""
    mean = ClusterMean(0.99, 0.0002, 5, 6, ("pretraining",))
    assert mean_tis_interval(mean, 0.95) == pytest.approx((1 - 12 * 0.01 / 4.403789, 0.99 + 2.570582 * 0.0002), abs=1e-6)
    wide = ClusterMean(0.99, 0.02, 5, 6, ("pretraining",))
    assert mean_tis_interval(wide, 0.95) == pytest.approx((0.99 - 2.570582 * 0.02, 1.0), abs=1e-6)


def test_the_interval_of_a_mean_tis_below_0_holds_it() -> None:
    """Of a kappa the TIS of random weights may be negative; of a Dice it is not."""
    mean = ClusterMean(-0.276, 0.05, 5, 6, ("pretraining",))
    kappa, dice = (TASKS[name].primary for name in ("ordinal", "segmentation"))
    low, high = mean_tis_interval(mean, 0.95, lowest_tis([dice, kappa])) or (0.0, 0.0)
    assert low < -0.276 < high < 0
    near = ClusterMean(0.05, 0.05, 5, 6, ("pretraining",))
    assert (mean_tis_interval(near, 0.95, lowest_tis([dice])) or (1.0, 0.0))[0] == 0


@pytest.mark.parametrize("sizes", [(1,) * 6, (1,) * 20, (3,) * 9, (6, 6, 6, 6, 3, 3)])
def test_without_losses_the_interval_of_a_mean_tis_ends_at_the_largest_loss_that_may_not_have_been_seen(
    sizes: tuple[int, ...],
) -> None:
    """The upper limit of Clopper and Pearson for no loss in as many clusters, times the largest loss of .3."""
    levels = [str(cluster) for cluster, size in enumerate(sizes) for _ in range(size)]
    mean = cluster_mean([1.0] * len(levels), {"pretraining": levels})
    probability = stats.beta.ppf(0.975, 1, effective_number(levels))
    assert mean_tis_interval(mean, 0.95, worst=0.7) == pytest.approx((1 - probability * 0.3, 1))
    assert mean_tis_interval(mean, 0.95) == pytest.approx((1 - probability, 1))
    assert mean_tis_interval(mean, 0.95, lowest=-inf) is None
    assert mean_tis_interval(mean, 0.95, lowest=-inf, worst=-0.2) == pytest.approx((1 - probability * 1.2, 1))


def test_differences_that_are_all_0_decide_nothing() -> None:
    mean = cluster_mean([0.0] * 6, {"pretraining": NAMES})
    assert mean.is_nil and mean.difference_interval(0.95) is None
    other = cluster_mean(SIX, {"pretraining": NAMES})
    assert not other.is_nil and other.difference_interval(0.95) == other.interval(0.95)
    assert (mean.outcome(0.95, 0.01), mean.p_value, mean.detectable(0.95)) == ("undecided", 1.0, None)


def test_the_interval_of_a_mean_tis_above_1_holds_it() -> None:
    """Of a choice by validation, judged on other seeds."""
    tis = [1.03, 1.02, 1.04, 1.01, 1.03, 1.05]
    mean = cluster_mean(tis, {"pretraining": NAMES})
    expected = tuple(stats.ttest_1samp(tis, 0).confidence_interval(0.95))
    assert mean_tis_interval(mean, 0.95, highest=inf) == pytest.approx(expected)


@pytest.mark.parametrize("hits", [0, 1, 4, 8])
def test_the_interval_of_a_share_counts_clusters(hits: int) -> None:
    """Eight pretrainings whose three targets agree are eight trials; three targets are not counted."""
    events, names = [index < hits for index in range(8)], [str(index) for index in range(8)]
    exact = stats.binomtest(hits, 8).proportion_ci(0.9, "exact")
    assert share_interval(events, {"target": names}, 0.9) == pytest.approx((exact.low, exact.high))
    factors = {"pretraining": [name for name in names for _ in range(3)], "target": ["moon", "sun", "star"] * 8}
    assert share_interval([event for event in events for _ in range(3)], factors, 0.9) == pytest.approx((exact.low, exact.high))


def test_the_interval_of_a_share_counts_the_largest_factor_where_none_is_numerous() -> None:
    exact = stats.binomtest(0, 3).proportion_ci(0.95, "exact")
    assert share_interval([False] * 6, {"pretraining": list("ab") * 3, "target": list("xxyyzz")}, 0.95) == pytest.approx(
        (0, exact.high)
    )
    assert share_interval([True], {"target": ["x"]}, 0.95) == pytest.approx((0.025, 1))


@pytest.mark.parametrize(
    ("values", "factors", "message"),
    [
        ([], {}, "at least one"), ([0.1, float("nan")], {"target": ["a", "b"]}, "finite"),
        ([0.1, 0.2], {"target": ["a"]}, "levels of 2 values"),
    ],
)  # fmt: skip
def test_values_and_levels_must_fit(values: list[float], factors: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_mean(values, factors)


def test_differences_that_are_rounding_are_none() -> None:
    assert differences([0.1 + 0.2, 0.5], [0.3, 0.4]) == [0.0, pytest.approx(0.1)]
    with pytest.raises(ValueError, match="got 1 and 2"):
        differences([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.5, 0.9], [1.0, 1.0]), ([], []), ([0.2], [0.2])],
)  # fmt: skip
def test_holm_by_hand(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(a <= b <= 1 for a, b in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)

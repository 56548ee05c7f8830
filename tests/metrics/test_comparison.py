"""Paired comparisons, bootstrap intervals and Holm's correction against exact enumeration and tables made by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtransfer.metrics.comparison import bootstrap_mean, compare_paired, holm


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def enumerated(differences: list[float]) -> float:
    """Two-sided signed-rank p-value over all signs, for differences without ties or zeros."""
    ranks = stats.rankdata(np.abs(differences))
    sums = [sum(r for r, up in zip(ranks, signs, strict=True) if up) for signs in itertools.product([0, 1], repeat=len(ranks))]
    seen = sum(r for r, d in zip(ranks, differences, strict=True) if d > 0)
    tail = min(np.mean(np.array(sums) >= seen), np.mean(np.array(sums) <= seen))
    return min(1.0, 2 * float(tail))


def test_comparison_by_hand():
    first, second = [0.90, 0.80, 0.95, 0.70, 0.60], [0.85, 0.82, 0.80, 0.60, 0.30]
    result = compare_paired(first, second, 4000, 0.9, generator())
    differences = [0.05, -0.02, 0.15, 0.10, 0.30]
    assert result.difference == pytest.approx(0.116)
    assert (result.n, result.wins, result.losses) == (5, 4, 1)
    assert result.p_value == pytest.approx(enumerated(differences)) == pytest.approx(0.125)
    means = [np.mean(draw) for draw in itertools.product(differences, repeat=5)]
    assert result.interval == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=0.01)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 400), min_size=2, max_size=8, unique=True), st.data())
def test_p_value_is_the_exact_one(sizes, data):
    differences = [size * data.draw(st.sampled_from([-1, 1])) / 1000 for size in sizes]
    result = compare_paired(differences, [0.0] * len(sizes), 10, 0.95, generator())
    assert result.p_value == pytest.approx(enumerated(differences))


paired = st.lists(st.tuples(*[st.integers(0, 20).map(lambda value: value / 20)] * 2), min_size=1, max_size=7)


@settings(max_examples=20)
@given(paired, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_sides_mirror(rows, random):
    first, second = np.array(rows).T
    result = compare_paired(first, second, 20, 0.95, generator())
    again = compare_paired(*np.array(random.sample(rows, len(rows))).T, 20, 0.95, generator())
    mirrored = compare_paired(second, first, 20, 0.95, generator())
    for other, sign in ((again, 1), (mirrored, -1)):
        assert other.difference == pytest.approx(sign * result.difference, abs=1e-15)
        assert other.p_value == pytest.approx(result.p_value)
        assert (other.wins, other.losses) == ((result.wins, result.losses)[::sign])
    assert mirrored.interval == pytest.approx([-bound for bound in reversed(result.interval)], abs=1e-12)
    assert 0 <= result.p_value <= 1
    assert result.wins + result.losses <= result.n == len(rows)


def test_zero_differences_are_ranked_by_pratt():
    differences = [0.0, 0.0, 0.1, 0.2, -0.3, 0.4, 0.5, 0.6]
    result = compare_paired(differences, [0.0] * 8, 10, 0.95, generator())
    assert result.p_value == stats.wilcoxon(differences, zero_method="pratt").pvalue
    assert result.p_value != pytest.approx(stats.wilcoxon(differences, zero_method="wilcox").pvalue, abs=1e-6)
    assert (result.wins, result.losses) == (5, 1)


@pytest.mark.filterwarnings("error")
def test_rounding_is_no_difference_and_one_configuration_proves_nothing():
    values = np.array([0.5, 0.7, 0.9])
    for shift in (0.0, 1e-13, -1e-13):
        result = compare_paired(values + shift, values, 10, 0.95, generator())
        assert (result.difference, result.interval, result.p_value) == (0, (0, 0), 1)
        assert (result.wins, result.losses) == (0, 0)
    result = compare_paired([0.75], [0.5], 10, 0.95, generator())
    assert (result.difference, result.interval, result.p_value, result.n) == (0.25, (0.25, 0.25), 1, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.1, 0.2], [0.1], "the same configurations"),
        ([], [], "the same configurations"),
        ([[0.1]], [[0.2]], "the same configurations"),
        ([0.1, math.nan], [0.1, 0.2], "finite values"),
        ([0.1, 0.3], [0.1, math.inf], "finite values"),
    ],
)
def test_values_that_cannot_be_compared_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(first, second, 10, 0.95, generator())


def test_bootstrap_of_a_mean_against_all_samples():
    values = [0.2, 0.5, 0.9]
    means = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
    result = bootstrap_mean(values, 20_000, 0.8, generator())
    assert result == pytest.approx(np.quantile(means, [0.1, 0.9], method="inverted_cdf"), abs=0.02)
    assert bootstrap_mean(values, 50, 0.8, generator(5)) == bootstrap_mean(values, 50, 0.8, generator(5))
    assert bootstrap_mean([0.4] * 6, 50, 0.95, generator()) == pytest.approx((0.4, 0.4))
    for wrong in ([], [0.5, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="finite values"):
            bootstrap_mean(wrong, 10, 0.95, generator())


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    # 4 x .005, 3 x .01, 2 x .03, then never below
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.02]) == pytest.approx([1.0, 1.0, 0.06])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_holm_is_monotone_and_below_bonferroni(p_values, random):
    result = holm(p_values)
    for p_value, corrected in zip(p_values, result, strict=True):
        assert p_value <= corrected <= min(1.0, len(p_values) * p_value)
    ranked = sorted(zip(p_values, result, strict=True))
    assert [corrected for _, corrected in ranked] == sorted(result)
    order = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[index] for index in order]) == pytest.approx([result[index] for index in order])

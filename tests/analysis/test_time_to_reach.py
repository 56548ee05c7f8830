"""Steps to a share of the best result, and what a decoder gains: numbers by hand."""

import pytest
from scipy import stats

from medtransfer.analysis.time_to_reach import gain_of, level_of, mean_curve, time_to_reach


def test_the_level_is_a_share_of_the_best_mean() -> None:
    assert level_of([[0.5, 0.7], [0.9, 0.7]]) == pytest.approx(0.95 * 0.8)


def test_the_first_point_at_the_level_counts_even_if_the_curve_falls_again() -> None:
    curves = [{20: 0.5, 40: 0.76, 80: 0.7}, {20: 0.76, 40: 0.8, 80: 0.9}, {20: 0.1, 40: 0.2, 80: 0.8}]
    reached = time_to_reach([[curve] for curve in curves], 0.76, 0.95)
    assert (reached.steps, reached.count) == ((40, 20, 80), 3)
    assert reached.mean == pytest.approx(140 / 3)
    low, high = stats.t.interval(0.95, 2, 140 / 3, stats.sem([40, 20, 80]))
    assert reached.interval == (0.0, 80.0) and low < 0 and high > 80  # no run is longer


def test_a_mean_over_the_fast_runs_alone_is_not_given() -> None:
    reached = time_to_reach([[{20: 0.9}], [{20: 0.1}]], 0.76, 0.95)
    assert (reached.steps, reached.count, reached.mean, reached.interval) == ((20, None), 1, None, None)
    one = time_to_reach([[{20: 0.9}]], 0.76, 0.95)
    assert (one.mean, one.interval) == (20.0, None)


def test_the_seeds_of_a_fold_are_one_repetition() -> None:
    """Two folds of two seeds: as many as two values, not four."""
    early, late = {10: 0.9, 50: 0.9}, {10: 0.1, 20: 0.9, 50: 0.9}
    reached = time_to_reach([[early, late], [late, late]], 0.76, 0.95)
    assert (reached.steps, reached.mean) == ((15, 20), 17.5)
    assert reached.interval == (0.0, pytest.approx(min(50.0, stats.t.interval(0.95, 1, 17.5, stats.sem([15, 20]))[1])))
    assert time_to_reach([[early, {10: 0.1}], [late]], 0.76, 0.95).steps == (None, 20)
    longer = time_to_reach([[{10: 0.9}], [{10: 0.1, 60: 0.9}]], 0.76, 0.95)
    assert longer.interval == (0.0, 60.0)


def test_a_mean_curve_ends_where_one_ends() -> None:
    assert mean_curve([{10: 0.2, 20: 0.4}, {10: 0.4}]) == {10: pytest.approx(0.3)}


def test_the_gain_is_over_shared_seeds() -> None:
    gain = gain_of({"": {1: 0.8, 2: 0.9, 3: 0.5}}, {"": {1: 0.7, 2: 0.6, 4: 0.1}}, 0.95)
    assert gain is not None and (gain.mean, gain.n) == (pytest.approx(0.2), 2)
    assert gain.interval == pytest.approx(stats.t.interval(0.95, 1, 0.2, stats.sem([0.1, 0.3])))
    assert gain_of({"": {1: 0.8}}, {"": {2: 0.7}}, 0.95) is None
    folds = gain_of({"1": {1: 0.8, 2: 0.9}, "2": {1: 0.7}}, {"1": {1: 0.7, 2: 0.6}, "2": {1: 0.5, 2: 0.1}}, 0.95)
    assert folds is not None and (folds.mean, folds.n) == (pytest.approx(0.2), 2)


def test_the_level_is_counted_from_chance() -> None:
    """Of an AUC, .95 of .55 would be near chance."""
    assert level_of([[0.9, 0.7], [0.6, 0.6]], 0.5) == pytest.approx(0.5 + 0.95 * 0.3)

"""Paired differences against scipy, by hand, and in a simulation of what their intervals cover."""

import numpy as np
import pytest
from scipy import stats

from medtransfer.metrics.paired_difference import paired_difference

NO_PATIENTS = np.empty((3, 0))


def means_without(table: np.ndarray) -> np.ndarray:
    """Return the means (S, P) of the rows of a table (S, P) without each column."""
    return np.stack([np.delete(table, column, axis=1).mean(axis=1) for column in range(table.shape[1])], axis=1)


def test_without_patients_it_is_the_paired_t_test():
    first, second = np.array([0.81, 0.84, 0.80]), np.array([0.79, 0.80, 0.795])
    expected = stats.ttest_rel(first, second).confidence_interval(0.9)
    assert paired_difference(first - second, NO_PATIENTS).interval(0.9) == pytest.approx((expected.low, expected.high))


def test_the_two_half_widths_are_added_as_squares():
    """The metric is a mean over patients here, so that the jackknife is the usual error of a mean."""
    table = np.random.default_rng(1).normal(0.02, 0.05, size=(3, 7))
    halves = [np.diff(stats.ttest_1samp(means, 0).confidence_interval(0.95))[0] / 2 for means in (table.mean(1), table.mean(0))]
    difference = paired_difference(table.mean(axis=1), means_without(table))
    low, high = difference.interval(0.95)
    assert difference.value == pytest.approx(table.mean()) == pytest.approx((low + high) / 2)
    assert (high - low) / 2 == pytest.approx(np.hypot(*halves))
    assert difference.error_over_patients == pytest.approx(stats.sem(table.mean(axis=0)))


def test_one_patient_gives_no_error_over_patients():
    difference = paired_difference([0.1, 0.2], [[0.0], [0.0]])
    assert difference.error_over_patients is None and difference.error_over_seeds == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("values", "without"), [([0.1], np.empty((1, 0))), ([0.1, 0.2], NO_PATIENTS), ([0.1, np.nan, 0.2], NO_PATIENTS), ([], [])]
)
def test_what_has_no_error_is_refused(values, without):
    with pytest.raises(ValueError, match="expected"):
        paired_difference(values, without)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spreads", [(1, 0.3, 0), (1, 3, 1), (0.3, 3, 3), (0, 6, 1)])  # by seed, by patient, by both
@pytest.mark.parametrize("patients", [2, 4, 20])
def test_the_interval_covers_what_it_says(seeds, spreads, patients):
    rng, draws, covered = np.random.default_rng(0), 400, 0
    for _ in range(draws):
        sizes = ((seeds, 1), (1, patients), (seeds, patients))
        table = sum(spread * rng.normal(size=size) for spread, size in zip(spreads, sizes, strict=True))
        low, high = paired_difference(table.mean(axis=1), (table.sum(1, keepdims=True) - table) / (patients - 1)).interval(0.95)
        covered += low <= 0 <= high
    assert covered / draws >= 0.93

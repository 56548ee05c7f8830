"""Learning-rate factors against values by hand, and their limits."""

import math

import pytest

from medtransfer.training.schedules import polynomial, warmup_cosine


def test_warm_up_rises_linearly_to_the_base_rate():
    assert [warmup_cosine(step, 4, 12) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_falls_as_by_hand():
    # 8 steps after the warm-up: quarter, half and three quarters of the way
    expected = {6: (1 + math.sqrt(0.5)) / 2, 8: 0.5, 10: (1 - math.sqrt(0.5)) / 2}
    assert {step: warmup_cosine(step, 4, 12) for step in expected} == pytest.approx(expected)


def test_cosine_ends_above_zero_and_is_zero_beyond():
    assert 0 < warmup_cosine(11, 4, 12) < 0.05
    assert warmup_cosine(12, 4, 12) == warmup_cosine(99, 4, 12) == 0


def test_without_warm_up_training_starts_at_the_base_rate():
    assert warmup_cosine(0, 0, 10) == 1


def test_warm_up_may_be_as_long_as_the_training():
    assert [warmup_cosine(step, 2, 2) for step in range(3)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("warmup", [0, 1, 5, 20])
def test_factors_are_in_range_and_fall_after_the_warm_up(warmup):
    factors = [warmup_cosine(step, warmup, 40) for step in range(40)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_polynomial_by_hand():
    assert polynomial(0, 10, 0.9) == 1
    assert polynomial(5, 10, 0.9) == pytest.approx(0.5**0.9)
    assert polynomial(9, 10, 0.9) == pytest.approx(0.1258925412)  # 10^-0.9
    assert polynomial(10, 10, 0.9) == 0


def test_polynomial_of_power_zero_is_constant():
    assert [polynomial(step, 4, 0.0) for step in range(4)] == [1, 1, 1, 1]

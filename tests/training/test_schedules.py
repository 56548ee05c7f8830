"""Learning-rate factors against values by hand, and their limits."""

import math

import pytest

from medtransfer.training.schedules import warmup_cosine, warmup_polynomial


def test_warm_up_and_cosine_by_hand():
    assert [warmup_cosine(step, 4, 12) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    # 8 steps after the warm-up: quarter, half and three quarters of the way
    expected = {6: (1 + math.sqrt(0.5)) / 2, 8: 0.5, 10: (1 - math.sqrt(0.5)) / 2, 12: 0, 99: 0}
    assert {step: warmup_cosine(step, 4, 12) for step in expected} == pytest.approx(expected)
    assert 0 < warmup_cosine(11, 4, 12) < 0.05
    assert warmup_cosine(0, 0, 10) == 1
    assert [warmup_cosine(step, 2, 2) for step in range(3)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("warmup", [0, 1, 5, 20])
def test_factors_are_in_range_and_fall_after_the_warm_up(warmup):
    factors = [warmup_cosine(step, warmup, 40) for step in range(40)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_polynomial_by_hand():
    assert warmup_polynomial(0, 0, 10, 0.9) == 1
    assert warmup_polynomial(5, 0, 10, 0.9) == pytest.approx(0.5**0.9)
    assert warmup_polynomial(9, 0, 10, 0.9) == pytest.approx(0.1258925412)  # 10^-0.9
    assert warmup_polynomial(10, 0, 10, 0.9) == 0
    assert [warmup_polynomial(step, 0, 4, 0.0) for step in range(4)] == [1, 1, 1, 1]


def test_warm_up_and_polynomial_by_hand():
    assert [warmup_polynomial(step, 4, 12, 2.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    # 8 steps after the warm-up
    assert [warmup_polynomial(step, 4, 12, 2.0) for step in (6, 8, 10, 12)] == [0.75**2, 0.5**2, 0.25**2, 0]

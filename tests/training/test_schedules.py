"""Learning-rate factors against values by hand, and their limits."""

import math

import numpy as np
import pytest
import torch

from medtransfer.training.schedules import plateau, warmup_constant, warmup_cosine, warmup_polynomial


def test_warm_up_and_cosine_by_hand():
    assert [warmup_cosine(step, 4, 12) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    # 8 steps after the warm-up: quarter, half and three quarters of the way
    expected = {6: (1 + math.sqrt(0.5)) / 2, 8: 0.5, 10: (1 - math.sqrt(0.5)) / 2, 12: 0, 99: 0}
    assert {step: warmup_cosine(step, 4, 12) for step in expected} == pytest.approx(expected)
    assert 0 < warmup_cosine(11, 4, 12) < 0.05
    assert warmup_cosine(0, 0, 10) == 1
    assert [warmup_cosine(step, 2, 2) for step in range(3)] == [0.5, 1.0, 1.0]


def test_a_constant_rate_after_the_warm_up():
    assert [warmup_constant(step, 4, 12) for step in (0, 1, 3, 4, 11)] == [0.25, 0.5, 1.0, 1.0, 1.0]


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


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize(("factor", "patience"), [(0.5, 5), (0.1, 0), (0.3, 2)])
@pytest.mark.parametrize("step", [1e-5, 0.02])  # below the threshold of a ten-thousandth nothing is better
def test_a_plateau_lowers_the_rate_when_pytorch_does(lower: bool, factor: float, patience: int, step: float) -> None:
    rng = np.random.default_rng(3)
    values = (0.5 + step * np.cumsum(rng.normal(size=60))).tolist()
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, "min" if lower else "max", factor, patience, threshold=1e-4, threshold_mode="rel", eps=0
    )
    for epoch, value in enumerate(values, start=1):
        theirs.step(value)
        seen = dict(enumerate(values[:epoch], start=1))
        ours = plateau(seen, lower_is_better=lower, factor=factor, patience=patience)
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
    assert ours < 1 and plateau({}, lower_is_better=lower, factor=factor, patience=patience) == 1


def test_the_patience_of_a_plateau_is_of_epochs_however_seldom_validation_looks() -> None:
    seen = {2: 0.5, 4: 0.6, 6: 0.6, 8: 0.6}  # the best is of epoch 2
    rates = [plateau(seen, lower_is_better=True, factor=0.5, patience=patience) for patience in (1, 2, 4, 6)]
    assert rates == [0.125, 0.5, 0.5, 1.0]

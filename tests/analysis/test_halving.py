"""Successive halving: plans by hand, survivors by brute force over hand-made and random tables."""

import math
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np
import pytest

from medtransfer.analysis.halving import Rung, Survival, cost_of, fit_rungs, plan_rungs, rungs_run, survivors, survivors_by_error


def as_pairs(plan):
    return [(rung.seats, rung.epochs) for rung in plan]


def test_plan_of_ten_checkpoints_takes_670_epochs():
    plan = plan_rungs(10, 150, 3, rungs=3)
    assert as_pairs(plan) == [(10, 17), (4, 50), (2, 150)]
    assert cost_of(plan) == 670


@pytest.mark.parametrize(
    ("candidates", "epochs", "eta", "budget", "expected"),
    [
        (10, 150, 3, 1500, [(10, 17), (4, 50), (2, 150)]),  # a budget is a limit, not an aim
        (10, 150, 3, 675, [(10, 17), (4, 50), (2, 150)]),
        (10, 150, 3, 600, [(10, 6), (4, 17), (2, 50), (1, 150)]),
        (9, 9, 3, 81, [(9, 1), (3, 3), (1, 9)]),
        (4, 15, 3, 60, [(4, 5), (2, 15)]),
        (4, 15, 3, 40, [(4, 2), (2, 5), (1, 15)]),
        (4, 15, 2, 60, [(4, 4), (2, 8), (1, 15)]),
        (2, 15, 3, 30, [(2, 15)]),
        (2, 15, 3, 29, [(2, 5), (1, 15)]),
        (1, 15, 3, 15, [(1, 15)]),
        (9, 1, 3, 9, [(9, 1)]),
    ],
)
def test_fewest_rungs_that_fit_the_budget(candidates, epochs, eta, budget, expected):
    assert as_pairs(fit_rungs(candidates, epochs, eta, budget)) == expected


@pytest.mark.parametrize(
    ("plan", "entrants", "run"),
    [
        ([(4, 1), (2, 2), (1, 4), (1, 8)], None, [(4, 1), (2, 2), (1, 8)]),  # one is left after the second rung
        ([(2, 2), (1, 4), (1, 8)], 3, [(3, 2), (1, 8)]),
        ([(1, 4), (1, 8)], 2, [(2, 4), (1, 8)]),
        ([(9, 2), (3, 6), (1, 18)], 3, [(3, 6), (1, 18)]),
        ([(2, 15)], None, [(2, 15)]),
    ],
)
def test_a_rung_in_which_nobody_would_have_to_leave_costs_nothing(plan, entrants, run):
    rungs = [Rung(*pair) for pair in plan]
    assert as_pairs(rungs_run(rungs, entrants)) == run
    assert cost_of(rungs, entrants) == sum(seats * epochs for seats, epochs in run)


def test_a_budget_need_not_pay_for_a_rung_that_is_skipped():
    assert as_pairs(fit_rungs(4, 8, 2, budget=16)) == [(4, 1), (2, 2), (1, 4), (1, 8)]


def test_cheapest_plan_where_the_budget_pays_for_none():
    plan = fit_rungs(4, 15, 3, budget=5)
    growing = [plan_rungs(4, 15, 3, rungs) for rungs in range(2, 5)]  # 1, 2, 5, 15 epochs; more rungs repeat 1
    assert cost_of(plan) == min(map(cost_of, growing)) == 4 * 1 + 2 * 2 + 15


@pytest.mark.parametrize("candidates", range(1, 14))
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_rungs_have_fewer_candidates_and_longer_schedules(candidates, eta):
    plan = fit_rungs(candidates, 20, eta, budget=20 * candidates)
    assert plan[0].seats == candidates and plan[-1].epochs == 20
    assert all(a.seats >= b.seats and a.epochs < b.epochs for a, b in pairwise(plan))


def brute_force(scores, seats):
    """Who is on a seat, or below its last holder by no more than the standard error of the difference."""
    means = [fmean(row) for row in scores]
    order = sorted(range(len(means)), key=lambda i: (-means[i], i))
    last = scores[order[seats - 1]]
    stay = []
    for place, i in enumerate(order):
        differences = [a - b for a, b in zip(last, scores[i], strict=True)]
        error = stdev(differences) / math.sqrt(len(differences))
        if place < seats or fmean(differences) <= error:
            stay.append(i)
    return tuple(stay)


@pytest.mark.parametrize("seed", range(20))
def test_survivors_of_random_tables(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rng.integers(2, 9), 1)) * 0.3 + rng.normal(size=(1, rng.integers(2, 12)))
    scores = scores + rng.normal(size=scores.shape) * 0.4
    seats = int(rng.integers(1, len(scores) + 1))
    assert survivors(scores, seats) == Survival(brute_force(scores.tolist(), seats))


@pytest.mark.parametrize(
    ("scores", "seats", "most", "expected"),
    [
        ([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7]], 1, None, Survival((0,))),  # no spread: the cut is sharp
        ([[0.5, 0.5], [0.9, 0.9], [0.5, 0.5]], 2, None, Survival((1, 0, 2))),  # a tie with the last seat stays
        ([[0.8, 0.6], [0.6, 0.8 - 0.1], [0.1, 0.1]], 1, None, Survival((0, 1))),  # difference .05, standard error .15
        ([[0.8, 0.6], [0.6, 0.7], [0.1, 0.1]], 1, 1, Survival((0,), (1,))),  # no room for who is close
        ([[0.8], [0.7], [0.8]], 1, None, Survival((0, 2))),  # one patient has no standard error
        ([[0.3, 0.2, 0.1], [0.1, 0.2, 0.3]], 1, 1, Survival((0,), (1,))),  # .2 both, but for rounding
        ([[0.3, 0.2, 0.1], [0.1, 0.2, 0.3], [0.27, 0.17, 0.07]], 1, None, Survival((0, 1))),  # the first of both has the last seat
        ([[0.2, 0.1]], 3, None, Survival((0,))),  # more seats than candidates
        ([[0.9, 0.5, 0.1], [0.8, 0.4, 0.0]], 1, None, Survival((0,))),  # always a little worse, whatever the patients' spread
    ],
)
def test_survivors_by_hand(scores, seats, most, expected):
    assert survivors(scores, seats, most) == expected


@pytest.mark.parametrize(
    ("values", "errors", "seats", "expected"),
    [
        ([0.7, 0.5, 0.6], [0.0, 0.0, 0.0], 1, Survival((0,))),
        ([0.7, 0.5, 0.6], [0.03, 0.0, 0.04], 1, Survival((0,))),  # the difference .1 has the standard error .05
        ([0.7, 0.5, 0.6], [0.06, 0.0, 0.08], 1, Survival((0, 2))),  # .1
        ([0.3, 0.1 + 0.2, 0.25], [0.0, 0.1, 0.0], 1, Survival((0, 1))),  # equal but for rounding: the first one has the last seat
    ],
)
def test_survivors_by_values_and_errors(values, errors, seats, expected):
    assert survivors_by_error(values, errors, seats) == expected


@pytest.mark.parametrize(
    "call",
    [
        lambda: survivors([[0.1, math.nan]], 1),
        lambda: survivors([], 1),
        lambda: survivors([[0.1]], 0),
        lambda: survivors([[0.1], [0.2]], 2, most=1),
        lambda: survivors_by_error([0.1], [-1.0], 1),
        lambda: survivors_by_error([0.1, 0.2], [0.0], 1),
        lambda: plan_rungs(0, 1, 3, 1),
        lambda: plan_rungs(4, 10, 1, 2),
    ],
)
def test_what_cannot_be_decided_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()

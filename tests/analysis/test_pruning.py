"""What pruning leaves in and costs, against enumeration of all draws and pools made by hand."""

from dataclasses import replace
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from tests.analysis.test_judge import SAMPLING, pool

from medtransfer.analysis.pruning import Cut, cuts_of, judge_cut, left_in, over_pools
from medtransfer.analysis.summary import analyse

NAN = float("nan")


@pytest.mark.parametrize("seed", range(20))
def test_the_best_of_those_with_a_value_stay_with_their_ties_the_unknown_and_the_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, eta = int(rng.integers(1, 12)), int(rng.integers(2, 5))
    values = [NAN if rng.random() < 0.2 else float(rng.integers(5)) for _ in range(count)]
    equal = [index for index in range(count) if rng.random() < 0.1]
    known = sorted((value for value in values if value == value), reverse=True)
    seats = next(seats for seats in range(count + 1) if seats * eta >= len(known))
    expected = [i for i, value in enumerate(values) if value != value or value >= known[seats - 1] or i in equal]
    assert left_in(values, eta, equal) == expected


def test_large_values_tie_that_differ_by_the_order_of_their_sum_alone() -> None:
    a, b, c, d = 1234.1, 2345.7, 3456.3, 777.77  # added one by one: from Python 3.12 on `sum` makes up for rounding
    values = [a + b + c + d, d + c + b + a, 1.0, 0.0]
    assert values[0] != values[1]
    assert left_in(values, 4) == [0, 1]
    assert left_in(values[::-1], 4) == [2, 3]


@pytest.mark.parametrize("outcomes", [[0.8, 0.4, 0.6, 0.2, 0.5], [0.8, 0.8, 0.4, 0.4, 0.1], [0.5, 0.5, 0.5], [0.7]])
def test_a_blind_draw_is_that_of_all_draws_of_as_many(outcomes: list[float]) -> None:
    best = max(outcomes)
    for count in range(1, len(outcomes) + 1):
        draws = [max(draw) / best for draw in combinations(outcomes, count)]
        for left in combinations(range(len(outcomes)), count):
            cut = judge_cut(outcomes, left)
            assert cut.tis == pytest.approx(max(outcomes[i] for i in left) / best)
            assert cut.lost == all(outcomes[i] < best for i in left)
            assert cut.blind_loss == pytest.approx(fmean(value < 1 for value in draws), abs=1e-12)
            assert cut.blind_tis == pytest.approx(fmean(draws))


def test_a_single_winner_is_lost_to_a_blind_draw_by_the_share_that_is_left_out() -> None:
    assert judge_cut([0.1 * i for i in range(1, 11)], range(4)).blind_loss == pytest.approx(1 - 4 / 10)


def test_winners_whose_means_differ_by_rounding_alone_are_all_winners() -> None:
    """Three of 1.91 / 3, summed in other orders: one of them is left in, so nothing is lost, as in any draw of three of five."""
    cut = judge_cut([0.6366666666666666, 0.6366666666666667, 0.6366666666666667, 0.5, 0.4], [0, 3, 4])
    assert (cut.lost, cut.tis, cut.blind_loss) == (False, 1, 0)


def test_each_score_prunes_in_its_direction_and_keeps_whom_it_does_not_know() -> None:
    """Epoch 10 is the best of four, of which two seats stay, or one of the three with a value and epoch 10, which has none."""
    dice = {0: (0.2, 0.2), 1: (0.4, 0.4), 5: (0.6, 0.6), 10: (0.8, 0.8)}
    scores = {
        "robustness": {0: 4.0, 1: 3.0, 5: 2.0, 10: 1.0}, "twonn": {0: 4.0, 1: 3.0, 5: 2.0, 10: 1.0},  # the lower the better
        "logme": {0: 3.0, 1: 2.0, 5: 1.0}, "ridge": {},
    }  # fmt: skip
    found = cuts_of(replace(pool(dice), scores=scores), 3)
    assert set(found) == {"robustness", "twonn", "logme", "latest_epochs"} and not found["latest_epochs"].lost
    assert (found["robustness"].left, found["robustness"].tis) == (2, pytest.approx(0.5))
    assert (found["twonn"].left, found["twonn"].lost) == (2, False)
    assert (found["logme"].left, found["logme"].tis, found["logme"].blind_loss) == (2, 1.0, pytest.approx(0.5))


def test_indicators_are_summarised_over_the_pools_that_have_them() -> None:
    cuts = [
        {"ridge": Cut(10, 4, 0.9, 0.6, 0.98), "knn": Cut(10, 4, 1.0, 0.6, 0.98)}, {"ridge": Cut(10, 5, 1.0, 0.5, 0.99)},
        {"ridge": Cut(4, 2, 0.8, 0.5, 0.95)},
    ]  # fmt: skip
    knn, ridge = over_pools(cuts, {"target": ["a", "b", "c"]}, 0.95)
    assert (knn.indicator, knn.pools, knn.lost, knn.tis) == ("knn", 1, 0, 1.0)
    assert (ridge.pools, ridge.lost, ridge.worst) == (3, 2, 0.8)
    assert (ridge.tis, ridge.blind_tis) == (pytest.approx(0.9), pytest.approx((0.98 + 0.99 + 0.95) / 3))
    assert (ridge.blind_loss, ridge.left) == (pytest.approx(1.6 / 3), pytest.approx((0.4 + 0.5 + 0.5) / 3))
    assert over_pools([], {"target": []}, 0.95) == ()


def test_indicators_of_the_same_mean_keep_their_order_whatever_the_rounding() -> None:
    """Both have a mean of .2."""
    shares = {"a": (0.1, 0.2, 0.3), "b": (0.3, 0.2, 0.1)}
    for names in ("ab", "ba"):
        cuts = [{name: Cut(4, 2, shares[name][pool], 0.5, 0.9) for name in names} for pool in range(3)]
        assert [one.indicator for one in over_pools(cuts, {"target": ["x", "y", "z"]}, 0.95)] == list(names)


def test_an_analysis_judges_complete_pools_in_any_order_where_it_is_asked_to() -> None:
    """Robustness prefers epochs 0 and 5 on the moon, where 5 is the best, and 0 and 1 on the sun; a third one lacks outcomes."""
    dice = {0: (0.40, 0.42), 1: (0.54, 0.50), 5: (0.80, 0.84), 10: (0.79, 0.81)}
    pools = [
        pool(dice),
        pool(dice, {0: 4.0, 1: 3.0, 5: 2.0, 10: 1.0}, "sun"),
        pool(dice, name="star", candidates=(0, 1, 5, 10, 20)),
    ]
    found = {one.indicator: one for one in analyse(pools, [], SAMPLING, eta=3).prunings}
    robustness = found["robustness"]
    assert (robustness.pools, robustness.lost, robustness.worst) == (2, 1, pytest.approx(0.52 / 0.82))
    assert analyse(pools[::-1], [], SAMPLING, eta=3).prunings == tuple(found.values())
    assert analyse(pools, [], SAMPLING).prunings == ()

"""A target is judged by what was chosen without it; in-sample and held-out values are worked out by hand."""

from collections.abc import Callable, Mapping

import pytest

from medtransfer.search.evaluate import Case, Evaluator, Setting
from medtransfer.search.held_out import Best, Scores, find_best, judge_family, total
from medtransfer.search.study import Trial

C1, C2, L1 = (Setting(*one, "frozen") for one in (("cosine", 0.5, -1), ("cosine", 0.5, -2), ("l2", 0.5, -1)))


def best(setting: Setting, value: float = 1.0) -> Best:
    return Best("s", 0, setting, value, 0, 1)


def test_the_earliest_of_equal_trials_wins_and_the_others_are_counted():
    trials = [Trial(0, C1, 0.5), Trial(3, C2, 0.9), Trial(4, L1, 0.9), Trial(7, C2, 0.9), Trial(8, C1, 0.5)]
    assert find_best("s", trials) == Best("s", 3, C2, 0.9, 1, 5)
    assert find_best("s", list(reversed(trials))).trial == 3
    assert find_best("s", trials[:1]) == Best("s", 0, C1, 0.5, 0, 1)


@pytest.fixture
def evaluator(make_case: Callable[..., Case]) -> Evaluator:
    """Give cases whose TIS by setting (cosine -1, cosine -2, l2 -1) is 1 .5 .75, 1 .5 .5 and .25 1 .5."""
    return Evaluator(
        [
            make_case("moon", {("cosine", -1): 10, ("cosine", -2): 1, ("l2", -1): 5}),
            make_case("moon", {("cosine", -1): 10}, mode="decoder"),
            make_case("sun", {("cosine", -1): 0, ("cosine", -2): 10}),
        ]
    )


def test_each_target_is_judged_by_what_was_chosen_without_it(evaluator: Evaluator):
    without = {"moon": best(C2), "sun": best(C1)}
    family = judge_family("", (0, 1, 2), best(C1), without, evaluator, L1)
    assert (family.encoder, family.places, family.targets) == ("", (0, 1, 2), ("moon", "sun"))
    assert family.in_sample == Scores(0.75, 0.5, pytest.approx(1.75 / 3), 1.0, 0.25)  # online stops at once
    moon, sun = family.held_out
    assert (moon.target, moon.places, moon.scores.chosen, moon.scores.default) == ("moon", (0, 1), 0.5, pytest.approx(1.25 / 2))
    assert (sun.target, sun.places, sun.scores.chosen, sun.scores.default) == ("sun", (2,), 0.25, 0.5)
    totals = total([family], evaluator, L1)
    assert totals.held_out is not None
    assert totals.held_out.chosen == pytest.approx((0.5 + 0.5 + 0.25) / 3)
    assert totals.optimism == pytest.approx((2.25 - 1.25) / 3)
    assert totals.metrics() == pytest.approx(
        {
            "tis_in_sample": 0.75, "tis_in_sample_online": 0.5, "tis_default": 1.75 / 3, "tis_full": 1.0, "tis_none": 0.25,
            "tis_held_out": 1.25 / 3, "tis_held_out_online": 0.5, "optimism": 1 / 3,
        }
    )  # fmt: skip


def test_families_are_averaged_over_their_configurations(evaluator: Evaluator):
    first = judge_family("a", (0, 1), best(C1), {}, evaluator, None)
    second = judge_family("b", (2,), best(C2), {}, evaluator, None)
    totals = total([first, second], evaluator, None)
    assert (totals.configurations, totals.in_sample.chosen, totals.held_out, totals.optimism) == (3, 1.0, None, None)
    assert totals.metrics() == pytest.approx({"tis_in_sample": 1.0, "tis_in_sample_online": 0.5, "tis_full": 1.0, "tis_none": 0.25})


@pytest.mark.parametrize("tis", [{1: 1.0}, {1: 0.5, 5: 1.0}])
def test_without_a_random_initialisation_there_is_no_such_baseline(make_case: Callable[..., Case], tis: Mapping[int, float]):
    made = make_case("sun", {})
    scores = {key: {epoch: found[epoch] for epoch in tis} for key, found in made.scores.items()}
    evaluator = Evaluator([make_case("moon", {}), Case(**{**vars(made), "tis": tis, "scores": scores})])
    family = judge_family("", (0, 1), best(C1), {}, evaluator, None)
    assert (family.in_sample.none, family.in_sample.full) == (None, 1.0)

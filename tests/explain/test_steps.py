"""Steps between checkpoints by hand: what agrees, what parts, and what the seeds and images leave open."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from medtransfer.explain.cases import Rise
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.explain.steps import list_steps

DICE = {0: (0.30, 0.32), 1: (0.50, 0.521), 5: (0.40, 0.422), 10: (0.70, 0.20)}
VALUES = {(ROBUSTNESS, -2): {0: 0.5, 1: 0.6, 5: 0.7, 10: 0.8}, (ROBUSTNESS, -1): {1: 0.6, 5: 0.5}}


def test_relations_need_both_changes_to_be_seen(make_case: Any) -> None:
    clear, unclear = Rise(0.1, 0.01, 20), Rise(0.1, 0.1, 20)
    case = make_case(DICE, VALUES, rises={-2: {1: clear, 5: clear, 10: clear}, -1: {5: unclear}})
    last, *steps = list_steps([case], 0.95)
    assert [(step.start, step.end, step.relation, step.same_direction) for step in steps] == [
        (0, 1, "agree", True), (1, 5, "part", False), (5, 10, "undecided", True),
    ]  # fmt: skip
    assert (last.level, last.start, last.end, last.relation, last.same_direction) == (-1, 1, 5, "undecided", True)
    assert steps[0].robustness_p == pytest.approx(3 * 2 * stats.t.sf(10, 19))  # Holm: of three equal p-values
    half = stats.t.ppf(0.975, 19) * 0.01
    assert steps[0].robustness_interval == pytest.approx((0.1 - half, 0.1 + half))
    mean, error = 0.2005, 0.0005  # changes by seed .2 and .201: standard deviation .001 / sqrt(2), over sqrt(2)
    assert steps[0].outcome == pytest.approx(mean)
    assert steps[0].outcome_interval == pytest.approx((mean - stats.t.ppf(0.975, 1) * error, mean + stats.t.ppf(0.975, 1) * error))


@pytest.mark.parametrize("gain", [0.01, 0.1 + 0.2 - 0.3, 0.0])
def test_seeds_that_all_agree_tell_no_change_from_chance(gain: float, make_case: Any) -> None:
    """Heads that are solved for are the same with every seed."""
    (step,) = list_steps([make_case({0: (0.3, 0.3, 0.3), 1: (0.3 + gain,) * 3}, VALUES)], 0.95)
    assert (step.is_seen, step.relation) == (False, "undecided")


def test_a_change_by_the_rounding_of_sums_alone_has_no_direction(make_case: Any) -> None:
    """Changes by seed .1, .2 and -.3 are 0 in exact numbers, and a robustness of .1 + .2 is one of .3."""
    dice = {0: (0.1, 0.2, 0.6), 1: (0.2, 0.4, 0.3), 5: (0.35, 0.55, 0.48)}
    (unchanged, changed) = list_steps([make_case(dice, {(ROBUSTNESS, -2): {0: 0.3, 1: 0.4, 5: 0.5}})], 0.95)
    assert 0 < abs(unchanged.outcome) < 1e-15
    assert (unchanged.same_direction, changed.same_direction) == (False, True)
    (_, level) = list_steps([make_case(dice, {(ROBUSTNESS, -2): {0: 0.5, 1: 0.3, 5: 0.1 + 0.2}})], 0.95)
    assert level.robustness != 0 and (level.same_direction, level.relation) == (False, "undecided")


def test_changes_are_corrected_for_the_number_of_steps(make_case: Any) -> None:
    """A change that SciPy's t test sees alone is not seen among thirteen steps."""
    rng, epochs = np.random.default_rng(4), (0, 1, 5, 10)
    noise = [make_case({e: tuple(0.5 + 0.1 * rng.standard_normal(3)) for e in epochs}, VALUES, f"net{i}") for i in range(4)]
    large = make_case({0: (0.5, 0.5, 0.5), 1: (0.6, 0.61, 0.575)}, {(ROBUSTNESS, -2): {0: 0.5, 1: 0.6}})
    p_value = stats.ttest_1samp([0.1, 0.11, 0.075], 0).pvalue
    assert 0.01 < p_value < 0.05
    (alone,) = list_steps([large], 0.95)
    assert (alone.relation, alone.outcome_p) == ("agree", pytest.approx(p_value))
    steps = [step for step in list_steps([large, *noise], 0.95) if step.level == -2]
    assert (steps[0].relation, len(steps)) == ("undecided", 13)
    assert steps[0].outcome_p == pytest.approx(13 * p_value)
    assert steps[0].outcome_interval == alone.outcome_interval


def test_of_unchanged_outcomes_a_study_seldom_sees_a_change(make_case: Any) -> None:
    """Without the correction more than four studies of five would, of 36 steps."""
    rng, trials, values = np.random.default_rng(0), 40, {(ROBUSTNESS, -2): {epoch: epoch / 10 for epoch in range(7)}}
    seen = 0
    for _ in range(trials):
        dice = 0.7 + 0.01 * rng.standard_normal((6, 7, 4))
        cases = [make_case(dict(enumerate(map(tuple, table))), values, f"net{i}") for i, table in enumerate(dice)]
        seen += any(step.is_seen for step in list_steps(cases, 0.95))
    assert seen / trials <= 0.15


def test_one_seed_leaves_every_step_open_and_replayed_robustness_is_taken_as_it_is(make_case: Any) -> None:
    single = make_case({epoch: values[:1] for epoch, values in DICE.items()}, VALUES)
    assert {step.relation for step in list_steps([single], 0.95)} == {"undecided"}
    assert [step.relation for step in list_steps([make_case(DICE, VALUES)], 0.95)] == ["agree", "agree", "part", "undecided"]
    unmoved = {(ROBUSTNESS, -2): {0: 0.5, 1: 0.5}}
    assert [step.relation for step in list_steps([make_case(DICE, unmoved)], 0.95)] == ["undecided"]


def test_seeds_that_only_one_checkpoint_has_take_no_part(make_case: Any) -> None:
    case = make_case({1: (0.5, 0.6, 0.7), 5: (0.6, 0.71)}, {(ROBUSTNESS, -2): {1: 0.5, 5: 0.6}})
    (step,) = list_steps([case], 0.95)
    assert step.outcome == pytest.approx(0.105)

"""Choices are those of the selection rules; pooling follows the mode."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.search.evaluate import Case, Evaluator, Listed, Outcome, Setting
from medtransfer.selectors.rules import Best, FirstDrop


def make(**curves: dict[int, float]) -> Case:
    """Make a case from robustness by epoch at the keys flat and pooled of cosine, level -1."""
    scores = {
        ("cosine", -1, name == "pooled"): {epoch: Listed({0.5: value}) for epoch, value in found.items()}
        for name, found in curves.items()
    }
    return Case("c", "unet", "moon", "full", {0: 0.2, 1: 0.5, 5: 1.0, 10: 0.8}, scores, "f")


FLAT, POOLED = {0: 0.9, 1: 0.5, 5: 0.6, 10: 0.7}, {1: 0.8, 5: 0.7, 10: 0.95}


@pytest.mark.parametrize(
    ("pooling", "mode", "expected"),
    [
        ("frozen", "full", Outcome(0.2, 0.8)), ("frozen", "decoder", Outcome(0.8, 0.5)), ("never", "decoder", Outcome(0.2, 0.8)),
        ("always", "full", Outcome(0.8, 0.5)), ("never", "full", Outcome(0.2, 0.8)), ("always", "decoder", Outcome(0.8, 0.5)),
    ],
)  # fmt: skip
def test_the_choice_follows_pooling_and_mode(pooling: str, mode: str, expected: Outcome):
    """Flat, epoch 0 is the highest and online rises to the end; pooled, 10 is the highest and online keeps 1."""
    case = make(flat=FLAT, pooled=POOLED)
    assert Case(**{**vars(case), "mode": mode}).judge(Setting("cosine", 0.5, -1, pooling)) == expected


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_choices_are_those_of_the_rules(values: list[float]):
    scores = dict(zip((0, 1, 5, 10), values, strict=True))
    case = make(flat=scores)
    expected = Outcome(case.tis[Best.choose(scores).candidate], case.tis[FirstDrop.choose(scores).candidate])
    assert case.judge(Setting("cosine", 0.5, -1, "never")) == expected


def test_baselines():
    case = make(flat=FLAT)
    assert (case.full, case.none) == (0.8, 0.2)
    assert Case(**{**vars(case), "tis": {1: 1.0}}).none is None


def test_a_setting_is_judged_once_and_averaged_over_places():
    first, second = make(flat=FLAT), make(flat=POOLED)
    evaluator = Evaluator([first, second])
    setting = Setting("cosine", 0.5, -1, "never")
    assert evaluator.mean_tis(setting, (0, 1)) == pytest.approx((0.2 + 0.8) / 2)
    assert evaluator.mean_tis(setting, (1,), "online") == 0.5
    assert evaluator.outcomes(setting) is evaluator.outcomes(setting)
    assert pickle.loads(pickle.dumps(evaluator)).outcomes(setting) == evaluator.outcomes(setting)

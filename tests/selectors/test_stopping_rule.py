"""StoppingRule in a loop of one's own, and the guard that no pretraining may be best."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import medtransfer
from medtransfer.errors import InputError
from medtransfer.selectors.none_is_best import prefer_none
from medtransfer.selectors.rules import RULES, Choice
from medtransfer.selectors.stopping_rule import StoppingRule

STOPPING = [name for name, rule in RULES.items() if rule.needs_epochs]
FALLING = {0: 0.9, 1: 0.5, 5: 0.4, 20: 0.3, 50: 0.2, 100: 0.8}
every_rule = pytest.mark.parametrize("name", STOPPING)


def seen(value: float) -> dict[str, float]:
    return {"value": value, "error": 0.01, "source_accuracy": 0.5}


@every_rule
def test_a_loop_ends_with_the_choice_of_the_rule(name):
    rule = StoppingRule(name)
    stops = [rule.update(epoch, seen(value)) for epoch, value in FALLING.items()]
    expected = RULES[name].choose({epoch: seen(value) for epoch, value in FALLING.items()})
    assert (rule.choice, rule.stopped_at) == (expected.candidate, expected.stopped_at)
    assert stops == [expected.stopped_at is not None and epoch >= expected.stopped_at for epoch in FALLING]


@every_rule
def test_lower_scores_may_be_better(name):
    rule, other = StoppingRule(name, higher_is_better=False), StoppingRule(name)
    for epoch, value in FALLING.items():
        assert rule.update(epoch, seen(-value)) == other.update(epoch, seen(value))
    assert rule.choice == other.choice


@every_rule
@pytest.mark.parametrize("at", range(len(FALLING)))
def test_a_resumed_loop_stops_at_the_same_epoch(name, at):
    whole, first = StoppingRule(name), StoppingRule(name)
    for number, (epoch, value) in enumerate(FALLING.items()):
        if number == at:
            state, first = json.loads(json.dumps(first.state_dict())), StoppingRule(name)
            first.load_state_dict(state)
            first = pickle.loads(pickle.dumps(first))
        assert whole.update(epoch, seen(value)) == first.update(epoch, seen(value))
    assert (whole.choice, whole.stopped_at, whole.state_dict()) == (first.choice, first.stopped_at, first.state_dict())


def test_a_number_is_enough_where_the_rule_needs_no_more():
    rule = medtransfer.StoppingRule("patience-1")
    assert [rule.update(epoch, value) for epoch, value in ((1, 0.5), (2, 0.6), (3, 0.6))] == [False, False, True]
    assert (rule.choice, rule.stopped_at, list(rule.seen)) == (3, 3, [1, 2, 3])


def test_misuse_is_refused_and_leaves_the_rule_as_it_was():
    with pytest.raises(InputError, match="expected the stopping rule out of first-drop, .*, but got 'best'"):
        StoppingRule("best")
    rule = StoppingRule("least-rise-2")
    with pytest.raises(ValueError, match="after epoch 0, but got none"):
        _ = rule.choice
    for wrong in (0.5, float("nan"), {"score": 0.5}, {"value": 0.5, "errors": 1}):
        with pytest.raises(ValueError, match="but got"):
            rule.update(1, wrong)
    assert not rule.update(1, {"value": 0.5, "error": 0.1})
    with pytest.raises(ValueError, match="after 1, but got 1"):
        rule.update(1, {"value": 0.5, "error": 0.1})
    assert list(rule.seen) == [1]
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = medtransfer.Nothing


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, "the score as a number, but got None"),
        ("0.3", "the score as a number, but got '0.3'"),
        ([0.3], r"the score as a number, but got \[0.3\]"),
        (1 + 2j, "the score as a number"),
        (np.array([0.7, 0.8]), r"the score as a number, but got an array of the shape \(2,\)"),
        (torch.tensor([0.7, 0.8]), r"an array of the shape \(2,\)"),
        ({"value": None}, "`value` as a number, but got None"),
        ({"value": "0.3"}, "`value` as a number, but got '0.3'"),
        ({"value": 0.3, "error": "none"}, "`error` as a number, but got 'none'"),
        ({"value": 0.3, "replicates": 0.3}, "`replicates` as a list of numbers, but got 0.3"),
        ({"value": 0.3, "replicates": [0.3, None]}, "`replicates` as a number, but got None"),
    ],
)
def test_what_is_no_score_is_refused_at_once(scores, message):
    rule = StoppingRule("patience-2")
    rule.update(1, 0.5)
    with pytest.raises(ValueError, match=message):
        rule.update(2, scores)
    assert list(rule.seen) == [1] and not rule.update(2, 0.6) and rule.choice == 2


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5], requires_grad=True), np.array([[0.5]])])
def test_a_single_number_may_be_of_any_kind(value):
    for scores in (value, {"value": value, "error": value, "source_accuracy": None, "replicates": np.float32([0.25, 0.75])}):
        rule = StoppingRule("first-drop")
        rule.update(np.int64(1), scores)
        assert json.loads(json.dumps(rule.state_dict()))["seen"][0][1]["value"] == 0.5
    assert rule.seen[1].error == 0.5 and rule.seen[1].replicates == [0.25, 0.75]


@pytest.mark.parametrize("epoch", ["2", 2.5, -1, None, float("nan"), float("inf"), [2]])
def test_what_is_no_epoch_is_refused(epoch):
    with pytest.raises(ValueError, match="the epoch as a whole number of at least 0, but got"):
        StoppingRule("patience-2").update(epoch, 0.5)


def test_an_epoch_may_be_a_whole_float():
    rule = StoppingRule("patience-2")
    rule.update(3.0, 0.5)
    assert rule.choice == 3 and isinstance(rule.choice, int)


@pytest.mark.parametrize(
    "state", [{}, None, [], {"seen": []}, {"seen": 5, "none_is_best": False}, {"seen": [1], "none_is_best": False}]
)
def test_what_is_no_state_is_refused_and_the_rule_stays(state):
    rule = StoppingRule("patience-2")
    rule.update(1, 0.5)
    with pytest.raises(ValueError, match="expected what StoppingRule.state_dict returns, .* but got"):
        rule.load_state_dict(state)
    with pytest.raises(ValueError, match="`value` as a number"):
        rule.load_state_dict({"seen": [[1, 0.4], [2, {"value": None}]], "none_is_best": True})
    assert (list(rule.seen), rule.choice) == ([1], 1)


@pytest.mark.parametrize("name", [None, 3, ["keep-stop"]])
def test_what_is_no_name_of_a_rule_is_refused(name):
    with pytest.raises(InputError, match="the stopping rule as a name out of first-drop, .*, but got"):
        StoppingRule(name)


def test_importing_the_package_loads_no_library():
    code = "import medtransfer, sys; print(sorted({'numpy', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("none", "pretrained", "compared", "epoch"),
    [
        ((0.6, 0.03), (0.5, 0.04), "undecided", 5),
        ((0.6, 0.003), (0.5, 0.004), "worse", 0),
        ((0.5, 0.003), (0.6, 0.004), "better", 5),
    ],
)
def test_the_guard_chooses_no_pretraining_only_where_it_is_clearly_better(none, pretrained, compared, epoch):
    """The error of the difference is .05, or .005; two of them decide."""
    outcomes = [{"value": value, "error": error} for value, error in (none, pretrained)]
    assert prefer_none(Choice(5, stopped_at=20), *outcomes) == Choice(epoch, stopped_at=20)
    rule = StoppingRule("first-drop")
    rule.update(5, 0.5)
    assert rule.compare_with_none(*outcomes) == compared
    copy = StoppingRule("first-drop")
    copy.load_state_dict(rule.state_dict())
    assert (rule.choice, copy.choice) == (epoch, epoch)


def test_the_guard_needs_errors():
    with pytest.raises(ValueError, match="expected standard errors"):
        prefer_none(Choice(5), 0.5, 0.6)

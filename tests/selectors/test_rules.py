"""Choices of a checkpoint on sequences small enough to see: ties, plateaus, epoch 0, missing epochs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.errors import InputError
from medtransfer.metrics.transfer import interpolate_fixed
from medtransfer.selectors.rules import SELECTIONS, Choice, OnlineRule, choose_offline, choose_online, fixed, offline, online

curves = st.dictionaries(st.integers(1, 300), st.integers(0, 9).map(float), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("scores", "choice"),
    [
        ({0: 0.1, 1: 0.5, 5: 0.4}, Choice(1)),
        ({0: 0.9, 1: 0.5}, Choice(0)),
        ({20: 0.7, 5: 0.7, 1: 0.2, 300: 0.7}, Choice(5, tied=(20, 300))),
        ({7: -1.5}, Choice(7)),
    ],
)
def test_offline(scores, choice):
    assert offline(scores) == choice


@pytest.mark.parametrize(
    ("scores", "choice"),
    [
        ({0: 0.9, 1: 0.1, 5: 0.2, 20: 0.15, 50: 0.8}, Choice(5, stopped_at=20)),
        ({50: 0.4, 1: 0.1, 20: 0.3, 5: 0.2}, Choice(50)),
        ({1: 0.5, 5: 0.4, 20: 0.9}, Choice(1, stopped_at=5)),
        ({1: 0.5, 5: 0.6, 20: 0.6, 50: 0.6}, Choice(5, tied=(20,), stopped_at=20)),
        ({0: 0.3, 1: 0.1}, Choice(1)),
    ],
)
def test_online(scores, choice):
    assert online(scores) == choice


@settings(max_examples=60)
@given(curves)
def test_rules_by_their_definition(scores):
    best = offline(scores)
    assert scores[best.epoch] == max(scores.values())
    assert all(epoch > best.epoch and scores[epoch] == scores[best.epoch] for epoch in best.tied)
    walk = online({0: 100.0, **scores})
    epochs = sorted(scores)
    seen = epochs[: epochs.index(walk.epoch) + 1]
    assert all(scores[a] < scores[b] for a, b in zip(seen, seen[1:], strict=False))
    later = epochs[len(seen) :]
    assert walk.stopped_at == (later[0] if later else None)
    assert walk.stopped_at is None or scores[walk.stopped_at] <= scores[walk.epoch]


@settings(max_examples=60)
@given(curves)
def test_choices_follow_keys_not_positions(scores):
    backwards = dict(reversed(list(scores.items())))
    for rule in SELECTIONS.values():
        assert rule(backwards) == rule(scores)


def test_rule_during_pretraining_says_when_to_stop():
    rule = OnlineRule()
    asked = [rule.observe(epoch, score) for epoch, score in [(0, 0.9), (1, 0.2), (5, 0.3), (20, 0.3), (50, 0.9)]]
    assert asked == [True, True, True, False, False]
    assert rule.choice == Choice(5, tied=(20,), stopped_at=20)


def test_rule_refuses_epochs_that_go_back():
    rule = OnlineRule()
    rule.observe(5, 0.1)
    with pytest.raises(ValueError, match="after 5, but got 5"):
        rule.observe(5, 0.2)


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(name, bad):
    with pytest.raises(ValueError, match="epoch 50"):
        SELECTIONS[name]({1: 0.5, 5: 0.4, 50: bad})


@pytest.mark.parametrize("name", SELECTIONS)
def test_no_scores_are_refused(name):
    with pytest.raises(ValueError, match="got none"):
        SELECTIONS[name]({})


def test_online_needs_more_than_the_random_initialisation():
    with pytest.raises(ValueError, match="after epoch 0"):
        online({0: 0.5})


def test_fixed_epoch():
    assert fixed({1: 0.5, 100: 0.4}, 100) == Choice(100)
    with pytest.raises(InputError, match="epoch 150.*1, 100 only"):
        fixed({100: 0.4, 1: 0.5}, 150)


draws = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 300), min_size=n, max_size=n, unique=True).map(sorted),
        st.lists(st.lists(st.integers(0, 4).map(float), min_size=n, max_size=n), min_size=1, max_size=6),
    )
)


@settings(max_examples=150)
@given(draws)
def test_choices_of_draws_are_those_of_the_rules(drawn):
    epochs, rows = drawn
    curves_drawn = [dict(zip(epochs, row, strict=True)) for row in rows]
    scores = np.array(rows)
    assert [epochs[place] for place in choose_offline(scores)] == [offline(curve).epoch for curve in curves_drawn]
    if epochs != [0]:
        assert [epochs[place] for place in choose_online(scores, epochs)] == [online(curve).epoch for curve in curves_drawn]


def test_choices_of_draws_keep_the_leading_axes():
    scores = np.array([[0.9, 0.1, 0.2], [0.3, 0.4, 0.4]])
    assert choose_offline(scores).tolist() == [0, 1]
    assert choose_online(scores, [0, 1, 5]).tolist() == [2, 1]
    assert choose_online(scores, [1, 5, 20]).tolist() == [0, 1]
    nested = np.stack([scores, scores[::-1]])  # (2, 2, 3)
    assert choose_offline(nested).tolist() == [[0, 1], [1, 0]]
    assert choose_online(nested, [0, 1, 5]).tolist() == [[2, 1], [1, 2]]
    assert int(choose_offline(scores[0])) == 0
    assert int(choose_online(scores[0], [0, 1, 5])) == 2


@pytest.mark.parametrize(("shape", "epochs", "said"), [((3, 1), [0], "after epoch 0"), ((3, 2), [1, 5, 20], "got 2")])
def test_draws_that_fit_no_epochs_are_refused(shape, epochs, said):
    with pytest.raises(ValueError, match=said):
        choose_online(np.zeros(shape), epochs)


def test_fixed_lengths_of_a_cost_between_two_are_their_mix():
    values = {100: 0.9, 0: 0.5, 20: 0.8}
    assert interpolate_fixed(values, 10) == pytest.approx(0.65)
    assert interpolate_fixed(values, 40) == pytest.approx(0.825)  # 3/4 of length 20 and 1/4 of 100 cost 40 and bring this
    assert [interpolate_fixed(values, epoch) for epoch in (0, 20, 100)] == [0.5, 0.8, 0.9]
    assert interpolate_fixed({50: 0.7}, 50) == 0.7


@pytest.mark.parametrize(
    ("values", "cost", "said"),
    [
        ({1: 0.5, 5: 0.6}, 0.5, "within the fixed lengths .*got 0.5"),
        ({1: 0.5, 5: 0.6}, 5.1, "got 5.1"),
        ({1: 0.5, 5: 0.6}, math.nan, "got nan"),
        ({1: 0.5, 5: math.nan}, 2, "epoch 5"),
        ({}, 2, "got none"),
    ],
)
def test_costs_that_no_fixed_length_has_are_refused(values, cost, said):
    with pytest.raises(ValueError, match=said):
        interpolate_fixed(values, cost)

"""Rules on sequences small enough to see, and what every entry of RULES promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.selectors.rules import RULES, Choice

BY_HAND = {
    "best": [
        ({0: 0.1, 1: 0.5, 5: 0.4}, Choice(1)),
        ({0: 0.9, 1: 0.5}, Choice(0)),
        ({20: 0.7, 5: 0.7, 1: 0.2, 300: 0.7}, Choice(5, tied=(20, 300))),
        ({7: -1.5}, Choice(7)),
        ({"swin": 0.2, "convnext": 0.9, "vit": 0.9}, Choice("convnext", tied=("vit",))),
    ],
    "first-drop": [
        ({0: 0.9, 1: 0.1, 5: 0.2, 20: 0.15, 50: 0.8}, Choice(5, stopped_at=20)),
        ({50: 0.4, 1: 0.1, 20: 0.3, 5: 0.2}, Choice(50)),
        ({1: 0.5, 5: 0.4, 20: 0.9}, Choice(1, stopped_at=5)),
        ({1: 0.5, 5: 0.6, 20: 0.6, 50: 0.6}, Choice(5, tied=(20,), stopped_at=20)),
        ({0: 0.3, 1: 0.1}, Choice(1)),
    ],
    "keep-stop": [
        ({0: 0.9, 1: 0.1, 5: 0.2, 20: 0.15, 50: 0.8}, Choice(20, stopped_at=20)),
        ({50: 0.4, 1: 0.1, 20: 0.3, 5: 0.2}, Choice(50)),
        ({1: 0.5, 5: 0.6, 20: 0.6, 50: 0.6}, Choice(20, tied=(5,), stopped_at=20)),
        ({0: 0.3, 1: 0.1}, Choice(1)),
    ],
}
every_rule = pytest.mark.parametrize("name", RULES)
curves = st.dictionaries(st.integers(1, 300), st.integers(0, 9).map(float), min_size=1, max_size=10)
draws = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 300), min_size=n, max_size=n, unique=True).map(sorted).filter(lambda epochs: epochs != [0]),
        st.lists(st.lists(st.integers(0, 4).map(float), min_size=n, max_size=n), min_size=1, max_size=6),
    )
)


def test_every_rule_is_worked_out_by_hand():
    assert BY_HAND.keys() == RULES.keys()


@pytest.mark.parametrize(("name", "scores", "choice"), [(name, *case) for name, cases in BY_HAND.items() for case in cases])
def test_choices_by_hand(name, scores, choice):
    assert RULES[name].choose(scores) == choice


@every_rule
@given(scores=curves)
def test_choices_follow_keys_not_positions(name, scores):
    assert RULES[name].choose(dict(reversed(scores.items()))) == RULES[name].choose(scores)


@every_rule
@given(scores=curves)
def test_a_tie_has_the_score_of_the_choice(name, scores):
    choice = RULES[name].choose(scores)
    assert all(scores[tied] == scores[choice.candidate] and tied != choice.candidate for tied in choice.tied)


@every_rule
@given(scores=curves)
def test_the_rule_online_makes_the_choice_over_stored_scores(name, scores):
    """A pretraining that observes each checkpoint and stops when told to ends with the same choice; more changes nothing."""
    rule, observed = RULES[name](), []
    for epoch in sorted(scores):
        observed.append(epoch)
        if not rule.observe(epoch, scores[epoch]):
            break
    assert rule.choice == RULES[name].choose(scores)
    assert rule.choice.stopped_at == (observed[-1] if len(observed) < len(scores) or rule.choice.stopped_at else None)
    if rule.choice.stopped_at is not None:
        before = rule.choice
        assert not rule.observe(1000, 100.0)
        assert rule.choice == before


@every_rule
@given(drawn=draws)
def test_choices_of_draws_are_those_of_the_rule(name, drawn):
    epochs, rows = drawn
    expected = [RULES[name].choose(dict(zip(epochs, row, strict=True))).candidate for row in rows]
    assert [epochs[index] for index in RULES[name].choose_many(np.array(rows), epochs)] == expected


@every_rule
def test_choices_of_draws_keep_the_leading_axes(name):
    scores = np.random.default_rng(0).integers(0, 4, (2, 3, 4)).astype(float)
    chosen = RULES[name].choose_many(scores, [0, 1, 5, 20])
    assert chosen.shape == (2, 3)
    assert chosen.tolist() == [RULES[name].choose_many(row, [0, 1, 5, 20]).tolist() for row in scores]


@every_rule
def test_draws_need_one_score_per_candidate(name):
    with pytest.raises(ValueError, match="got 2"):
        RULES[name].choose_many(np.zeros((3, 2)), [1, 5, 20])


@every_rule
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(name, bad):
    with pytest.raises(ValueError, match="epoch 50"):
        RULES[name].choose({1: 0.5, 5: 0.4, 50: bad})
    with pytest.raises(ValueError, match="epoch 50"):
        RULES[name]().observe(50, bad)


@every_rule
def test_no_scores_are_refused(name):
    with pytest.raises(ValueError, match="got none"):
        RULES[name].choose({})
    with pytest.raises(ValueError, match="got none"):
        _ = RULES[name]().choice


@given(curves)
def test_best_by_its_definition(scores):
    best = RULES["best"].choose(scores)
    assert scores[best.candidate] == max(scores.values())
    assert best.tied == tuple(sorted(e for e in scores if scores[e] == scores[best.candidate] and e != best.candidate))
    assert all(epoch > best.candidate for epoch in best.tied)


@given(curves)
def test_first_drop_by_its_definition(scores):
    walk = RULES["first-drop"].choose({0: 100.0, **scores})
    epochs = sorted(scores)
    kept = epochs[: epochs.index(walk.candidate) + 1]
    assert all(scores[a] < scores[b] for a, b in zip(kept, kept[1:], strict=False))
    later = epochs[len(kept) :]
    assert walk.stopped_at == (later[0] if later else None)
    assert walk.stopped_at is None or scores[walk.stopped_at] <= scores[walk.candidate]


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.needs_epochs])
def test_stopping_rules_need_epochs_in_order(name):
    with pytest.raises(ValueError, match="after epoch 0"):
        RULES[name].choose({0: 0.5})
    with pytest.raises(ValueError, match="after epoch 0"):
        RULES[name].choose_many(np.zeros((3, 1)), [0])
    rule = RULES[name]()
    rule.observe(5, 0.1)
    with pytest.raises(ValueError, match="after 5, but got 5"):
        rule.observe(5, 0.2)

"""Rules on sequences small enough to see, and what every entry of RULES promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.errors import InputError
from medtransfer.selectors.rules import RULES, Choice, Observation, find_stopping_rule
from medtransfer.selectors.rules.observation import rise

pytestmark = pytest.mark.long


def OF(value: float, accuracy: float) -> Observation:
    return Observation(value, source_accuracy=accuracy)


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
    "patience": [  # 2
        ({0: 0.9, 1: 0.1, 5: 0.3, 20: 0.2, 50: 0.25, 100: 0.9}, Choice(50, stopped_at=50)),
        ({1: 0.5, 5: 0.4, 20: 0.6, 50: 0.55}, Choice(50)),
        ({1: 0.5, 5: 0.5, 20: 0.5}, Choice(20, tied=(1, 5), stopped_at=20)),
    ],
    "least-rise": [  # 1 standard error; that of two independent errors of .03 and .04 is .05
        ({1: Observation(0.1, 0.03), 5: Observation(0.16, 0.04), 20: Observation(0.2, 0.03)}, Choice(20, stopped_at=20)),
        ({1: Observation(0.1, 0.03), 5: Observation(0.16, 0.04), 20: Observation(0.22, 0.03)}, Choice(20)),
        ({5: Observation(0.5, 9.0, None, [0.4, 0.6]), 20: Observation(0.55, 9.0, None, [0.45, 0.65])}, Choice(20)),
    ],
    "smoothed": [  # over 2: 0.2, 0.4, 0.55, 0.4
        ({0: 0.9, 1: 0.2, 5: 0.6, 20: 0.5, 50: 0.3, 100: 0.9}, Choice(50, stopped_at=50)),
        ({1: 0.2, 5: 0.6, 20: 0.5}, Choice(20)),
        ({1: 0.5, 5: 0.5}, Choice(5, tied=(1,), stopped_at=5)),
    ],
    "with-accuracy": [  # .05
        ({1: OF(0.5, 0.1), 5: OF(0.4, 0.3), 20: OF(0.3, 0.305), 50: OF(0.2, 0.9)}, Choice(20, stopped_at=20)),
        ({1: OF(0.5, 0.1), 5: OF(0.6, 0.1), 20: OF(0.55, 0.2)}, Choice(20)),
    ],
}
every_rule = pytest.mark.parametrize("name", RULES)
by_scores = pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.needs])
EQUAL = ("patience-1", "least-rise-0", "smoothed-1")  # to keep-stop
curves = st.dictionaries(st.integers(1, 300), st.integers(0, 9).map(float), min_size=1, max_size=10)
draws = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 300), min_size=n, max_size=n, unique=True).map(sorted).filter(lambda epochs: epochs != [0]),
        st.lists(st.lists(st.integers(0, 4).map(float), min_size=n, max_size=n), min_size=1, max_size=6),
    )
)


def observed(scores: dict[int, float]) -> dict[int, Observation]:
    """Add what some rules need: errors, and an accuracy that rises with the epoch."""
    return {epoch: Observation(score, 0.5, epoch / 1000) for epoch, score in scores.items()}


def test_every_rule_is_worked_out_by_hand():
    assert BY_HAND.keys() == RULES.keys()


@pytest.mark.parametrize(("name", "scores", "choice"), [(name, *case) for name, cases in BY_HAND.items() for case in cases])
def test_choices_by_hand(name, scores, choice):
    assert RULES[name].choose(scores) == choice


@every_rule
@given(scores=curves)
def test_choices_follow_keys_not_positions(name, scores):
    seen = observed(scores)
    assert RULES[name].choose(dict(reversed(seen.items()))) == RULES[name].choose(seen)


@every_rule
@given(scores=curves)
def test_a_tie_has_the_score_of_the_choice(name, scores):
    choice = RULES[name].choose(observed(scores))
    assert all(scores[tied] == scores[choice.candidate] and tied != choice.candidate for tied in choice.tied)


@every_rule
@given(scores=curves)
def test_the_rule_online_makes_the_choice_over_stored_scores(name, scores):
    """A pretraining that observes each checkpoint and stops when told to ends with the same choice; more changes nothing."""
    rule, epochs, seen = RULES[name](), [], observed(scores)
    for epoch in sorted(scores):
        epochs.append(epoch)
        if not rule.observe(epoch, seen[epoch]):
            break
    assert rule.choice == RULES[name].choose(seen)
    assert rule.choice.stopped_at == (epochs[-1] if len(epochs) < len(scores) or rule.choice.stopped_at else None)
    if rule.choice.stopped_at is not None:
        before = rule.choice
        assert not rule.observe(1000, Observation(100.0, 0.0, 1.0))
        assert rule.choice == before


@by_scores
@given(drawn=draws)
def test_choices_of_draws_are_those_of_the_rule(name, drawn):
    epochs, rows = drawn
    expected = [RULES[name].choose(dict(zip(epochs, row, strict=True))).candidate for row in rows]
    assert [epochs[index] for index in RULES[name].choose_many(np.array(rows), epochs)] == expected


@by_scores
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
        RULES[name].choose(observed({1: 0.5, 5: 0.4, 50: bad}))
    for broken in (Observation(bad, 0.1, 0.1), Observation(0.1, bad, 0.1), Observation(0.1, 0.1, bad), Observation(0.1, -1.0, 0.1)):
        with pytest.raises(ValueError, match="epoch 50"):
            RULES[name]().observe(50, broken)


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
        RULES[name].choose(observed({0: 0.5}))
    if not RULES[name].needs:
        with pytest.raises(ValueError, match="after epoch 0"):
            RULES[name].choose_many(np.zeros((3, 1)), [0])
    rule, (seen,) = RULES[name](), observed({5: 0.1}).values()
    rule.observe(5, seen)
    with pytest.raises(ValueError, match="after 5, but got 5"):
        rule.observe(5, seen)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.needs])
def test_what_a_rule_needs_is_asked_for_at_once(name):
    """At epoch 0, which takes no part, so that a long training does not end in an error."""
    (need,) = RULES[name].needs
    with pytest.raises(ValueError, match=f"{need.replace('_', ' ')} of epoch 0 for {RULES[name].title}"):
        RULES[name]().observe(0, 0.5)
    with pytest.raises(ValueError, match="but got none"):
        RULES[name].choose_many(np.zeros((3, 2)), [1, 5])


@given(curves)
def test_rules_with_a_parameter_extend_keep_stop(scores):
    choices = [find_stopping_rule(name, "a rule").choose(observed(scores)) for name in (*EQUAL, "keep-stop")]
    assert len(set(choices)) == 1


@given(curves)
def test_a_higher_parameter_stops_no_earlier_or_no_later(scores):
    for family, more_patient in (("patience", True), ("least-rise", False), ("with-accuracy", True)):
        values = RULES[family].parameter.tried
        choices = [find_stopping_rule(f"{family}-{value:g}", "a rule").choose(observed(scores)) for value in values]
        stops = [choice.stopped_at or math.inf for choice in choices]
        assert stops == sorted(stops, reverse=not more_patient) or family == "with-accuracy"


@given(curves, st.integers(1, 4))
def test_patience_by_its_definition(scores, patience):
    """The stop is the first checkpoint after which `patience` ones in a row, itself included, are no new best."""
    epochs = sorted(scores)
    records = [scores[e] > max((scores[d] for d in epochs[:i]), default=-math.inf) for i, e in enumerate(epochs)]
    stop = next((e for i, e in enumerate(epochs) if i >= patience and not any(records[i - patience + 1 : i + 1])), None)
    assert find_stopping_rule(f"patience-{patience}", "a rule").choose(scores).stopped_at == stop


def test_the_error_of_a_rise_is_paired_where_it_can_be():
    """Against the jackknife of the mean difference of ten values, whose error is the spread over the square root of ten."""
    before, after = np.random.default_rng(0).normal(size=(2, 10))
    left = [[float((x.sum() - x[i]) / 9) for i in range(10)] for x in (before, after)]
    pair = [Observation(float(x.mean()), 1.0, None, values) for x, values in zip((before, after), left, strict=True)]
    difference = after - before
    assert rise(*pair) == pytest.approx((difference.mean(), difference.std(ddof=1) / math.sqrt(10)), rel=1e-12)
    assert rise(Observation(1.0, 3.0), Observation(2.0, 4.0)) == (1.0, 5.0)
    with pytest.raises(ValueError, match="standard errors or replicates"):
        rise(Observation(1.0, 3.0), Observation(2.0))


@pytest.mark.parametrize(
    ("name", "message"),
    {
        "patience-0": "patience-<checkpoints without a new best>, a whole number of at least 1, but got 'patience-0'",
        "patience-1.5": "a whole number", "patience-nan": "a whole number", "patience-": "a whole number",
        "least-rise--1": "out of first-drop", "least-rise-inf": "a number of at least 0, but",
        "with-accuracy-5": "of the source accuracy>, a number of at least 0 and at most 1, but got 'with-accuracy-5'",
        "keep-stop-2": "out of first-drop",
        "best": "out of first-drop, keep-stop, patience",
    }.items(),
)  # fmt: skip
def test_names_of_rules_that_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        find_stopping_rule(name, "the rule")


def test_a_name_sets_the_parameter_and_the_title():
    rule = find_stopping_rule("with-accuracy-0.02", "the rule")
    assert (rule.amount, rule.title) == (0.02, "the rule with-accuracy-0.02")
    assert RULES["with-accuracy"].amount == 0.05

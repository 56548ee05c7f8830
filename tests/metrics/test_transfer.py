"""TIS, seed means and rank correlation against hand-made values, joined by key whatever the order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.errors import InputError
from medtransfer.metrics.transfer import (
    CORRELATIONS,
    interpolate_fixed,
    kendall,
    mean_over_seeds,
    regret,
    spearman,
    tis_random,
    transferability_indicator_score,
    weighted_kendall,
)

DICE = {0: 0.4, 1: 0.6, 5: 0.8, 20: 0.7}


def test_tis_is_relative_to_the_best_and_regret_is_what_it_has_more():
    assert [transferability_indicator_score(DICE, epoch) for epoch in DICE] == pytest.approx([0.5, 0.75, 1, 0.875])
    assert tis_random(DICE) == pytest.approx(2.5 / 4 / 0.8)
    assert regret(DICE, 5) == 0
    assert regret(DICE, 0) == pytest.approx(0.4)
    assert regret({1: 0.0, 5: 0.0}, 5) == 0
    encoders = {"swin": 0.8, "vit": 0.6}  # candidates that are no epochs
    assert transferability_indicator_score(encoders, "vit") == pytest.approx(0.75)
    assert regret(encoders, "vit") == pytest.approx(0.2)
    for function in (transferability_indicator_score, regret):
        with pytest.raises(InputError, match="mean outcome for epoch 300.*0, 1, 5, 20 only"):
            function(DICE, 300)
        with pytest.raises(InputError, match="mean outcome for resnet50, but got those of candidates swin, vit only"):
            function(encoders, "resnet50")
        with pytest.raises(ValueError, match="epoch 5"):
            function({1: 0.5, 5: math.nan}, 1)


def test_undefined_tis():
    for dice, message in (({}, "got none"), ({1: 0.0, 5: 0.0}, "undefined"), ({1: 0.5, 5: math.nan}, "epoch 5")):
        with pytest.raises(ValueError, match=message):
            transferability_indicator_score(dice, 1)
        with pytest.raises(ValueError, match=message):
            tis_random(dice)


def test_means_of_the_same_values_are_equal_in_whatever_order_they_are_summed():
    """(0.6 + 0.61) + 0.7 is 1.91 but for rounding, (0.61 + 0.7) + 0.6 is not the same number."""
    result = mean_over_seeds({(e, s): v for e, values in ((1, (0.6, 0.61, 0.7)), (5, (0.61, 0.7, 0.6)), (9, (0.6, 0.61, 0.71)))
                              for s, v in enumerate(values)})  # fmt: skip
    assert result[1].mean == result[5].mean == pytest.approx(1.91 / 3, abs=1e-15)
    assert result[9].mean == pytest.approx(1.92 / 3, abs=1e-15)


def test_mean_over_seeds():
    result = mean_over_seeds({(5, 2): 0.6, (1, 1): 0.5, (5, 1): 0.8, (5, 3): 0.7})
    assert list(result) == [1, 5]
    assert (result[5].mean, result[5].std, result[5].n) == (pytest.approx(0.7), pytest.approx(0.1), 3)
    assert (result[1].mean, result[1].n) == (0.5, 1)
    assert math.isnan(result[1].std)
    assert list(mean_over_seeds({("vit", 1): 0.6, ("swin", 1): 0.8})) == ["swin", "vit"]
    for dice, message in (({}, "got none"), ({(1, 1): math.nan}, "epoch 1")):
        with pytest.raises(ValueError, match=message):
            mean_over_seeds(dice)


def test_spearman_joins_by_key_and_ties_have_mean_ranks():
    scores = {1: 0.1, 5: 0.2, 20: 0.3, 50: 0.4}
    dice = {50: 0.9, 20: 0.7, 5: 0.8, 1: 0.1, 300: 0.0}
    result = spearman(scores, dice)
    assert result.value == pytest.approx(1 - 6 * 2 / (4 * 15))  # ranks 1 3 2 4: sum of squared differences 2
    assert (result.n, result.constant) == (4, False)
    result = spearman({1: 0.5, 2: 0.5, 3: 0.9}, {1: 0.1, 2: 0.2, 3: 0.3})
    assert result.value == pytest.approx(np.corrcoef([1.5, 1.5, 3], [1, 2, 3])[0, 1])


def test_kendall_counts_pairs_and_corrects_for_ties():
    assert kendall({1: 0.1, 5: 0.2, 20: 0.3}, {1: 0.1, 5: 0.3, 20: 0.2}).value == pytest.approx(1 / 3)  # 2 pairs agree, 1 does not
    result = kendall({1: 0.5, 5: 0.5, 20: 0.9}, {1: 0.1, 5: 0.2, 20: 0.3})
    assert result.value == pytest.approx(2 / math.sqrt(2 * 3))  # 2 agree, 1 is tied in the scores


def brute_weighted(scores: dict[int, float], dice: dict[int, float]) -> float:
    """Sum over pairs by the definition, ranks by Dice, equal Dice by score."""
    ranked = sorted(scores, key=lambda epoch: (dice[epoch], scores[epoch]), reverse=True)

    def inner(a: dict[int, float], b: dict[int, float]) -> float:
        return sum(
            (1 / (r + 1) + 1 / (s + 1)) * np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])
            for r, i in enumerate(ranked) for s, j in enumerate(ranked) if r < s
        )  # fmt: skip

    return inner(scores, dice) / math.sqrt(inner(scores, scores) * inner(dice, dice))


tables = st.integers(2, 8).flatmap(lambda n: st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=n, max_size=n))


@settings(max_examples=40)
@given(tables)
def test_weighted_kendall_by_its_definition(rows):
    scores, dice = ({epoch: row[side] / 4 for epoch, row in enumerate(rows)} for side in (0, 1))
    result = weighted_kendall(scores, dice)
    if not result.constant:
        assert result.value == pytest.approx(brute_weighted(scores, dice), abs=1e-12)


def test_weighted_kendall_weighs_swaps_of_the_best_more():
    dice = {1: 0.4, 5: 0.3, 20: 0.2, 50: 0.1}
    best_swapped, worst_swapped = {**dice, 1: 0.3, 5: 0.4}, {**dice, 20: 0.1, 50: 0.2}
    assert weighted_kendall(best_swapped, dice).value == pytest.approx(1 - 2 * 1.5 / 6.25)  # weights of six pairs: 6.25
    assert weighted_kendall(worst_swapped, dice).value == pytest.approx(1 - 2 * (1 / 3 + 1 / 4) / 6.25)


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_correlations_of_a_monotone_relation_are_one(name, sign):
    dice = {0: 0.1, 1: 0.2, 5: 0.25, 20: 0.9}
    result = CORRELATIONS[name]({epoch: sign * value**3 for epoch, value in dice.items()}, dice)
    assert (result.value, result.n, result.constant) == (pytest.approx(sign), 4, False)


@pytest.mark.parametrize("name", CORRELATIONS)
@settings(max_examples=40)
@given(tables, st.randoms(use_true_random=False))
def test_correlations_do_not_depend_on_the_order_of_rows(name, rows, random):
    shuffled = random.sample(rows, len(rows))
    first, again = (
        CORRELATIONS[name](*({epoch: row[side] / 4 for epoch, row in enumerate(table)} for side in (0, 1)))
        for table in (rows, shuffled)
    )
    assert first.constant == again.constant
    assert first.value == pytest.approx(again.value, abs=1e-12, nan_ok=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize(
    ("scores", "dice"), [({1: 0.5}, {1: 0.1}), ({1: 0.5, 5: 0.5}, {1: 0.1, 5: 0.2}), ({1: 0.5, 5: 0.6}, {1: 0.1, 5: 0.1})]
)
def test_correlation_with_a_constant_is_nan_and_flagged(name, scores, dice):
    result = CORRELATIONS[name](scores, dice)
    assert math.isnan(result.value)
    assert result.constant


@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations_name_what_is_missing_or_not_finite(name):
    with pytest.raises(InputError, match="epoch 20"):
        CORRELATIONS[name]({1: 0.5, 20: 0.6}, {1: 0.5})
    with pytest.raises(ValueError, match="a score that is finite for epoch 5"):
        CORRELATIONS[name]({1: 0.5, 5: math.nan}, {1: 0.5, 5: 0.1})
    with pytest.raises(ValueError, match="a mean outcome that is finite for epoch 5"):
        CORRELATIONS[name]({1: 0.5, 5: 0.1}, {1: 0.5, 5: math.inf})
    with pytest.raises(ValueError, match="got none"):
        CORRELATIONS[name]({}, {1: 0.5})


def test_fixed_lengths_of_a_cost_between_two_are_their_mix():
    values = {100: 0.9, 0: 0.5, 20: 0.8}
    assert interpolate_fixed(values, 10) == pytest.approx(0.65)
    assert interpolate_fixed(values, 40) == pytest.approx(0.825)  # 3/4 of length 20 and 1/4 of 100 cost 40 and bring this
    assert [interpolate_fixed(values, epoch) for epoch in (0, 20, 100)] == [0.5, 0.8, 0.9]
    assert interpolate_fixed({50: 0.7}, 50) == 0.7


@pytest.mark.parametrize(
    ("values", "cost", "message"),
    [
        ({1: 0.5, 5: 0.6}, 0.5, "within the fixed lengths .*got 0.5"),
        ({1: 0.5, 5: 0.6}, 5.1, "got 5.1"),
        ({1: 0.5, 5: 0.6}, math.nan, "got nan"),
        ({1: 0.5, 5: math.nan}, 2, "epoch 5"),
        ({}, 2, "got none"),
    ],
)
def test_costs_that_no_fixed_length_has_are_refused(values, cost, message):
    with pytest.raises(ValueError, match=message):
        interpolate_fixed(values, cost)

"""TIS, seed means and rank correlation against hand-made values, joined by key whatever the order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.errors import InputError
from medtransfer.metrics.transfer import (
    SeedMean,
    mean_over_seeds,
    spearman,
    tis_random,
    transferability_indicator_score,
)

DICE = {0: 0.4, 1: 0.6, 5: 0.8, 20: 0.7}


def test_tis_is_relative_to_the_best():
    assert transferability_indicator_score(DICE, 5) == 1
    assert transferability_indicator_score(DICE, 0) == pytest.approx(0.5)
    assert tis_random(DICE) == pytest.approx(2.5 / 4 / 0.8)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 300), st.floats(0.01, 1), min_size=1))
def test_tis_is_at_most_one_and_random_is_its_mean(dice):
    each = [transferability_indicator_score(dice, epoch) for epoch in dice]
    assert max(each) == 1
    assert tis_random(dice) == pytest.approx(np.mean(each))


def test_missing_epoch_is_named():
    with pytest.raises(InputError, match="mean Dice for epoch 300.*0, 1, 5, 20 only"):
        transferability_indicator_score(DICE, 300)


@pytest.mark.parametrize(("dice", "said"), [({}, "got none"), ({1: 0.0, 5: 0.0}, "undefined"), ({1: 0.5, 5: math.nan}, "epoch 5")])
def test_undefined_tis(dice, said):
    with pytest.raises(ValueError, match=said):
        transferability_indicator_score(dice, 1)
    with pytest.raises(ValueError, match=said):
        tis_random(dice)


def test_mean_over_seeds():
    found = mean_over_seeds({(5, 2): 0.6, (1, 1): 0.5, (5, 1): 0.8, (5, 3): 0.7})
    assert list(found) == [1, 5]
    assert (found[5].mean, found[5].std, found[5].n) == (pytest.approx(0.7), pytest.approx(0.1), 3)
    assert (found[1].mean, found[1].n) == (0.5, 1)
    assert math.isnan(found[1].std)
    assert isinstance(found[1], SeedMean)


@pytest.mark.parametrize(("dice", "said"), [({}, "got none"), ({(1, 1): math.nan}, "epoch 1")])
def test_mean_over_seeds_refuses_nothing_and_nan(dice, said):
    with pytest.raises(ValueError, match=said):
        mean_over_seeds(dice)


def test_spearman_joins_by_key():
    scores = {1: 0.1, 5: 0.2, 20: 0.3, 50: 0.4}
    dice = {50: 0.9, 20: 0.7, 5: 0.8, 1: 0.1, 300: 0.0}
    found = spearman(scores, dice)
    assert found.value == pytest.approx(1 - 6 * 2 / (4 * 15))  # ranks 1 3 2 4: sum of squared differences 2
    assert (found.n, found.constant) == (4, False)


def test_spearman_with_ties_is_pearson_of_mean_ranks():
    found = spearman({1: 0.5, 2: 0.5, 3: 0.9}, {1: 0.1, 2: 0.2, 3: 0.3})
    assert found.value == pytest.approx(np.corrcoef([1.5, 1.5, 3], [1, 2, 3])[0, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scores", [{1: 0.5}, {1: 0.5, 5: 0.5}])
def test_spearman_of_a_constant_is_nan_and_flagged(scores):
    found = spearman(scores, {1: 0.1, 5: 0.2})
    assert math.isnan(found.value)
    assert found.constant


def test_spearman_names_the_epoch_without_dice():
    with pytest.raises(InputError, match="epoch 20"):
        spearman({1: 0.5, 20: 0.6}, {1: 0.5})

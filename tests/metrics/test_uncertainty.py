"""Bootstrap draws against exact moments and enumeration; the set of the best against Welch's test, by hand and by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtransfer.metrics.uncertainty import (
    bootstrap_seed_means,
    confidence_set,
    draw_images,
    interval,
    probability_best,
)

DICE = {20: [0.7, 0.72, 0.71, 0.74, 0.68], 1: [0.5, 0.6], 5: [0.65, 0.65, 0.65]}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_seed_means_have_the_moments_of_a_mean():
    drawn = bootstrap_seed_means(DICE, 40_000, generator())
    assert drawn.shape == (40_000, 3)
    means = [np.mean(DICE[epoch]) for epoch in (1, 5, 20)]
    errors = [stats.sem(DICE[epoch]) for epoch in (1, 5, 20)]
    assert drawn.mean(axis=0) == pytest.approx(means, abs=1e-3)
    assert drawn.std(axis=0) == pytest.approx(errors, rel=0.02, abs=1e-12)
    assert np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1] == pytest.approx(0, abs=0.02)
    half = 0.05 * np.sqrt(2)  # two seeds give three means around theirs
    assert np.unique(drawn[:, 0].round(12)) == pytest.approx([0.55 - half, 0.55, 0.55 + half])
    first = bootstrap_seed_means(DICE, 50, generator(3))
    assert np.array_equal(first, bootstrap_seed_means(dict(sorted(DICE.items())), 50, generator(3)))
    assert not np.array_equal(first, bootstrap_seed_means(DICE, 50, generator(4)))
    for dice, message in (({}, "got none"), ({1: [0.1, 0.2], 5: [0.3]}, "2 seeds for epoch 5, but got 1"), ({1: []}, "got 0")):
        with pytest.raises(ValueError, match=message):
            bootstrap_seed_means(dice, 10, generator())


def test_drawn_images_are_multinomial():
    taken = draw_images(5, 20_000, generator())
    assert taken.shape == (20_000, 5)
    assert np.all(taken.sum(axis=1) == 5)
    assert np.all((taken >= 0) & (taken == taken.round()))
    assert np.cov(taken.T) == pytest.approx(stats.multinomial(5, [0.2] * 5).cov(), abs=0.03)
    assert np.array_equal(taken[:100], draw_images(5, 100, generator()))


@pytest.mark.parametrize(("confidence", "expected"), [(0.9, (5, 95)), (0.5, (25, 75)), (0.95, (2.5, 97.5))])
def test_interval_takes_percentiles(confidence, expected):
    assert interval(np.arange(101.0), confidence) == pytest.approx(expected)
    low, high = interval(np.stack([np.arange(101.0), np.full(101, 7.0)], axis=1), confidence)
    assert low == pytest.approx([expected[0], 7])
    assert high == pytest.approx([expected[1], 7])


def test_probability_best_shares_ties():
    drawn = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.1], [0.4, 0.4, 0.4], [0.9, 0.1, 0.2]])
    expected = [(1 / 2 + 1 / 3 + 1) / 4, (1 / 2 + 1 / 3) / 4, (1 + 1 / 3) / 4]
    assert probability_best(drawn) == pytest.approx(expected)
    assert probability_best(np.zeros((5, 1))).tolist() == [1.0]


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_probabilities_of_being_best_sum_to_one(seed, epochs):
    drawn = generator(seed).integers(0, 4, size=(30, epochs)) / 4
    result = probability_best(drawn)
    assert result.sum() == pytest.approx(1)
    order = generator(seed).permutation(epochs)
    assert probability_best(drawn[:, order]) == pytest.approx(result[order])


def brute_set(dice: dict[int, list[float]], confidence: float) -> set[int]:
    """Leave out what any other beats in scipy's own Welch test."""
    worse = {
        loser for winner, loser in itertools.permutations(dice, 2)
        if stats.ttest_ind(dice[winner], dice[loser], equal_var=False, alternative="greater").pvalue
        < (1 - confidence) / (len(dice) - 1)
    }  # fmt: skip
    return set(dice) - worse


curves = st.dictionaries(
    st.integers(0, 300), st.lists(st.integers(0, 1000).map(lambda value: value / 1000), min_size=3, max_size=6, unique=True),
    min_size=2, max_size=5,
)  # fmt: skip


@settings(max_examples=30)
@given(curves, st.randoms(use_true_random=False))
def test_set_equals_welchs_and_holds_the_best_mean(dice, random):
    result = confidence_set(dice, 0.9)
    assert set(result) == brute_set(dice, 0.9)
    assert list(result) == sorted(result)
    assert max(dice, key=lambda epoch: np.mean(dice[epoch])) in result
    epochs = random.sample(sorted(dice), len(dice))
    assert confidence_set({epoch: random.sample(dice[epoch], len(dice[epoch])) for epoch in epochs}, 0.9) == result
    assert set(result) <= set(confidence_set(dice, 0.99))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ({7: [0.1, 0.2]}, (7,)),
        ({1: [0.5, 0.5], 5: [0.6, 0.6], 20: [0.6, 0.6]}, (5, 20)),  # no spread: the means decide
        ({1: [0.3, 0.3, 0.3], 5: [0.1 + 0.2, 0.3, 0.3]}, (1, 5)),  # equal but for rounding
        ({1: [0.1], 5: [0.9, 0.91, 0.92], 20: [0.5, 0.51, 0.52]}, (1, 5)),  # one seed is never excluded
        ({1: [0.9], 5: [0.1, 0.1]}, (1, 5)),
        ({1: [0.2, 0.2, 0.2], 5: [0.8, 0.81, 0.82]}, (5,)),  # one side without spread
        ({1: [0.2, 0.9], 5: [0.8, 0.9]}, (1, 5)),
    ],
)
def test_set_in_corner_cases(dice, expected):
    assert confidence_set(dice, 0.95) == expected


def test_level_is_shared_by_the_rivals():
    low, high = [0.50, 0.52, 0.54], [0.55, 0.57, 0.59]
    p_value = stats.ttest_ind(high, low, equal_var=False, alternative="greater").pvalue
    assert 0.05 / 3 < p_value < 0.05
    assert confidence_set({1: low, 5: high}, 0.95) == (5,)
    assert 1 in confidence_set({1: low, 5: high, 20: [0.1, 0.11, 0.12], 50: [0.2, 0.21, 0.22]}, 0.95)


@pytest.mark.parametrize("means", [(0.8, 0.8, 0.8), (0.8, 0.79, 0.7)])
def test_set_holds_the_truly_best_as_often_as_promised(means):
    rng, trials = generator(11), 300
    kept = sum(
        0 in confidence_set({epoch: rng.normal(mean, 0.01 * (epoch + 1), size=5).tolist() for epoch, mean in enumerate(means)}, 0.9)
        for _ in range(trials)
    )
    assert kept / trials >= 0.9 - 2 * np.sqrt(0.9 * 0.1 / trials)

"""Subsets: numbers and shares, nested, balanced, in proportion, repeated where a class is too small; tables made by hand."""

from collections import Counter

import numpy as np
import pytest

from medtransfer.data.subsets import count_of, draw, random_order
from medtransfer.errors import InputError

NAMES = [f"{i}.png" for i in range(100)]
SINGLE = np.eye(3, dtype=bool)[[0] * 60 + [1] * 32 + [2] * 8]
SEVERAL = np.random.default_rng(3).random((100, 3)) < [0.5, 0.3, 0.1]  # some show none


@pytest.mark.parametrize(
    ("size", "available", "count"),
    [(20, 100, 20), (100, 100, 100), (0.05, 1475, 74), (0.05, 7375, 369), (0.05, 50, 3), (0.01, 100, 1), (0.145, 100, 15)],
)  # 73.75, 368.75, 2.5 and 14.5 (a float just below it) are rounded half up
def test_shares_are_rounded_half_up(size, available, count):
    assert count_of(size, available) == count


@pytest.mark.parametrize(("size", "available"), [(101, 100), (0.001, 100)])
def test_a_subset_has_at_least_one_image_and_no_more_than_there_are(size, available):
    with pytest.raises(InputError, match=f"from 1 to the {available} training images that are left, but got {size}"):
        count_of(size, available)


@pytest.mark.parametrize("equal", [True, False])
def test_a_smaller_subset_is_the_beginning_of_a_larger_one_and_the_seed_decides(equal):
    drawn = {count: draw(NAMES, SINGLE, count, (7, 0), equal=equal) for count in (5, 20, 100)}
    assert drawn[5] == drawn[20][:5] and drawn[20] == drawn[100][:20]
    assert drawn[20] != draw(NAMES, SINGLE, 20, (8, 0), equal=equal) != draw(NAMES, SINGLE, 20, (7, 1), equal=equal)


@pytest.mark.parametrize("equal", [True, False])
def test_the_order_of_the_table_does_not_matter(equal):
    turned = draw(NAMES[::-1], SINGLE[::-1], 20, (7, 0), equal=equal)
    assert [99 - position for position in turned] == draw(NAMES, SINGLE, 20, (7, 0), equal=equal)


@pytest.mark.parametrize("count", [3, 6, 20, 22, 24])
def test_equal_classes_differ_by_at_most_one(count):
    drawn = draw(NAMES, SINGLE, count, (1, 0), equal=True)
    assert len(set(drawn)) == count and np.ptp(SINGLE[drawn].sum(axis=0)) <= 1


def test_chance_decides_which_class_has_one_more():
    first = {int(SINGLE[draw(NAMES, SINGLE, 1, (seed, 0), equal=True)].argmax()) for seed in range(20)}
    assert first == {0, 1, 2}


def test_a_class_that_is_too_small_is_repeated_evenly():
    drawn = draw(NAMES, SINGLE, 60, (1, 0), equal=True)
    assert SINGLE[drawn].sum(axis=0).tolist() == [20, 20, 20]
    times = Counter(position for position in drawn if SINGLE[position, 2])
    assert len(times) == 8 and set(times.values()) == {2, 3}
    assert all(number == 1 for position, number in Counter(drawn).items() if not SINGLE[position, 2])


@pytest.mark.parametrize("shown", [SINGLE, SEVERAL], ids=["one class", "several"])
def test_every_beginning_is_in_proportion_and_nothing_is_repeated(shown):
    drawn = draw(NAMES, shown, 100, (2, 0), equal=False)
    assert sorted(drawn) == list(range(100))
    for count in (10, 25, 50, 75):
        assert np.abs(shown[drawn[:count]].sum(axis=0) - count * shown.mean(axis=0)).max() < (1.5 if shown is SINGLE else 5)


def test_in_proportion_is_closer_than_by_chance():
    def error(drawn: list[int]) -> float:
        return float(np.abs(SEVERAL[drawn].sum(axis=0) - 20 * SEVERAL.mean(axis=0)).sum())

    ours = np.mean([error(draw(NAMES, SEVERAL, 20, (seed, 0), equal=False)) for seed in range(50)])
    assert ours < 0.6 * np.mean([error(random_order(NAMES, (seed, 0))[:20]) for seed in range(50)])

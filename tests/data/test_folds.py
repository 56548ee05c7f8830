"""Folds: whole groups, every class in equal parts, each sample once; tables made by hand."""

import numpy as np
import pytest

from medtransfer.data.folds import assign_folds
from medtransfer.errors import InputError

# 12 patients with 1 to 4 pictures; the first class is that of every third patient.
GROUPS = [f"p{number:02d}" for number in range(12) for _ in range(1 + number % 4)]
CLASSES = np.array([[int(group[1:]) % 3 == 0, int(group[1:]) % 3 != 0] for group in GROUPS])


def counts(folds: dict[str, int], groups: list[str], classes: np.ndarray, number: int) -> list[list[int]]:
    """Count the samples of each class in each fold."""
    held = [np.array([folds[group] == fold for group in groups]) for fold in range(1, number + 1)]
    return [classes[mask].sum(axis=0).tolist() for mask in held]


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_group_is_in_one_fold_and_all_folds_are_all(number, seed):
    folds = assign_folds(GROUPS, CLASSES, number, seed, {})
    assert set(folds) == set(GROUPS) and set(folds.values()) == set(range(1, number + 1))
    assert np.sum(counts(folds, GROUPS, CLASSES, number), axis=0).tolist() == CLASSES.sum(axis=0).tolist()


def test_folds_of_single_pictures_differ_by_at_most_one_per_class():
    groups, classes = [f"p{i}" for i in range(47)], np.eye(3, dtype=bool)[[0] * 7 + [1] * 11 + [2] * 29]
    for seed in range(5):
        table = np.array(counts(assign_folds(groups, classes, 5, seed, {}), groups, classes, 5))
        assert (np.ptp(table, axis=0) <= 1).all() and np.ptp(table.sum(axis=1)) <= 3


def test_unequal_groups_are_spread_as_well_as_the_best_of_many_random_divisions():
    table = np.array(counts(assign_folds(GROUPS, CLASSES, 3, 0, {}), GROUPS, CLASSES, 3))
    rng, names = np.random.default_rng(0), sorted(set(GROUPS))
    drawn = [dict(zip(names, (rng.permutation(12) % 3 + 1).tolist(), strict=True)) for _ in range(100)]
    spreads = [np.ptp(counts(folds, GROUPS, CLASSES, 3), axis=0).max() for folds in drawn]
    assert np.ptp(table, axis=0).max() <= np.percentile(spreads, 5)


def test_several_labels_and_pictures_without_any_are_spread():
    rng = np.random.default_rng(1)
    classes = rng.random((200, 4)) < [0.5, 0.2, 0.05, 0.1]
    groups = [f"p{i}" for i in range(200)]
    table = np.array(counts(assign_folds(groups, classes, 5, 0, {}), groups, classes, 5))
    assert (np.ptp(table, axis=0) <= 2).all()


def test_groups_that_share_a_picture_stay_together():
    together = {"p00": "p00", "p05": "p00", "p11": "p00"}
    for seed in range(5):
        folds = assign_folds(GROUPS, CLASSES, 4, seed, together)
        assert folds["p00"] == folds["p05"] == folds["p11"]


def test_the_seed_decides_and_the_order_of_the_samples_does_not():
    groups, classes = [f"p{i}" for i in range(12)], np.eye(2, dtype=bool)[[0, 1] * 6]
    first, again, other = (assign_folds(groups, classes, 3, seed, {}) for seed in (0, 0, 1))
    assert first == again == assign_folds(groups[::-1], classes[::-1], 3, 0, {}) and first != other


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match="at least 13 training groups .* but there are 12; take fewer folds"):
        assign_folds(GROUPS, CLASSES, 13, 0, {})

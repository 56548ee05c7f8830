"""The Friedman-Rafsky statistic and its tree against published values, SciPy, and averages over orders of equal samples."""

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.friedman_rafsky import first_of_each, friedman_rafsky
from medtransfer.indicators.spanning_tree import spanning_tree


@pytest.mark.parametrize(("case", "expected"), [(TALL, 0.95), (WIDE, 0.6992481203), (PIXELS, 0.6280642434)])
def test_published_values(case, expected):
    assert friedman_rafsky(*case) == (pytest.approx(expected, abs=1e-8), {})


@pytest.mark.parametrize(("n", "d", "offset"), [(2, 1, 0.0), (40, 3, 100.0), (30, 50, -7.0)])
def test_the_tree_equals_scipys(n, d, offset):
    features = np.random.default_rng(n).normal(size=(n, d)) + offset
    tree, distances = spanning_tree(features), squareform(pdist(features))
    expected = minimum_spanning_tree(distances).tocoo()
    assert {tuple(sorted(edge)) for edge in tree.edges.tolist()} == {
        tuple(sorted(edge)) for edge in zip(expected.row.tolist(), expected.col.tolist(), strict=True)
    }
    np.testing.assert_allclose(tree.lengths, distances[tree.edges[:, 0], tree.edges[:, 1]], rtol=1e-9)
    assert tree.point.tolist() == list(range(n)) and tree.duplicates == tree.tied == 0


def test_a_tree_on_a_line_by_hand():
    """0 - 1 - 3 - 7 - 15: the edges join the labels a a b b a, so two of four; chance is 1 - (3 * 2 + 2 * 1) / (5 * 4)."""
    features = np.array([[0.0], [1], [3], [7], [15]])
    assert friedman_rafsky(features, np.array([4, 4, 8, 8, 4])) == (pytest.approx(1 - (2 / 4) / (12 / 20)), {})


def test_equal_samples_count_as_their_average_over_orders():
    """Brute force: move each sample a little in a random direction, far less than points differ."""
    rng = np.random.default_rng(0)
    points = np.array([[0.0, 0], [5, 1], [12, 3]])[[0, 0, 0, 0, 1, 1, 1, 2]]
    labels = np.array([0, 0, 1, 2, 1, 2, 0, 1])
    values = []
    for _ in range(1000):
        order = rng.permutation(4), 4 + rng.permutation(3)
        shuffled = np.concatenate([labels[order[0]], labels[order[1]], labels[7:]])
        apart = points + np.arange(8)[:, None] * [0.0, 1e-3]
        values.append(friedman_rafsky(apart, shuffled)[0])
    value, flags = friedman_rafsky(points, labels)
    assert value == pytest.approx(np.mean(values), abs=4 * np.std(values) / np.sqrt(1000))
    assert flags == {"duplicates": 5}
    order = rng.permutation(8)
    assert friedman_rafsky(points[order], labels[order])[0] == pytest.approx(value, abs=1e-12)


def test_tied_distances_are_flagged_and_zeros_have_no_sign():
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), axis=-1).reshape(-1, 2)
    assert friedman_rafsky(grid, np.arange(16) % 2)[1] == {"tied_distances": 15}
    assert spanning_tree(np.array([[0.0, 1], [-0.0, 1], [2, 1]])).duplicates == 1


def test_shuffled_labels_are_at_chance_and_one_class_is_undefined():
    rng = np.random.default_rng(0)
    values = [friedman_rafsky(PIXELS[0], rng.permutation(PIXELS[1]))[0] for _ in range(60)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(60)
    assert np.isnan(friedman_rafsky(PIXELS[0], np.ones(256, dtype=int))[0])


def test_the_first_rows_of_each_class_are_kept():
    labels = np.repeat([2, 5, 7], [10, 2, 6])
    assert first_of_each(labels, 12).tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 14, 15]

"""Distances that follow from moments against those by definition, and what must not be trusted."""

import numpy as np
import pytest
from tests.indicators.robustness.test_distances import INDEPENDENT

from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.distances_from_sums import Moments, distances_of


def moments_of(query: np.ndarray, positive: np.ndarray, negative: np.ndarray, rounding: float = 2.0**-48) -> Moments:
    """Sum float64 rows (B, D) by definition."""
    parts = (query, positive, negative)
    gaps = [((query - key) ** 2).sum(1) for key in (positive, negative)]
    sums = np.stack([part.sum(1) for part in parts] + [(part**2).sum(1) for part in parts] + gaps)
    return Moments(np.array([float(query.shape[1])]), np.array([rounding]), sums[None])


@pytest.mark.parametrize("name", DISTANCES)
def test_equals_scipy(name):
    query, positive, negative = np.random.default_rng(0).normal(1, 2, (3, 6, 9))
    found, spoilt = distances_of(moments_of(query, positive, negative))
    assert found.shape == (4, 1, 2, 6) and not spoilt.any()
    for side, keys in enumerate((positive, negative)):
        expected = [INDEPENDENT[name](a, b) for a, b in zip(query, keys, strict=True)]
        np.testing.assert_allclose(found[list(DISTANCES).index(name), 0, side], expected, rtol=1e-12)


def test_several_spaces_at_once():
    rng = np.random.default_rng(1)
    first, second = moments_of(*rng.normal(size=(3, 4, 5))), moments_of(*rng.normal(size=(3, 4, 8)))
    both = Moments(*(np.concatenate(pair) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))
    expected = np.concatenate([distances_of(first)[0], distances_of(second)[0]], axis=1)
    np.testing.assert_array_equal(distances_of(both)[0], expected)


def test_hand_made_values():
    query, positive, negative = np.array([[3.0, 4.0, 0.0]]), np.array([[3.0, 4.0, 0.0]]), np.array([[0.0, 0.0, 2.0]])
    found, spoilt = distances_of(moments_of(query, positive, negative))
    assert not spoilt.any()
    assert found[:, 0, 0, 0].tolist() == [0, 0, 0, 0]
    assert found[:, 0, 1, 0] == pytest.approx([1, 1 + 14 / 3 / (26 / 3 * 8 / 3) ** 0.5, 29 / 3, 29**0.5])


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ([0.0, 0.0, 0.0], [1.0, 2.0, 4.0]),  # zero
        ([3.0, 3.0, 3.0], [1.0, 2.0, 4.0]),  # constant
        ([1.0, 2.0, 4.0], [np.nan, 2.0, 4.0]),
        ([1.0, 2.0, 4.0], [np.inf, 2.0, 4.0]),
        ([1e30, 2e30, 4e30], [1.0, 2.0, 4.0]),
        ([1e-30, 2e-30, 4e-30], [1.0, 2.0, 4.0]),
        ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]),  # the same direction: all of the difference is rounding
    ],
)
def test_what_sums_do_not_tell_is_marked(query, key):
    good = np.array([1.0, -2.0, 4.0])
    for one, other in ((query, key), (key, query)):
        rows = np.array([one, [1.0, 2.0, 4.0]]), np.array([other, good]), np.array([good, good])
        with np.errstate(all="ignore"):
            _, spoilt = distances_of(moments_of(*rows, rounding=2.0**-24))
        assert spoilt[0, 0].tolist() == [True, False]


def test_a_coarser_sum_is_trusted_less():
    rng = np.random.default_rng(2)
    query = rng.normal(size=(1, 50))
    rows = query, 1.1 * query + 1e-4 * rng.normal(size=(1, 50)), rng.normal(size=(1, 50))
    assert distances_of(moments_of(*rows, rounding=2.0**-24))[1][0].tolist() == [[True], [False]]
    assert not distances_of(moments_of(*rows, rounding=2.0**-48))[1].any()

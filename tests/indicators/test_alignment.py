"""Alignment against scikit-learn's cosines; collapse is not aligned, but undefined."""

import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import paired_cosine_distances

from medtransfer.indicators.alignment import alignment


def test_is_twice_the_mean_cosine_distance():
    first, second = np.random.default_rng(0).normal(size=(2, 17, 5)) + 1
    assert alignment(first, second) == (pytest.approx(-2 * paired_cosine_distances(first, second).mean(), abs=1e-12), {})


def test_by_hand():
    first = np.array([[1.0, 0], [0, 2]])
    assert alignment(first, 3 * first) == (pytest.approx(0, abs=1e-15), {})
    assert alignment(first, -first) == (-4, {})
    assert alignment(first, first[::-1]) == (-2, {})


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_features_of_one_direction_are_undefined_however_aligned(noise):
    first, second = 1 + noise * np.random.default_rng(0).normal(size=(2, 10, 4))
    value, flags = alignment(first * 3, second)
    assert math.isnan(value) and flags == {"constant": 1}


def test_pairs_with_a_zero_vector_are_left_out():
    first = np.array([[1.0, 0], [0, 2], [0, 0], [1, 1]])
    second = np.array([[0, 1.0], [0, 2], [1, 0], [0, 0]])
    assert alignment(first, second) == (-1, {"zero_vectors": 2})
    value, flags = alignment(first[2:], second[2:])
    assert math.isnan(value) and flags == {"zero_vectors": 2, "constant": 1}


def test_views_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"of the same shape, but got \(3, 2\) and \(2, 2\)"):
        alignment(np.ones((3, 2)), np.ones((2, 2)))

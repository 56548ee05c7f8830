"""Uniformity against all pairs by SciPy, its range, and embeddings without a direction."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from medtransfer.indicators.uniformity import uniformity


def test_equals_the_mean_over_all_pairs():
    features = np.random.default_rng(0).normal(size=(17, 5)) + 1
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert uniformity(features) == (pytest.approx(-np.log(np.exp(-2 * pdist(units) ** 2).mean()), abs=1e-12), {})


def test_by_hand():
    assert uniformity(np.array([[1.0, 0], [-3, 0]])) == (pytest.approx(8), {})  # opposite: squared distance 4
    assert uniformity(np.array([[1.0, 0], [0, 2]])) == (pytest.approx(4), {})
    assert uniformity(np.array([[1.0, 2], [2, 4]])) == (pytest.approx(0, abs=1e-12), {"constant": 1})


def test_zero_vectors_are_left_out_and_one_embedding_is_no_pair():
    features = np.array([[1.0, 0], [0, 0], [0, 2]])
    assert uniformity(features) == (pytest.approx(4), {"zero_vectors": 1})
    value, flags = uniformity(features[:2])
    assert math.isnan(value) and flags == {"zero_vectors": 1, "constant": 1}
    value, flags = uniformity(np.zeros((3, 2)))
    assert math.isnan(value) and flags == {"zero_vectors": 3, "constant": 1}

"""TwoNN against neighbours of scikit-learn, on data of known dimension, and with duplicates."""

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from medtransfer.indicators.twonn import TwoNN, twonn


def test_equals_the_ratio_of_neighbours_distances():
    features = np.random.default_rng(0).normal(size=(40, 6)) + 5
    distances, _ = NearestNeighbors(n_neighbors=2, algorithm="kd_tree").fit(features).kneighbors()
    assert twonn(features) == (pytest.approx(40 / np.log(distances[:, 1] / distances[:, 0]).sum(), abs=1e-8), {})


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_finds_the_dimension_of_a_subspace(dimension):
    rng = np.random.default_rng(dimension)
    features = rng.uniform(size=(2000, dimension)) @ rng.normal(size=(dimension, 30))
    assert twonn(features)[0] == pytest.approx(dimension, rel=0.1)


@pytest.mark.parametrize("noise", [0.0, 1e-8], ids=["exact", "but for rounding"])
def test_duplicates_are_left_out(noise):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    copies = np.concatenate([features, features[:10], features[:5]])
    copies += noise * rng.normal(size=copies.shape)
    value, flags = twonn(copies)
    assert value == pytest.approx(twonn(features)[0], rel=1e-6) and flags == {"duplicates": 15}


def test_too_few_or_equally_far_neighbours_are_undefined():
    assert math.isnan(twonn(np.array([[0.0], [1]]))[0])
    value, flags = twonn(np.eye(2)[[0, 1, 1, 0]])
    assert math.isnan(value) and flags == {"duplicates": 2}
    assert math.isnan(twonn(np.arange(4.0)[:, None][[0, 1]])[0])
    assert math.isnan(twonn(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]))[0])  # a square


def test_fewer_dimensions_are_better():
    assert not TwoNN.higher_is_better

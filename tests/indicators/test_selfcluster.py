"""Self-cluster against the mean squared cosine of all pairs, and at its ends."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from medtransfer.indicators.selfcluster import selfcluster


@pytest.mark.parametrize(("n", "d"), [(17, 5), (5, 17)])
def test_equals_the_mean_squared_cosine_rescaled(n, d):
    features = np.random.default_rng(0).normal(size=(n, d)) + 0.5
    cosines = 1 - pdist(features, "cosine")
    assert selfcluster(features)[0] == pytest.approx((1 - d * (cosines**2).mean()) / (d - 1), abs=1e-12)


def test_by_hand():
    assert selfcluster(np.ones((4, 3))) == (pytest.approx(-1), {"constant": 1})
    assert selfcluster(np.eye(4)) == (pytest.approx(1 / 3), {})  # no pair has a cosine
    uniform = np.random.default_rng(0).normal(size=(2000, 10))
    assert selfcluster(uniform)[0] == pytest.approx(0, abs=1e-3)


def test_zero_vectors_are_left_out_and_one_feature_has_no_angles():
    features = np.concatenate([np.eye(4), np.zeros((2, 4))])
    assert selfcluster(features) == (pytest.approx(1 / 3), {"zero_vectors": 2})
    assert math.isnan(selfcluster(np.array([[1.0], [-1]]))[0])
    assert math.isnan(selfcluster(features[3:])[0])

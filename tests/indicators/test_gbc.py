"""GBC against published values, by hand, and against the distance of Gaussians with full covariances."""

import numpy as np
import pytest
from tests.published_features import TALL, WIDE

from medtransfer.indicators.gbc import gbc


@pytest.mark.parametrize(("case", "expected"), [(TALL, -0.1705305662), (WIDE, -0.0000020372)])
def test_published_values(case, expected):
    assert gbc(*case) == (pytest.approx(expected, abs=1e-8), {})


def test_diagonal_equals_the_distance_of_gaussians():
    features, labels = TALL
    means = [features[labels == label].mean(0) for label in range(3)]
    covariances = [np.diag(features[labels == label].var(0)) for label in range(3)]
    total = 0.0
    for a in range(3):
        for b in set(range(3)) - {a}:
            shared, gap = (covariances[a] + covariances[b]) / 2, means[a] - means[b]
            logs = np.linalg.slogdet(shared)[1] - (np.linalg.slogdet(covariances[a])[1] + np.linalg.slogdet(covariances[b])[1]) / 2
            total += np.exp(-gap @ np.linalg.solve(shared, gap) / 8 - logs / 2)
    assert gbc(features, labels, diagonal=True) == (pytest.approx(-total, abs=1e-12), {})


@pytest.mark.parametrize("diagonal", [False, True])
def test_one_feature_by_hand(diagonal):
    """Means 0 and 4, variances 1 and 4: B = 16 / 2.5 / 8 + ln(2.5 / 2) / 2."""
    features, labels = np.array([[-1.0], [1], [2], [6]]), np.array([0, 0, 1, 1])
    assert gbc(features, labels, diagonal)[0] == pytest.approx(-2 * np.exp(-0.8) / np.sqrt(1.25))


def test_a_class_of_one_sample_has_the_least_variance():
    features, labels = np.array([[0.0, 0], [0, 0.02]]), np.array([0, 1])
    assert gbc(features, labels) == (pytest.approx(-2 * np.exp(-0.0004 / 1e-4 / 8)), {"floored": 2})
    assert gbc(features, labels, diagonal=True)[1] == {"floored": 4}


def test_a_small_overlap_is_exact():
    value, _ = gbc(np.array([[0.0], [1], [9], [10]]), np.array([0, 0, 1, 1]))
    assert value == pytest.approx(-2 * np.exp(-(9**2) / 0.25 / 8), rel=1e-12, abs=0)

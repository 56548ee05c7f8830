"""H-scores against published values, against the definition, and against scikit-learn's shrinkage."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from tests.published_features import TALL, WIDE

from medtransfer.indicators.hscore import hscore, hscore_reg


@pytest.mark.parametrize(
    ("case", "plain", "regularised"), [(TALL, (1.8324112685, {}), 1.7239575698), (WIDE, (2.0, {"saturated": 1}), 1.9479143142)]
)
def test_published_values(case, plain, regularised):
    assert hscore(*case) == (pytest.approx(plain[0], abs=1e-8), plain[1])
    assert hscore_reg(*case) == (pytest.approx(regularised, abs=1e-8), {})


def uneven(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of uneven classes, some of them repeated."""
    rng = np.random.default_rng(n)
    labels = rng.choice(4, n, p=[0.6, 0.2, 0.1, 0.1])
    features = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + labels[:, None] * rng.normal(size=d) + 7
    features[-3:] = features[0]
    return features, labels


@pytest.mark.parametrize("case", [uneven(50, 6), uneven(30, 30), uneven(25, 40)], ids=["tall", "square", "wide"])
def test_definitions(case):
    features, labels = case
    means = np.stack([features[labels == label].mean(0) for label in labels])  # of the class of each sample
    plain = np.trace(np.linalg.pinv(np.cov(features.T), rcond=1e-12) @ np.cov(means.T))
    assert hscore(*case)[0] == pytest.approx(plain, abs=1e-8)
    fitted = LedoitWolf().fit(features)
    regularised = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ np.cov(means.T))
    assert hscore_reg(*case) == (pytest.approx(regularised, abs=1e-9), {})


def test_a_covariance_that_is_not_shrunk_or_fully_shrunk():
    halves = np.array([0, 1, 0, 1])
    line = np.outer(2.0 * halves - 1, [1.0, 2.0, 0.5])  # all of the variance is between the classes
    assert hscore_reg(line, halves) == (pytest.approx(4 / 3), {})
    assert hscore_reg(line[:, :1], halves) == (pytest.approx(4 / 3), {})
    assert hscore_reg(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), halves) == (0, {"fully_shrunk": 1})


def test_shuffled_labels_and_saturation():
    features, labels = TALL
    shuffled = np.random.default_rng(0).permutation(labels)
    assert hscore(features, shuffled)[0] < 0.6 and hscore_reg(features, shuffled)[0] < 0.6
    noise = np.random.default_rng(0).normal(size=(20, 19))
    assert hscore(noise, WIDE[1]) == (pytest.approx(2), {"saturated": 1})
    assert hscore(noise[:, :18], WIDE[1])[1] == {}

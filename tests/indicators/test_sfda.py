"""SFDA against published values and scikit-learn's discriminant analysis."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.sfda import sfda


@pytest.mark.parametrize(("case", "expected", "flags"), [(TALL, 0.9999495441, {}), (WIDE, 1, {"saturated": 1})])
def test_published_values(case, expected, flags):
    assert sfda(*case) == (pytest.approx(expected, abs=1e-8), flags)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_equals_two_analyses_of_scikit_learn(scale):
    features, labels = PIXELS[0] * scale, PIXELS[1]
    means = np.stack([features[labels == label].mean(0) for label in range(3)])
    rest = features - means[labels]
    shrinkage = np.exp(-5 * np.linalg.eigvalsh(rest.T @ rest / len(rest)).max())

    def posterior(x: np.ndarray) -> np.ndarray:
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, labels).predict_proba(x)

    p = np.exp(posterior(features))
    q = (p / p.sum(1, keepdims=True))[np.arange(len(labels)), labels][:, None]
    others = np.stack([means[[c for c in range(3) if c != label]].mean(0) for label in range(3)])
    harder = q * features + (1 - q) * others[labels]
    assert sfda(features, labels)[0] == pytest.approx(posterior(harder)[np.arange(len(labels)), labels].mean(), abs=1e-9)


def test_classes_that_are_points():
    assert sfda(np.eye(3)[TALL[1]], TALL[1])[0] == 1
    mixed = sfda(np.array([[0.0, 1]] * 3 + [[1, 0]] * 2), np.array([0, 0, 0, 1, 2]))[0]
    assert mixed == pytest.approx((3 + 0.5 + 0.5) / 5)

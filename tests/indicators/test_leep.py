"""LEEP and NCE against published values, loops, and scikit-learn's mutual information."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import mutual_info_score

from medtransfer.indicators.leep import leep, nce


def head(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 5) of source classes and labels of the published set of test values."""
    i, s = np.ogrid[:n, :5]
    labels = np.arange(n) % 3
    return softmax(np.sin(0.9 * (i + 1) * (s + 1)) + 1.5 * (labels[:, None] == s % 3), axis=1), labels


@pytest.mark.parametrize(("n", "expected", "conditional"), [(60, -0.7315667920, -0.2900375836), (20, -0.7272216868, -0.3500346637)])
def test_published_values(n, expected, conditional):
    assert leep(*head(n)) == (pytest.approx(expected, abs=1e-8), {})
    assert nce(*head(n))[0] == pytest.approx(conditional, abs=1e-8)


def test_definitions():
    probabilities, labels = head(20)
    joint = np.zeros((3, 5))
    for p, y in zip(probabilities, labels, strict=True):
        joint[y] += p / 20
    logs = [
        np.log(sum(joint[y, z] / joint[:, z].sum() * p[z] for z in range(5))) for p, y in zip(probabilities, labels, strict=True)
    ]
    assert leep(probabilities, labels)[0] == pytest.approx(np.mean(logs))
    shares = np.bincount(labels) / 20
    entropy = -(shares * np.log(shares)).sum()
    assert nce(probabilities, labels)[0] == pytest.approx(mutual_info_score(labels, probabilities.argmax(1)) - entropy)


@pytest.mark.parametrize("score", [leep, nce])
def test_a_source_class_without_mass_adds_nothing(score):
    probabilities, labels = head(60)
    wider = np.insert(probabilities, 2, 0.0, axis=1)
    value, flags = score(probabilities, labels)
    assert score(wider, labels) == (pytest.approx(value), {"empty_source_classes": flags.get("empty_source_classes", 0) + 1})
    assert score(np.eye(3)[labels], np.array([5, 2, 9])[labels])[0] == pytest.approx(0)
    assert score(np.ones((60, 1)), labels)[0] == pytest.approx(-np.log(3))


@pytest.mark.parametrize("score", [leep, nce])
def test_what_are_no_probabilities_is_refused(score):
    probabilities, labels = head(20)
    with pytest.raises(ValueError, match="expected rows of probabilities.* but got 20 of 20 rows"):
        score(np.log(probabilities), labels)
    with pytest.raises(ValueError, match=r"but got \(20,\)"):
        score(labels, probabilities)

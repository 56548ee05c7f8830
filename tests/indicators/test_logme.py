"""LogME against converged values, a brute-force maximum of the Gaussian likelihood, and what must not change it."""

import numpy as np
import pytest
from scipy import optimize, stats
from tests.published_features import TALL, WIDE

from medtransfer.indicators.logme import logme


@pytest.mark.parametrize(
    ("case", "total", "expected", "flags"),
    [(TALL, 317.9094444154, -0.0337838226, {}), (WIDE, 496.8420272255, -0.0119144452, {"rank_deficit": 12})],
    ids=["more samples than features", "fewer, so that eigenvalues are zero"],
)
def test_converged_values(case, total, expected, flags):
    assert case[0].sum() == pytest.approx(total, abs=1e-9)  # the published features
    assert logme(*case) == (pytest.approx(expected, abs=1e-8), flags)


def by_hand(features: np.ndarray, y: np.ndarray) -> float:
    """Maximise the density of y ~ N(0, F F' / a + 1 / b) over ln a and ln b."""
    kernel, n = features @ features.T, len(y)

    def negative(logs: np.ndarray) -> float:
        covariance = kernel * np.exp(-logs[0]) + np.eye(n) * np.exp(-logs[1])
        return -float(stats.multivariate_normal(np.zeros(n), covariance).logpdf(y)) / n

    starts = [(a, b) for a in (-2.0, 2.0) for b in (0.0, 3.0)]
    return -min(
        optimize.minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).fun for start in starts
    )


@pytest.mark.parametrize(("n", "d"), [(15, 3), (9, 14)])
def test_equals_the_maximum_of_the_likelihood(n, d):
    rng = np.random.default_rng(n)
    features, labels = rng.normal(size=(n, d)), rng.integers(0, 2, n)
    features[:, 0] += labels
    expected = np.mean([by_hand(features, (labels == label).astype(float)) for label in (0, 1)])
    assert logme(features, labels)[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("case", [TALL, WIDE], ids=["tall", "wide"])
def test_rotation_scale_order_and_names_change_nothing(case):
    features, labels = case
    rng = np.random.default_rng(0)
    turn, order = np.linalg.qr(rng.normal(size=(features.shape[1],) * 2))[0], rng.permutation(len(labels))
    value = logme(features, labels)[0]
    assert logme(features @ turn, labels)[0] == pytest.approx(value, abs=1e-8)
    assert logme(features * 1000, labels)[0] == pytest.approx(value, abs=1e-8)
    assert logme(features[order], labels[order])[0] == pytest.approx(value, abs=1e-8)
    assert logme(features, np.array([7, 3, 5])[labels])[0] == pytest.approx(value, abs=1e-12)


def test_shuffled_labels_constant_features_and_a_perfect_fit():
    features, labels = TALL
    shuffled = np.random.default_rng(0).permutation(labels)
    value = logme(features, labels)[0]
    constant, flags = logme(np.ones_like(features), labels)
    assert logme(features, shuffled)[0] < value - 0.1
    assert constant < value - 0.1 and flags == {"rank_deficit": 7}
    perfect, flags = logme(np.eye(3)[labels], labels)
    assert value < perfect < np.inf and flags == {"perfect_fits": 3}
    halves = np.array([0, 1] * 10)
    none, flags = logme(np.zeros((20, 4)), halves)  # the evidence of a mean of zero
    assert none == pytest.approx(stats.norm(0, np.sqrt(0.5)).logpdf(halves).mean())
    assert flags == {"rank_deficit": 4}


@pytest.mark.parametrize("features", [np.zeros((0, 3)), np.zeros(4), np.full((4, 2), np.nan), np.zeros((3, 2))])
def test_what_is_no_sample_is_refused(features):
    with pytest.raises(ValueError, match="expected finite features"):
        logme(features, np.array([0, 1, 0, 1]))

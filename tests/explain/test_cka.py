"""Linear CKA against a sum over quadruples, by its known invariances, and where the plain estimate misleads."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group

from medtransfer.explain.cka import linear_cka

Numbers = NDArray[np.float64]


def features(n: int, d: int, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).normal(size=(n, d))


def hsic(first: Numbers, second: Numbers) -> float:
    """Average over all quadruples of different samples: the definition of the unbiased estimate (Song et al., 2012, Eq. 4)."""
    k, m = first @ first.T, second @ second.T
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(terms))


@pytest.mark.parametrize(("n", "d", "e"), [(4, 3, 3), (7, 2, 5), (8, 12, 3)])
def test_it_is_the_mean_over_quadruples(n: int, d: int, e: int) -> None:
    x, y = features(n, d) + 3, features(n, e, 1)
    y[:, 0] += x[:, 0]
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-10)
    assert linear_cka(y, x) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x @ ortho_group.rvs(x.shape[1], random_state=3),
        lambda x: -1e-4 * x,
        lambda x: x + 50,
        lambda x: np.hstack([x, np.zeros((len(x), 4))]),
    ],
    ids=["itself", "rotated", "scaled", "moved", "widened"],
)
def test_it_is_one_for_the_same_geometry(change: Callable[[Numbers], Numbers]) -> None:
    x, y = features(40, 6), features(40, 9, 1)
    y[:, :6] += x
    assert linear_cka(x, change(x)) == pytest.approx(1, abs=1e-9)
    assert linear_cka(change(x), y) == pytest.approx(linear_cka(x, y), abs=1e-9)


def test_the_order_of_the_samples_does_not_matter() -> None:
    x, y, order = features(30, 5), features(30, 5, 1), np.random.default_rng(2).permutation(30)
    assert linear_cka(x[order], y[order]) == pytest.approx(linear_cka(x, y), abs=1e-12)


def test_unrelated_wide_features_are_not_alike() -> None:
    """The plain estimate of the same features is above .9, since D is 20 times N."""
    pairs = [(features(30, 600, seed), features(30, 600, 100 + seed)) for seed in range(20)]
    centred = [(x - x.mean(axis=0), y - y.mean(axis=0)) for x, y in pairs]
    plain = [np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)) for x, y in centred]
    assert np.mean(plain) > 0.9
    assert np.mean([linear_cka(x, y) for x, y in pairs]) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("x", [np.ones((9, 4)), features(3, 4)], ids=["constant", "three samples"])
def test_it_is_not_defined(x: Numbers) -> None:
    assert np.isnan(linear_cka(x, features(len(x), 4)))


@pytest.mark.parametrize("y", [features(8, 3), features(9, 3)[:, 0], np.full((9, 3), np.inf)])
def test_what_does_not_fit_is_refused(y: Numbers) -> None:
    with pytest.raises(ValueError, match="expected "):
        linear_cka(features(9, 3), y)

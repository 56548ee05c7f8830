"""EMMS against least squares of numpy and a search of the simplex."""

from itertools import product

import numpy as np
import pytest
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.emms import emms, on_simplex


def standard(columns: np.ndarray) -> np.ndarray:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


@pytest.mark.parametrize("case", [TALL, PIXELS], ids=["tall", "pixels"])
def test_one_hot_labels_leave_over_what_the_features_do_not_explain(case):
    x, t = standard(case[0]), standard(np.eye(3)[case[1]])
    left = np.linalg.lstsq(x, t, rcond=None)[1].sum() / t.size
    assert emms(*case)[0] == pytest.approx(-left, abs=1e-12)


def test_several_embeddings_are_mixed():
    """By the steps of the published code; its weights on the simplex are those of the nearest point."""
    embeddings = np.random.default_rng(0).normal(size=(3, 3, 5))
    x, t = standard(PIXELS[0]), [standard(one[PIXELS[1]]) for one in embeddings]
    fitted = x @ np.linalg.lstsq(x, sum(t) / 3, rcond=None)[0]
    free = np.linalg.lstsq(np.stack([one.ravel() for one in t], axis=1), fitted.ravel(), rcond=None)[0]
    mixed = sum(weight * one for weight, one in zip(on_simplex(free), t, strict=True))
    assert emms(*PIXELS, embeddings)[0] == pytest.approx(-np.mean((fitted - mixed) ** 2), abs=1e-12)
    assert emms(*PIXELS, embeddings[0]) == emms(*PIXELS, embeddings[:1])


@pytest.mark.parametrize("point", [[0.2, 0.3, 0.5], [0.9, 0.8, -1.0], [0.0, 0.0, 0.0], [3.0, 1.0, 1.0], [-2.0, -2.0, -2.5]])
def test_the_nearest_point_of_the_simplex(point):
    grid = [np.array([a, b, 100 - a - b]) / 100 for a, b in product(range(101), repeat=2) if a + b <= 100]
    best = min(grid, key=lambda candidate: np.square(candidate - point).sum())
    assert on_simplex(np.array(point)) == pytest.approx(best, abs=0.01)


def test_the_identity_in_place_of_embeddings_is_the_default():
    assert emms(*TALL, np.eye(3))[0] == pytest.approx(emms(*TALL)[0], abs=1e-12)


def test_more_features_than_samples_fit_any_labels():
    value, flags = emms(*WIDE)
    assert value == pytest.approx(0, abs=1e-20) and flags == {"saturated": 1, "rank_deficit": 13}

"""TransRate against published values and determinants of full size."""

import numpy as np
import pytest
from tests.published_features import TALL, WIDE

from medtransfer.indicators.transrate import transrate


@pytest.mark.parametrize(("case", "expected"), [(TALL, 2.8511087901), (WIDE, 47.4124640591)])
def test_published_values(case, expected):
    assert transrate(*case) == (pytest.approx(expected, abs=1e-8), {})


@pytest.mark.parametrize(("n", "d"), [(30, 4), (12, 20)])
def test_definition_with_uneven_classes(n, d):
    rng = np.random.default_rng(n)
    features, labels = rng.normal(size=(n, d)) + 5, np.arange(n) // 4 % 3 * 10
    moved = features - features.mean(0)
    rates = [
        np.log(np.linalg.eigvalsh(np.eye(d) + rows.T @ rows / len(rows) * 1e4)).sum() / 2
        for rows in (moved, *(moved[labels == label] for label in (0, 10, 20)))
    ]
    assert transrate(features, labels)[0] == pytest.approx(rates[0] - np.mean(rates[1:]), abs=1e-9)


def test_large_embeddings_of_few_directions():
    """Two points on a line at the same distance from their mean: each class costs as much as all; rounding costs nothing."""
    features = 1e6 * np.outer(np.repeat([-1.0, 1.0], 10), np.ones(40))
    assert transrate(features, np.repeat([0, 1], 10))[0] == pytest.approx(0, abs=1e-6)
    assert transrate(features, np.tile([0, 1], 10))[0] == pytest.approx(0, abs=1e-6)

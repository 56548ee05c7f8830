"""LiDAR against roots of matrices, and where images or views do not differ."""

import math

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm
from scipy.stats import entropy

from medtransfer.indicators.lidar import lidar


@pytest.mark.parametrize(("n", "views", "d"), [(20, 3, 6), (5, 2, 12)])
def test_equals_the_definition(n, views, d):
    rng = np.random.default_rng(n)
    features = rng.normal(size=(n, 1, d)) + 0.5 * rng.normal(size=(n, views, d)) * np.linspace(0.1, 1, d)
    between = np.cov(features.mean(axis=1).T)
    within = np.mean([np.cov(image.T, ddof=0) for image in features], axis=0)
    root = inv(np.real(sqrtm(within + 1e-4 * np.trace(within) / d * np.eye(d))))
    eigenvalues = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    assert lidar(features) == (pytest.approx(np.exp(entropy(eigenvalues)), rel=1e-6), {})


def test_what_varies_between_views_counts_less():
    """Of two directions with equal spread over images, noise of the views hides one."""
    rng = np.random.default_rng(0)
    images, noise = rng.normal(size=(500, 1, 2)), rng.normal(size=(500, 4, 2))
    assert lidar(images + 0.1 * noise)[0] == pytest.approx(2, abs=0.01)
    assert lidar(images + noise * [0.1, 1.0])[0] < 1.2


@pytest.mark.parametrize(
    ("images", "noise", "flag"), [(0, 0, "constant"), (1, 0, "equal_views"), (0, 1, "equal_images")]
)  # fmt: skip
def test_equal_images_or_views_are_undefined(images, noise, flag):
    rng = np.random.default_rng(0)
    difference = noise * rng.integers(1, 5, size=(6, 1, 3))
    views = images * rng.integers(1, 5, size=(6, 1, 3)) + np.concatenate([difference, -difference], axis=1) + 2.0
    value, flags = lidar(views)
    assert math.isnan(value) and flags == {flag: 1}


def test_one_view_is_refused():
    with pytest.raises(ValueError, match=r"at least two views, but got \(4, 1, 3\)"):
        lidar(np.ones((4, 1, 3)))

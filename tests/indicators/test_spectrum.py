"""RankMe, NESum and participation ratio against singular values of NumPy and entropies of SciPy."""

import numpy as np
import pytest
from scipy.stats import entropy
from tests.published_features import TALL

from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.spectrum import nesum, participation_ratio, rankme, spectrum


@pytest.mark.parametrize(("n", "d"), [(40, 7), (7, 40), (9, 9)])
def test_equal_what_singular_values_give(n, d):
    features = np.random.default_rng(n).normal(size=(n, d)) * np.geomspace(1, 1e-3, d) + 1
    sigma = np.linalg.svd(features, compute_uv=False)
    assert rankme(features, centre=False)[0] == pytest.approx(np.exp(entropy(sigma)), abs=1e-8)
    sigma = np.linalg.svd(features - features.mean(0), compute_uv=False)
    assert rankme(features, centre=True)[0] == pytest.approx(np.exp(entropy(sigma)), abs=1e-8)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T))
    assert nesum(features)[0] == pytest.approx(np.trace(np.cov(features.T)) / eigenvalues[-1], abs=1e-8)
    assert participation_ratio(features)[0] == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), abs=1e-8)


def test_equal_spread_in_every_direction_counts_the_directions():
    corners = np.concatenate([np.eye(5), -np.eye(5)]) + 3
    for value, flags in (rankme(corners, centre=True), nesum(corners), participation_ratio(corners)):
        assert value == pytest.approx(5) and flags == {}


def test_an_offset_hides_everything_else_from_the_published_rankme():
    assert rankme(TALL[0] + 50, centre=False)[0] == pytest.approx(1.39, abs=0.005)


def test_the_rank_deficit_counts_missing_directions():
    features = np.random.default_rng(0).normal(size=(30, 4)) @ np.random.default_rng(1).normal(size=(4, 10))
    assert spectrum(features)[1] == {"rank_deficit": 6}
    assert spectrum(features[:3])[1] == {"rank_deficit": 8}
    assert spectrum(features[:1])[1] == {"rank_deficit": 10, "constant": 1}


def test_rank_like_indicators_compare_within_a_width():
    assert {name for name in INDICATORS if INDICATORS[name].within_width} >= {"rankme", "nesum", "pr", "lidar"}

"""DSE against its definition in loops, with clusters of known shape, and its k-means."""

import math

import numpy as np
import pytest
from scipy.stats import entropy

from medtransfer.indicators.dse import Clustering, dse, k_means

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(40, 5)) + 2 * np.eye(5)[np.arange(40) % 4]
ROWS = np.arange(40)
ACROSS = [Clustering(ROWS[:20], ROWS[:20] % 4), Clustering(ROWS[20:], ROWS[20:] % 3)]
WITHIN = [Clustering(ROWS[start : start + 10], ROWS[:10] // 5) for start in (0, 10, 20, 30)]
DRAWS = [np.array([0, 10, 20, 30]), np.array([5, 13, 28, 36])]


def by_hand(weight: float) -> float:
    u = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    spread = np.mean([np.linalg.norm(point - u.mean(axis=0)) for point in u])
    inter, radii = [], []
    for kind in (ACROSS, WITHIN):
        clusters = [[u[c.rows[c.labels == label]] for label in np.unique(c.labels)] for c in kind]
        radii.append([
            np.linalg.svd(points - points.mean(0), compute_uv=False).sum() / np.sqrt(max(len(points) - 1, 5))
            for groups in clusters for points in groups
        ])  # fmt: skip
    for clustering in ACROSS:
        centroids = {label: u[clustering.rows[clustering.labels == label]].mean(axis=0) for label in set(clustering.labels)}
        inter.append(np.mean([
            min(np.linalg.norm(u[row] - centroid) for other, centroid in centroids.items() if other != label)
            for row, label in zip(clustering.rows, clustering.labels, strict=True)
        ]))  # fmt: skip
    ranks = [np.exp(entropy(np.linalg.svd(u[rows], compute_uv=False))) / 4 for rows in DRAWS]
    return (np.mean(inter) - (np.mean(radii[0]) + np.mean(radii[1])) / 2) / spread + weight * np.mean(ranks)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_equals_the_definition(weight):
    assert dse(FEATURES, ACROSS, WITHIN, DRAWS, weight) == (pytest.approx(by_hand(weight), abs=1e-8), {})


def test_tight_clusters_are_better_than_loose_ones():
    centres = np.eye(4)[ROWS % 4]
    clustering = [Clustering(ROWS, ROWS % 4)]
    tight, loose = (
        dse(centres + noise * np.random.default_rng(1).normal(size=(40, 4)), clustering, clustering, [ROWS])[0]
        for noise in (0.01, 0.5)
    )
    assert tight > loose + 0.5


def test_clusters_that_allow_no_distance_are_undefined_and_zero_vectors_are_counted():
    one = [Clustering(ROWS, np.zeros(40, dtype=np.int64))]
    single = [Clustering(ROWS, ROWS)]
    assert math.isnan(dse(FEATURES, one, WITHIN, DRAWS)[0])
    assert math.isnan(dse(FEATURES, single, WITHIN, DRAWS)[0])
    value, flags = dse(FEATURES * (ROWS > 0)[:, None], ACROSS, WITHIN, DRAWS)
    assert math.isfinite(value) and flags == {"zero_vectors": 1}


def test_k_means_is_seeded_and_finds_what_is_apart():
    units = np.eye(4)[ROWS % 4] + 0.01 * RNG.normal(size=(40, 4))
    clustering = k_means(units, ROWS[4:], 4, seed=2**40)
    assert len({(label, row % 4) for label, row in zip(clustering.labels, clustering.rows, strict=True)}) == 4
    assert np.array_equal(clustering.labels, k_means(units, ROWS[4:], 4, seed=2**40).labels)
    assert set(k_means(np.eye(4)[ROWS % 2], ROWS, 4, seed=0).labels) == {0, 1}  # of two distinct points

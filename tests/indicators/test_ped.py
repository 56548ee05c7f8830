"""PED against loops over pairs of classes, followed by SFDA, which has tests of its own."""

import numpy as np
import pytest
from tests.published_features import TALL
from tests.published_maps import PIXELS

from medtransfer.indicators.ped import ped
from medtransfer.indicators.sfda import sfda


def descended(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Embeddings after the steps of the published code, and the number of steps."""
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    first, steps = None, 0
    while steps < 6:
        parts = {c: x[labels == c] for c in np.unique(labels)}
        moves = {c: np.zeros(x.shape[1]) for c in parts}
        for a in parts:
            for b in (b for b in parts if b != a):
                line = parts[a].mean(axis=0) - parts[b].mean(axis=0)
                reach = sum(0.6 * np.sqrt(parts[c].var(axis=0).sum()) for c in (a, b))
                moves[a] = moves[a] + 0.005 * max(0.0, reach - np.linalg.norm(line)) * line / np.linalg.norm(line)
        total = sum(np.abs(move).sum() for move in moves.values())
        first = first or total
        if not total > 0.5 * first:
            break
        x, steps = x + np.array([moves[label] for label in labels]), steps + 1
    return x * features.std(axis=0), steps


@pytest.mark.parametrize("scale", [0.05, 1.0])
@pytest.mark.parametrize("case", [TALL, PIXELS], ids=["tall", "pixels"])
def test_equals_the_published_steps(case, scale):
    features, labels = case[0] * scale, case[1]
    moved, steps = descended(features, labels)
    value, flags = ped(features, labels)
    assert value == pytest.approx(sfda(moved, labels)[0], abs=1e-10) and bool(steps) == ("overlapping_classes" in flags)


def test_overlapping_classes_are_pushed_apart():
    features = np.random.default_rng(0).normal(size=(90, 5)) + 0.2 * np.eye(5)[np.arange(90) % 3]
    value, flags = ped(features, np.arange(90) % 3)
    assert value > sfda(features, np.arange(90) % 3)[0] and flags["overlapping_classes"] == 3


def test_classes_far_apart_are_left_where_they_are():
    features = TALL[0] + 20 * np.eye(8)[TALL[1]]
    assert ped(features, TALL[1]) == (pytest.approx(sfda(features, TALL[1])[0], abs=1e-12), sfda(features, TALL[1])[1])

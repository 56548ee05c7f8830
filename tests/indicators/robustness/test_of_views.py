"""Robustness of two arrays of features, against the paper's equation written out."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from medtransfer import StoppingRule, robustness

RNG = np.random.default_rng(3)
FIRST = RNG.normal(size=(12, 5))
SECOND = FIRST + RNG.normal(size=(12, 5))
SCIPY = {"cosine": "cosine", "pearson": "correlation", "euclidean": "euclidean"}


def paper_negatives(count: int) -> list[int]:
    """Return the pairing of the released code: the list reversed and rotated by two."""
    backwards = list(range(count))[::-1]
    return backwards[-2:] + backwards[:-2]


@pytest.mark.parametrize("distance", SCIPY)
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_it_is_the_papers_equation(distance: str, margin: float) -> None:
    between = cdist(FIRST, SECOND, SCIPY[distance])
    losses = [max(0.0, between[i, i] - between[i, k] + margin) for i, k in enumerate(paper_negatives(12))]
    score = robustness(FIRST, SECOND, distance=distance, margin=margin, negative="paper")
    assert score.value == pytest.approx(1 - np.mean(losses)) and score.flags == {}
    assert score.error == pytest.approx(np.std(losses, ddof=1) / np.sqrt(12))
    assert score.replicates == pytest.approx([1 - np.mean(losses[:i] + losses[i + 1 :]) for i in range(12)])


def test_maps_are_flattened_and_tensors_are_arrays() -> None:
    maps = torch.from_numpy(RNG.normal(size=(2, 6, 3, 2, 2)).astype(np.float32)).requires_grad_()
    assert robustness(maps[0], maps[1]) == robustness(maps[0].detach().numpy().reshape(6, -1), maps[1].flatten(1))


def test_the_defaults_are_those_of_params_yaml() -> None:
    assert robustness(FIRST, SECOND) == robustness(FIRST, SECOND, distance="cosine", margin=0.5, negative="random", seed=0)
    assert robustness(FIRST, SECOND) != robustness(FIRST, SECOND, seed=1)


def test_negatives_are_of_other_groups_and_the_error_is_over_groups() -> None:
    groups = list("aabbccddeeff")
    views = np.repeat(np.eye(6), 2, axis=0)  # images of one group are alike: a negative of it would have no distance
    alike = robustness(views, views, groups=groups)
    assert (alike.value, alike.error, alike.flags, len(alike.replicates)) == (1.0, 0.0, {}, 6)
    assert robustness(FIRST, SECOND, groups=["a"] * 12).error is None


def test_odd_features_are_counted() -> None:
    first = np.vstack([np.zeros(5), [np.nan, 1, 2, 3, 4], FIRST[:4]])
    score = robustness(first, SECOND[:6])
    assert score.flags["zero"] == 2 and score.flags["nonfinite"] == 2


@pytest.mark.parametrize(
    ("first", "changed", "message"),
    [
        (FIRST[:, 0], {}, r"of the first view, but got \(12,\)"),
        (FIRST[:5], {}, r"of one shape"),
        (FIRST, {"groups": [1, 2]}, "the group of each of 12 images, but got 2 groups"),
        (FIRST, {"distance": "far"}, "a distance out of cosine, .*, but got 'far'"),
        (FIRST, {"margin": -1.0}, "margins >= 0"),
        (FIRST, {"negative": "none"}, "a kind of negatives out of random, paper, but got 'none'"),
    ],
)
def test_wrong_arguments_are_refused(first: np.ndarray, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robustness(first, SECOND, **changed)


def test_a_stopping_rule_takes_the_score() -> None:
    rule = StoppingRule("least-rise-1")
    for epoch, noise in enumerate([1.0, 0.5, 0.4999], start=1):
        rule.update(epoch, robustness(FIRST, FIRST + noise * (SECOND - FIRST)))
    assert rule.stopped_at == 3
    assert json.loads(json.dumps(rule.state_dict()))["seen"][0][0] == 1

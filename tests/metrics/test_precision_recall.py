"""Average precision against scikit-learn: exact if no bin is shared, else close."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from medtransfer.metrics.precision_recall import AveragePrecision


def compute(probabilities: torch.Tensor, truth: torch.Tensor, bins: int = 2**18) -> np.ndarray:
    metric = AveragePrecision(probabilities.shape[1], bins)
    for p, t in zip(probabilities.split(2), truth.split(2), strict=True):
        metric.update(p, t)
    return metric.compute()


def independent(probabilities: torch.Tensor, truth: torch.Tensor) -> list[float]:
    return [
        average_precision_score((truth == c + 1).flatten(), probabilities[:, c].flatten()) for c in range(probabilities.shape[1])
    ]


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_exact_on_the_grid(seed):
    generator = np.random.default_rng(seed)
    grid = AveragePrecision(3, 64).grid
    probabilities = torch.from_numpy(grid[generator.integers(0, 64, (5, 3, 8, 8))])
    truth = torch.from_numpy(generator.integers(0, 4, (5, 8, 8)))
    np.testing.assert_allclose(compute(probabilities, truth, 64), independent(probabilities, truth), rtol=1e-12)


def test_exact_for_probabilities_of_different_bins():
    probabilities = torch.tensor([0.0, 1e-6, 0.1, 0.1, 0.5, 0.501, 0.9, 0.999, 0.9999999, 1.0]).view(1, 1, 2, 5)
    truth = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0, 1, 0]).view(1, 2, 5)
    assert compute(probabilities, truth)[0] == pytest.approx(independent(probabilities, truth)[0], rel=1e-9)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0, 30.0])
@pytest.mark.parametrize("share", [0.002, 0.3])
def test_close_for_saturated_networks(sharpness, share):
    generator = torch.Generator().manual_seed(4)
    truth = (torch.rand(4, 64, 64, generator=generator) < share).long()
    logits = sharpness * (torch.randn(4, 1, 64, 64, generator=generator) + 2 * truth[:, None] - 1)
    probabilities = torch.sigmoid(logits)
    assert compute(probabilities, truth)[0] == pytest.approx(independent(probabilities, truth)[0], abs=1e-3)


def test_pixels_are_pooled_over_all_images():
    truth = torch.tensor([[[0, 0]], [[1, 0]], [[1, 1]]])
    assert compute(truth[:, None] * 0.2 + 0.1, truth).tolist() == [1.0]
    shifted = truth[:, None] * 0.2 + torch.tensor([0.5, 0.1, 0.1]).view(3, 1, 1, 1)  # perfect only within each image
    assert compute(shifted, truth)[0] == pytest.approx(independent(shifted, truth)[0])
    assert compute(shifted, truth)[0] < 1


@pytest.mark.parametrize(("highest", "expected"), [(0.5, 1.0), (0.50001, 0.0)])
def test_a_class_that_is_never_true(highest, expected):
    probabilities = torch.full((2, 1, 3, 3), 0.2)
    probabilities[1, 0, 2, 2] = highest
    assert compute(probabilities, torch.zeros(2, 3, 3).long()).tolist() == [expected]


def test_other_values_and_shapes_are_refused():
    truth = torch.zeros(1, 2, 2).long()
    for bad in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]"):
            AveragePrecision(1).update(torch.full((1, 1, 2, 2), bad), truth)
    with pytest.raises(ValueError, match=r"\(N, 2, H, W\)"):
        AveragePrecision(2).update(torch.zeros(1, 1, 2, 2), truth)

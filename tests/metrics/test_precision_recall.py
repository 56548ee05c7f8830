"""Average precision against scikit-learn: exact if no bin is shared, else close."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from medtransfer.metrics.precision_recall import AveragePrecision
from medtransfer.records import IGNORE


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


def test_pixels_that_wait_are_bounded() -> None:
    metric = AveragePrecision(2, 1000)
    for _ in range(900):  # of 4 pixels each
        metric.update(torch.full((1, 2, 2, 2), 0.25), torch.ones(1, 2, 2, dtype=torch.int64))
        assert all(len(parts) <= 256 and sum(map(len, parts)) < 2000 for parts in metric._uncounted)
    assert metric.state()["in_bins"].tolist() == [3600, 3600]


@pytest.mark.parametrize("images", [1, 3, 8, 40])
def test_what_is_counted_is_a_histogram_however_many_pixels_wait_for_it(images: int) -> None:
    """Fewer pixels than bins are counted at last, more of them now and then, and others are added to either."""
    generator, bins, regions = torch.Generator().manual_seed(images), 64, [[1, 2]]
    logits = torch.rand(images, 2, 5, 5, generator=generator) * 90 - 80
    probabilities, truth = torch.sigmoid(logits) / 2, torch.randint(0, 3, (images, 5, 5), generator=generator)
    truth[0, 0, :2] = IGNORE
    whole, parts = AveragePrecision(2, bins, regions), [AveragePrecision(2, bins, regions) for _ in range(2)]
    for number, (p, t) in enumerate(zip(probabilities.split(1), truth.split(1), strict=True)):
        for metric in (whole, parts[number % 3 == 0]):
            metric.update(p, t)
    counted = truth != IGNORE
    edges, expected = np.linspace(-88, 17, bins), []
    for labels in ([1], [2], [1, 2]):
        share = probabilities[:, [label - 1 for label in labels]].sum(dim=1)[counted].double().clamp(1e-38, 1)
        cells = np.abs(share.logit().numpy()[:, None] - edges).argmin(axis=1)  # the nearest bin
        is_true = np.isin(truth[counted].numpy(), labels)
        expected += [np.bincount(cells[is_true == label], minlength=bins) for label in (False, True)]
    for state in (whole.state(), whole.state()):  # to look at it changes nothing
        assert np.array_equal(state["bins"], np.flatnonzero(np.concatenate(expected)))
        assert np.array_equal(state["in_bins"], np.concatenate(expected)[state["bins"]])
    first, second = parts
    first.merge(second.state())
    assert np.array_equal(first.compute(), whole.compute())
    first.update(probabilities[:1], truth[:1])
    whole.update(probabilities[:1], truth[:1])
    assert all(np.array_equal(first.state()[name], values) for name, values in whole.state().items())


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


def test_the_histograms_of_many_classes_are_not_copied_at_once() -> None:
    """Copies of those of 150 classes took 2 GB; the last of these classes is never true, nor probable."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(1, 31, 16, 16, generator=generator).softmax(dim=1)[:, 1:]
    truth = torch.randint(0, 30, (1, 16, 16), generator=generator)
    metric = AveragePrecision(30, 2**15)
    metric.update(probabilities, truth)
    metric.state()
    tracemalloc.start()
    found = metric.compute()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 2 * 2**15 * 10  # bytes of ten of the 30
    assert found == pytest.approx([*independent(probabilities[:, :-1], truth), 1.0], abs=2e-3)

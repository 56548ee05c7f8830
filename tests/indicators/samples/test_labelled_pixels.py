"""Labels on a grid by hand; the sample is balanced, bounded, seeded and the same for any batches."""

import numpy as np
import pytest
import torch

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, to_grid


def masks() -> torch.Tensor:
    """Four masks of 8 x 8 pixels, of a published set of test values: a disc of class 1, a corner of class 2."""
    n, y, x = np.ogrid[:4, :8, :8]
    disc = (y - 3) ** 2 + (x - 3 - n % 2) ** 2 <= 5
    return torch.from_numpy(np.where(disc, 1, np.where((y >= 6) & (x >= 4), 2, 0)).astype(np.uint8))


def batch_of(features: torch.Tensor, labels: torch.Tensor, positions: list[int]) -> Batch:
    return Batch(np.array(positions), features=[features], labels=labels)


def test_the_majority_of_a_cell_counts_and_of_a_tie_the_lowest_label():
    assert np.bincount(masks().numpy().ravel()).tolist() == [140, 84, 32]
    grid, shares = to_grid(masks(), 3, 4, 4)
    assert grid.shape == (4, 4, 4) and np.bincount(grid.ravel()).tolist() == [40, 16, 8]
    assert shares.sum(axis=1) == pytest.approx(np.ones((4, 4, 4)))
    tie = torch.tensor([[[2, 1], [1, 2]]], dtype=torch.uint8)
    assert to_grid(tie, 3, 1, 1)[0].tolist() == [[[1]]]


def test_cells_of_ignored_pixels_are_not_sampled():
    labels = torch.tensor([[[0, 1, 255, 255], [1, 1, 255, 0], [0, 255, 2, 2], [0, 255, 255, 2]]], dtype=torch.uint8)
    grid, _ = to_grid(labels, 3, 2, 2)
    assert grid.tolist() == [[[1, 255], [0, 2]]]  # of a tie the class wins
    taken = LabelledPixels(("a",), 3, -1, 100, 0)
    taken.update(batch_of(torch.arange(4.0).view(1, 1, 2, 2), labels, [0]))
    assert taken.collect().features.ravel().tolist() == [2, 0, 3]


def maps(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 5, 4, 4)).astype(np.float32))


def sample(pixels: int, seed: int = 0, batch: int = 4, features: torch.Tensor | None = None, order: tuple[int, ...] = (0, 1, 2, 3)):
    names = tuple(f"image {row}" for row in range(4))
    taken, features = LabelledPixels(names, 3, -1, pixels, seed), maps() if features is None else features
    for start in range(0, 4, batch):
        rows = list(order[start : start + batch])
        taken.update(batch_of(features[rows], masks()[rows], rows))
    return taken.collect()


def test_each_class_has_the_same_share_where_it_has_the_pixels():
    assert np.bincount(sample(15).labels).tolist() == [5, 5, 5]
    assert np.bincount(sample(1000).labels).tolist() == [40, 16, 8]
    assert sample(1000).flags == {}
    assert np.bincount(sample(1000).images).tolist() == [16] * 4


def test_the_pixels_are_those_of_their_class():
    grid = to_grid(masks(), 3, 4, 4)[0]
    features = maps()
    for label in range(3):
        own = {row.tobytes() for row in features.permute(0, 2, 3, 1).numpy()[grid == label]}
        chosen = sample(15).features[sample(15).labels == label].astype(np.float32)
        assert {row.tobytes() for row in chosen} < own


@pytest.mark.parametrize(("batch", "order"), [(1, (0, 1, 2, 3)), (3, (0, 1, 2, 3)), (2, (3, 1, 0, 2))])
def test_batches_and_their_order_change_nothing(batch, order):
    first, second = sample(15), sample(15, batch=batch, order=order)
    assert np.array_equal(first.features, second.features) and np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.features, sample(15, seed=1).features)


def test_every_pixel_has_the_same_chance():
    counts = np.zeros(8)
    features = maps()
    grid = to_grid(masks(), 3, 4, 4)[0]
    rows = [row.tobytes() for row in features.permute(0, 2, 3, 1).numpy()[grid == 2]]
    for seed in range(300):
        drawn = sample(6, seed=seed)
        for row in drawn.features[drawn.labels == 2].astype(np.float32):
            counts[rows.index(row.tobytes())] += 1
    assert counts.sum() == 600 and np.abs(counts - 75).max() < 4 * np.sqrt(75)


def test_what_is_not_finite_is_replaced_and_counted():
    features = maps()
    features[0] = torch.nan
    features[1, 2] = torch.inf
    broken = sample(1000, features=features)
    assert np.isfinite(broken.features).all() and broken.flags == {"nonfinite": 32}


def test_classes_that_the_grid_loses_are_flagged():
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 0, 0] = 1
    taken = LabelledPixels(("a",), 3, -1, 30, 0)
    taken.update(batch_of(maps()[:1], labels, [0]))
    assert taken.collect().flags == {"empty_classes": 2, "vanishing_classes": 1}
    with pytest.raises(ValueError, match="got none"):
        LabelledPixels(("a",), 3, -1, 30, 0).collect()

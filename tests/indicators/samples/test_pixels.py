"""Pixels of all images: uniform, of bounded size, and the same for any batches."""

import numpy as np
import pytest
import torch

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.pixels import Embeddings, PlainPixels

NAMES = tuple(f"image {position}" for position in range(8))
CELLS = torch.arange(8 * 25, dtype=torch.float32).view(8, 1, 5, 5) + 1  # the feature is the number of the pixel


def sample(pixels: int, batch: int = 8, seed: int = 0, maps: torch.Tensor = CELLS) -> Embeddings:
    taken = PlainPixels(NAMES, -1, pixels, seed)
    for start in range(0, 8, batch):
        taken.update(Batch(np.arange(start, start + batch), features=[maps[start : start + batch]]))
    return taken.collect()


def test_every_pixel_is_taken_once_if_there_is_room():
    everything = sample(1000)
    assert np.sort(everything.features.ravel()).tolist() == list(range(1, 201))
    assert np.array_equal(everything.images, (everything.features.ravel() - 1) // 25)


def test_every_pixel_is_as_likely():
    counts = np.bincount(np.concatenate([sample(20, seed=seed).features.ravel() for seed in range(200)]).astype(int))[1:]
    assert counts.sum() == 4000 and np.square(counts - 20).sum() / 18 == pytest.approx(200, abs=60)  # chi-squared, 3 sd


def test_batches_change_nothing():
    assert np.array_equal(sample(20, batch=1).features, sample(20).features)


def test_embeddings_that_are_not_finite_are_zeros_and_counted():
    maps = CELLS.clone()
    maps[3, 0, 0] = torch.nan
    everything = sample(1000, maps=maps)
    assert everything.flags == {"nonfinite": 5} and (everything.features == 0).sum() == 5
    assert len(everything.keep(everything.images != 3).images) == 175
    with pytest.raises(ValueError, match="at least one image"):
        PlainPixels(NAMES, -1, 10, 0).collect()

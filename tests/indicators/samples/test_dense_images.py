"""Dense images: all pixels of few images, the same for any batches, within the size of the sample."""

import numpy as np
import pytest
import torch

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.dense_images import MOST, DenseImages

NAMES = tuple(f"image {position}" for position in range(10))


def sample(maps: torch.Tensor, pixels: int, batch: int = 10, seed: int = 0):
    dense = DenseImages(NAMES, -1, pixels, seed)
    for start in range(0, 10, batch):
        dense.update(Batch(np.arange(start, start + batch), features=[maps[start : start + batch]]))
    return dense.collect()


def maps(side: int) -> torch.Tensor:
    """Each feature is the position of the image, its cell, and a half."""
    cells = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side).expand(10, 1, side, side)
    return torch.cat([torch.arange(10.0).view(10, 1, 1, 1).expand_as(cells), cells, torch.full_like(cells, 0.5)], 1)


def test_as_many_images_as_fit_with_all_their_pixels():
    chosen = sample(maps(4), 70)
    assert np.unique(chosen.images, return_counts=True)[1].tolist() == [16] * 4
    assert np.array_equal(chosen.features[:, 0], chosen.images)
    assert chosen.features[:, 1].tolist() == list(range(16)) * 4
    assert len(np.unique(sample(maps(4), 10**6).images)) == 10


@pytest.mark.parametrize(("pixels", "images", "each"), [(5, 1, 5), (1000, 5, MOST)])
def test_of_larger_maps_the_same_number_of_pixels_is_drawn(pixels, images, each):
    chosen = sample(maps(20), pixels)
    assert np.unique(chosen.images, return_counts=True)[1].tolist() == [each] * images
    assert all(len(set(chosen.features[chosen.images == image, 1])) == each for image in set(chosen.images))


def test_batches_change_nothing_and_the_seed_does():
    first = sample(maps(20), 1000)
    assert np.array_equal(sample(maps(20), 1000, batch=2).features, first.features)
    assert not np.array_equal(sample(maps(20), 1000, seed=1).features, first.features)


def test_embeddings_that_are_not_finite_are_counted():
    broken = maps(4)
    broken[:, 2, 0, 0] = np.nan
    assert sample(broken, 10**6).flags == {"nonfinite": 10}
    with pytest.raises(ValueError, match="at least one image"):
        DenseImages(NAMES, -1, 10, 0).collect()

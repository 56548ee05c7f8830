"""The probabilities of the source classes are those of the position that a pixel is in, at the pixels of all indicators."""

import numpy as np
import pytest
import torch

from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples import source_pixels
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels
from medtransfer.indicators.samples.source_pixels import SourcePixels

IMAGES = ("a", "b", "c", "d")


def batches(shape: tuple[int, int] = (2, 2), classes: int = 5) -> list[Batch]:
    """Two batches of two images, 16 x 16 labels on a grid of 8 x 8; features are the index of the pixel in its image."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.arange(64.0).view(1, 1, 8, 8).expand(2, 1, 8, 8)
    return [
        Batch(
            np.array(positions), features=[fine, torch.zeros(2, 1, *shape)],
            labels=torch.randint(0, 3, (2, 8, 8), generator=generator).repeat_interleave(2, 1).repeat_interleave(2, 2),
            source_probabilities=torch.rand(2, classes, *shape, generator=generator).softmax(1),
        )
        for positions in ([2, 0], [1, 3])
    ]  # fmt: skip


def collect(sampler, steps):
    for step in steps:
        sampler.update(step)
    return sampler.collect()


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (8, 8)])
def test_they_are_of_the_position_that_holds_the_pixel(shape):
    steps = batches(shape)
    pixels = collect(LabelledPixels(IMAGES, 3, -2, 30, 7), steps)
    sample = collect(SourcePixels(IMAGES, 3, -2, 30, 7, False), steps)
    assert len(sample.images) == 30
    shared = 64 // (shape[0] * shape[1])
    assert sample.flags == ({"shared_positions": shared} if shared > 1 else {})
    assert np.array_equal(sample.images, pixels.images) and np.array_equal(sample.labels, pixels.labels)
    for row, image, pixel in zip(sample.features, sample.images, pixels.features[:, 0].astype(int), strict=True):
        step = next(step for step in steps if image in step.positions)
        y, x = divmod(pixel, 8)
        probabilities = step.source_probabilities[list(step.positions).index(image)]
        assert np.allclose(row, probabilities[:, y * shape[0] // 8, x * shape[1] // 8].numpy())


def test_of_many_source_classes_the_first_pixels_are_kept(monkeypatch):
    monkeypatch.setattr(source_pixels, "MOST", 5 * 3 * 4)
    sample = collect(SourcePixels(IMAGES, 3, -2, 300, 7, False), batches())
    assert np.array_equal(sample.features, collect(SourcePixels(IMAGES, 3, -2, 12, 7, False), batches()).features)
    assert np.array_equal(np.bincount(sample.labels), [4, 4, 4]) and sample.flags == {
        "many_source_classes": 5,
        "shared_positions": 16,
    }


def test_what_is_not_finite_is_left_out_and_without_a_head_all_is():
    steps = batches()
    steps[0].source_probabilities[0] = torch.nan
    sample = collect(SourcePixels(IMAGES, 3, -2, 300, 7, False), steps)
    assert (
        set(sample.images) == {0, 1, 3}
        and sample.flags == {"nonfinite": 64, "shared_positions": 16}
        and np.allclose(sample.features.sum(1), 1)
    )
    empty = SourcePixels(IMAGES, 3, -2, 300, 7, True).collect()
    assert len(empty.images) == 0 and empty.flags == {"no_source_head": 1}

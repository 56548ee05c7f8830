"""HD95 against brute force over all outline pixels, scipy's Hausdorff distance, and shapes measured by hand."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist, directed_hausdorff

from medtransfer.metrics.surface import hd95, outline, surface_distances


def brute_outline(mask: np.ndarray) -> np.ndarray:
    """Coordinates of mask pixels with a 4-neighbour outside the mask or the image."""
    h, w = mask.shape
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))

    def inside(y: int, x: int) -> bool:
        return 0 <= y < h and 0 <= x < w and mask[y, x]

    return np.array([(y, x) for y, x in np.argwhere(mask) if not all(inside(y + dy, x + dx) for dy, dx in steps)])


def brute_hd95(a: np.ndarray, b: np.ndarray, pixel: tuple[float, float] = (1, 1)) -> float:
    table = cdist(brute_outline(a) * pixel, brute_outline(b) * pixel)
    return max(np.percentile(table.min(axis=1), 95), np.percentile(table.min(axis=0), 95))


def blobs(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    masks = [generator.random((13, 17)) < generator.uniform(0.05, 0.95) for _ in range(2)]
    for mask in masks:
        mask[generator.integers(13), generator.integers(17)] = True
    return masks


@settings(max_examples=40)
@given(st.integers(0, 2**31))
def test_equals_brute_force_and_is_symmetric(seed):
    a, b = blobs(seed)
    assert hd95(a, b) == pytest.approx(brute_hd95(a, b))
    assert hd95(b, a) == hd95(a, b)
    assert hd95(a[::-1].T.copy(), b[::-1].T.copy()) == pytest.approx(hd95(a, b))
    hausdorff = [directed_hausdorff(np.argwhere(outline(x)), np.argwhere(outline(y)))[0] for x, y in ((a, b), (b, a))]
    assert surface_distances(a, b).max() == pytest.approx(hausdorff[0])
    assert surface_distances(b, a).max() == pytest.approx(hausdorff[1])


def wavy(generator: np.random.Generator, noise: float) -> np.ndarray:
    """A smooth shape of 90 x 120 pixels, whose pixels are flipped with a probability."""
    field = cv2.resize(generator.normal(size=(5, 6)), (120, 90), interpolation=cv2.INTER_CUBIC)
    return (field > generator.uniform(-1, 1)) ^ (generator.random(field.shape) < noise)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([0, 0.001, 0.05, 0.5]), st.sampled_from([(1, 1), (0.7, 0.7), (1.5, 0.4)]))
def test_equals_the_percentile_of_scipys_distance_transforms(seed, noise, pixel):
    """The definition, computed from the distances of all pixels; to the last bit for distances in pixels."""
    generator = np.random.default_rng(seed)
    a, b = wavy(generator, noise), wavy(generator, noise)
    a[3, 4] = b[80, 100] = True
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    np.testing.assert_array_equal(outline(a), edges[0])
    table = [ndimage.distance_transform_edt(~edge, sampling=pixel) for edge in edges]
    expected = max(np.percentile(table[1][edges[0]], 95), np.percentile(table[0][edges[1]], 95))
    assert hd95(a, b, pixel) == (expected if pixel == (1, 1) else pytest.approx(expected, rel=1e-12))


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.2, 5), st.floats(0.2, 5))
def test_pixels_have_a_height_and_a_width(seed, height, width):
    a, b = blobs(seed)
    assert hd95(a, b, (height, width)) == pytest.approx(brute_hd95(a, b, (height, width)))


def test_millimetres_by_hand():
    point, other, empty = np.zeros((3, 20, 30), dtype=bool)
    point[0, 0], other[3, 4] = True, True
    assert hd95(point, other, (2.0, 0.5)) == pytest.approx(math.hypot(6, 2))
    assert hd95(point, empty, (2.0, 0.5)) == pytest.approx(math.hypot(40, 15))


@pytest.mark.parametrize("length", [3999, 8500, 20000])
def test_long_distances(length):
    a, b = np.zeros((2, 3, length), dtype=bool)
    a[0, 0] = b[2, -1] = True
    assert hd95(a, b) == math.hypot(2, length - 1)


def test_hand_made_distances():
    square, shifted = np.zeros((2, 20, 30), dtype=bool)
    square[5:10, 5:10] = True
    shifted[5:10, 12:17] = True
    assert hd95(square, square) == 0
    assert hd95(square, shifted) == 7
    point, other = np.zeros((2, 20, 30), dtype=bool)
    point[0, 0], other[3, 4] = True, True
    assert hd95(point, other) == 5


def test_a_few_far_pixels_do_not_count():
    truth = np.zeros((60, 60), dtype=bool)
    truth[5:35, 5:35] = True
    prediction = truth.copy()
    prediction[59, 59] = True
    assert hd95(prediction, truth) == 0
    assert surface_distances(prediction, truth).max() > 30


def test_empty_masks_and_other_arrays():
    empty, full = np.zeros((30, 40), dtype=bool), np.ones((30, 40), dtype=bool)
    assert hd95(empty, empty) == 0
    assert hd95(empty, full) == hd95(full, empty) == 50
    assert hd95(full, full) == 0
    corner = empty.copy()
    corner[0, 0] = True
    assert 0 < hd95(corner, full) < math.hypot(30, 40)
    for other in (full.T, full.astype(np.uint8)):
        with pytest.raises(ValueError, match="two bool masks"):
            hd95(other, full)

"""Augmentations: shapes, alignment of image and mask, no padding in Algorithm 2's crops, and the distribution of draws."""

import math
from typing import Any

import numpy as np
import pytest

from medtransfer.data.augmentation import AUGMENTATIONS, affine, crop_map, rotate_crop, rotate_flip, warp

SIZE = (16, 12)
JITTERED = {"rotate-crop"}  # whose pixels are fractions


def disc(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of a bright disc beside its centre, and the disc's mask."""
    rows, columns = np.mgrid[:side, :side]
    mask = ((rows - side * 0.45) ** 2 + (columns - side * 0.55) ** 2 < (side * 0.25) ** 2).astype(np.uint8)
    return np.repeat(mask[..., None] * 155 + 50, 3, axis=2).astype(np.uint8), mask


def fractions(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, C), uint8 or float32 in [0, 1], as fractions (C, H, W)."""
    return np.moveaxis(pixels / 255 if pixels.dtype == np.uint8 else pixels, -1, 0)


@pytest.mark.parametrize(("channels", "label"), [(1, 3), (3, 3), (3, 255)])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_results_have_the_input_size_and_follow_the_seed(name: str, channels: int, label: int) -> None:
    image, mask = disc(32)
    results = [
        AUGMENTATIONS[name](image[..., :channels], np.uint8(label) * mask, np.random.default_rng(seed), SIZE) for seed in (5, 5, 6)
    ]
    for pixels, labels in results:
        assert pixels.shape == (*SIZE, 3 if name in JITTERED else channels)
        assert pixels.dtype == (np.float32 if name in JITTERED else np.uint8)
        assert labels.shape == SIZE and labels.dtype == np.uint8 and set(np.unique(labels)) == {0, label}  # no label between
    assert np.array_equal(results[0][0], results[1][0]) and np.array_equal(results[0][1], results[1][1])
    assert not np.array_equal(results[0][0], results[2][0])


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_all_channels_move_alike(name: str, channels: int) -> None:
    image, mask = disc(96)
    many = image[..., :1] - 10 * np.arange(channels, dtype=np.uint8)
    for seed in range(10):
        pixels, labels = AUGMENTATIONS[name](many, mask, np.random.default_rng(seed), (48, 48))
        assert pixels.shape == (48, 48, channels)
        for channel in fractions(pixels):
            bright = channel > (channel.min() + channel.max()) / 2
            assert (bright != labels).mean() < 0.01 + 0.02 * labels.mean()


def test_channels_have_their_own_brightness() -> None:
    image = np.full((32, 32, 4), 128, np.uint8)
    for name in ("affine", "rotate-crop"):
        moved = [AUGMENTATIONS[name](image, image[..., 0], np.random.default_rng(seed), (8, 8))[0] for seed in range(300)]
        lit = [fractions(pixels)[:, 4, 4] for pixels in moved]
        together = np.corrcoef(np.array(lit).T)
        assert np.std(lit, axis=0).min() > 0.02 and np.abs(together - np.eye(4)).max() < 0.25


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_image_and_mask_move_alike(name: str) -> None:
    image, mask = disc(96)
    for seed in range(40):
        pixels, labels = AUGMENTATIONS[name](image, mask, np.random.default_rng(seed), (48, 48))
        red = fractions(pixels)[0]
        bright = red > (red.min() + red.max()) / 2  # whatever brightness and contrast
        assert (bright != labels).mean() < 0.01 + 0.02 * labels.mean()


def test_crops_hold_no_padding_at_any_angle() -> None:
    rng = np.random.default_rng(0)
    window, size = 50, (35, 35)
    image, mask = np.full((window, window, 3), 255, np.uint8), np.ones((window, window), np.uint8)
    angles = np.concatenate([rng.uniform(0, 2 * math.pi, 1000), np.arange(9) * math.pi / 4])
    corners = np.array([[0, 0, 1], [34, 0, 1], [0, 34, 1], [34, 34, 1]]).T
    for angle in angles:
        position = rng.choice([rng.random(2), rng.integers(2, size=2)])  # the extremes as well
        matrix = crop_map(mask.shape, size, angle, position)
        crop, labels = warp(image, mask, matrix, size)
        assert crop.min() == 255 and labels.min() == 1
        mapped = matrix @ corners
        assert mapped.min() >= -1e-9 and mapped.max() <= window - 1 + 1e-9


@pytest.mark.parametrize("window", [(40, 60), (60, 40)])
def test_windows_and_crops_need_not_be_square(window: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image, mask = np.full((*window, 1), 255, np.uint8), np.ones(window, np.uint8)
    for angle in rng.uniform(0, 2 * math.pi, 200):
        crop, labels = warp(image, mask, crop_map(window, (20, 30), angle, rng.random(2)), (20, 30))
        assert crop.shape == (20, 30, 1) and crop.min() == 255 and labels.min() == 1


@pytest.mark.parametrize(("angle", "turns"), [(0, 0), (math.pi / 2, 1), (math.pi, 2), (3 * math.pi / 2, 3)])
def test_quarter_turns_are_exact(angle: float, turns: int) -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    crop, labels = warp(image, image[..., 0], crop_map((32, 32), (16, 16), angle, np.array([0.25, 0.75])), (16, 16))
    expected = np.rot90(image[12:28, 4:20], turns)  # free = 16, so left 4 and top 12
    assert np.array_equal(crop, expected) and np.array_equal(labels, expected[..., 0])


def test_centres_of_crops_fill_the_free_square() -> None:
    middle = np.array([7.5, 7.5, 1])
    extremes = [crop_map((32, 32), (16, 16), 0.3, np.array(position)) @ middle for position in ((0, 0), (1, 1))]
    free = 32 - 16 * (math.sin(0.3) + math.cos(0.3))  # Algorithm 2's l
    np.testing.assert_allclose(extremes[1] - extremes[0], free)
    np.testing.assert_allclose((extremes[0] + extremes[1]) / 2, 15.5)


def test_smaller_windows_than_the_diagonal_are_refused() -> None:
    image, mask = disc(22)
    with pytest.raises(ValueError, match="at least 22.6"):
        rotate_crop(image, mask, np.random.default_rng(0), (16, 16))
    assert rotate_crop(*disc(23), np.random.default_rng(0), (16, 16))[1].shape == (16, 16)


@pytest.mark.parametrize(("augmentation", "span"), [(rotate_flip, math.pi), (rotate_crop, 2 * math.pi)])
def test_angles_and_flips_are_fair_and_independent(augmentation: Any, span: float) -> None:
    rows, columns = np.mgrid[:64, :64]
    image = np.stack([rows * 4, columns * 4, rows * 0 + 128], 2).astype(np.uint8)  # gradients reveal the transform
    mask = np.zeros((64, 64), np.uint8)
    draws = []
    for seed in range(400):
        pixels = fractions(augmentation(image, mask, np.random.default_rng(seed), (16, 16))[0])
        down, right = pixels[:, 12, 8] - pixels[:, 4, 8], pixels[:, 8, 12] - pixels[:, 8, 4]  # (red, green) each
        flip = right[1] * down[0] - right[0] * down[1] < 0
        sign = -1 if flip else 1
        draws.append((math.atan2(sign * down[1], sign * down[0]) % (2 * math.pi), flip))
    turns, flips = np.array(draws).T
    if span == math.pi:  # all on one side, but for the grain of uint8 at the ends
        assert min(np.mean(turns < math.pi), np.mean(turns > math.pi)) < 0.03
    low = turns % span < span / 2
    assert 0.42 < low.mean() < 0.58 and 0.42 < flips.mean() < 0.58
    assert abs(flips[low].mean() - flips[~low].mean()) < 0.2


def test_rotation_pads_with_zero_and_crops_the_centre() -> None:
    image, mask = np.full((24, 24, 1), 200, np.uint8), np.ones((24, 24), np.uint8)
    whole = [rotate_flip(image, mask, np.random.default_rng(seed), (24, 24)) for seed in range(20)]
    assert any(pixels.min() == 0 and labels.min() == 0 for pixels, labels in whole)
    inner = [rotate_flip(image, mask, np.random.default_rng(seed), (12, 12)) for seed in range(20)]
    assert all((pixels == 200).all() and labels.min() == 1 for pixels, labels in inner)


def test_affine_never_mirrors_and_stays_upright() -> None:
    """The brightest corner of a gradient stays the same one, and a point in the middle moves by little."""
    rows, columns = np.mgrid[:64, :64]
    image = np.stack([rows * 3 + 20, columns * 3 + 20, rows * 0 + 128], 2).astype(np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34, 30:34] = 1
    angles, middles = [], []
    for seed in range(200):
        moved, labels = affine(image, mask, np.random.default_rng(seed), (64, 64))
        pixels = fractions(moved)
        down, right = pixels[:, 40, 32] - pixels[:, 24, 32], pixels[:, 32, 40] - pixels[:, 32, 24]  # (red, green) each
        assert down[0] > 0 and right[1] > 0 and right[1] * down[0] > right[0] * down[1]
        angles.append(math.degrees(math.atan2(down[1], down[0])))
        middles.append(np.argwhere(labels == 1).mean(axis=0) - 31.5)
    assert max(map(abs, angles)) < 17 and np.ptp(angles) > 20
    assert np.abs(middles).max() < 0.05 * 64 + 1 and np.ptp(middles, axis=0).min() > 3

"""Stored pixels against values by hand."""

import numpy as np
import pytest
import torch

from medtransfer.data.colours import to_colours
from medtransfer.data.pixels import centre, normalise, normalise_pixels, per_channel, to_images


def test_rgb_scales_and_moves_channels_first() -> None:
    pixels = np.array([[[0, 51, 255], [255, 102, 0]]], dtype=np.uint8)  # (1, 2, 3)
    expected = torch.tensor([[[0.0, 1.0]], [[0.2, 0.4]], [[1.0, 0.0]]])
    assert torch.equal(to_images(pixels), expected)
    assert torch.equal(to_images(torch.from_numpy(pixels)[None])[0], expected)


def test_rgb_repeats_grey() -> None:
    grey = to_images(np.array([[[51], [255]]], dtype=np.uint8))
    assert grey.shape == (3, 1, 2)
    assert torch.equal(grey, torch.tensor([[[0.2, 1.0]]]).repeat(3, 1, 1))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_numbers_of_channels_are_kept(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 3, channels), dtype=np.uint8)
    assert torch.equal(to_images(pixels), torch.tensor(pixels.transpose(2, 0, 1) / 255, dtype=torch.float32))
    assert per_channel([0.1, 0.2, 0.3], channels) == (0.1, 0.2, 0.3, 0.1, 0.2)[:channels]
    assert np.array_equal(to_colours(pixels), pixels[..., [0, 0, 0]])


def test_normalise_by_channel() -> None:
    images = torch.full((2, 3, 1, 1), 0.5)
    done = normalise(images, (0.5, 0.25, 0.0), (1.0, 0.5, 0.25))
    assert torch.equal(done, torch.tensor([0.0, 0.5, 2.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 1))


@pytest.mark.parametrize(("size", "expected"), [((2, 2), [[6, 7], [11, 12]]), ((4, 5), None), ((1, 3), [[6, 7, 8]])])
def test_centre(size: tuple[int, int], expected: list[list[int]] | None) -> None:
    pixels = np.arange(20).reshape(4, 5)
    assert np.array_equal(centre(pixels, size), pixels if expected is None else expected)


def test_centre_of_something_smaller() -> None:
    with pytest.raises(ValueError, match="at least"):
        centre(np.zeros((4, 5)), (5, 5))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("fractions", [False, True])
def test_pixels_are_normalised_on_the_device_to_the_bits_of_one_step_after_the_other(channels: int, fractions: bool) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(256, size=(2, 5, 7, channels), dtype=np.uint8))
    mean, std = per_channel((0.485, 0.456, 0.406), max(channels, 3)), per_channel((0.229, 0.224, 0.225), max(channels, 3))
    mean, std = (mean, std) if channels != 2 else (mean[:2], std[:2])
    expected = normalise(to_images(pixels), mean, std)
    given = pixels / 255 if fractions else pixels
    before = given.clone()
    done = normalise_pixels(given, mean, std)
    assert torch.equal(done, expected) and done.dtype == torch.float32
    assert done.is_contiguous(memory_format=torch.channels_last) and torch.equal(given, before)
    by_hand = (pixels[1, 4, 6, 0].item() / 255 - 0.485) / 0.229
    assert done[1, 0, 4, 6].item() == pytest.approx(by_hand, rel=1e-5)


def test_fractions_are_rounded_to_look_at() -> None:
    shown = to_colours(torch.tensor([[[0.0, 0.5, 1.2], [0.2, -0.1, 0.999]]]))
    assert shown.dtype == np.uint8 and shown.tolist() == [[[0, 128, 255], [51, 0, 255]]]

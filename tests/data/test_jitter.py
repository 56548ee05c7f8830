"""Algorithm 3 against a slow reference by pixel, and its HSV against colorsys."""

import colorsys
import itertools

import numpy as np
import pytest
import torch

from medtransfer.data.jitter import RANGES, JitterDraws, draw_jitter, hsv_to_rgb, jitter, rgb_to_hsv

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def reference(image: np.ndarray, draws: tuple[float, float, float, float]) -> np.ndarray:
    """Follow Algorithm 3 line by line for one image (H, W, 3)."""
    brightness, contrast, saturation, hue = draws
    x = brightness * image.astype(float)
    grey = 0.2989 * x[..., 0] + 0.587 * x[..., 1] + 0.114 * x[..., 2]
    x = contrast * x + (1 - contrast) * grey.mean()
    x = np.maximum(saturation * x + (1 - saturation) * grey[..., None], 0)
    for pixel in np.ndindex(x.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*x[pixel])
        x[pixel] = colorsys.hsv_to_rgb((h + hue) % 1, s, v)
    return x


def single(brightness: float = 1, contrast: float = 1, saturation: float = 1, hue: float = 0) -> JitterDraws:
    return JitterDraws(*(torch.tensor([float(value)]) for value in (brightness, contrast, saturation, hue)))


@pytest.mark.parametrize("device", DEVICES)
def test_against_the_reference(device: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((5, 7, 6, 3))
    images[0, 0] = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.2]])
    draws = draw_jitter(5, 1, 2, 0)
    got = jitter(torch.from_numpy(images).float().permute(0, 3, 1, 2).to(device), draws).cpu().permute(0, 2, 3, 1)
    factors = np.stack([draws.brightness, draws.contrast, draws.saturation, draws.hue], 1).tolist()
    expected = [reference(image, row) for image, row in zip(images, factors, strict=True)]
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("corner", list(itertools.product((0.0, 0.3, 1.0, 1.1), repeat=3)))
def test_hsv_against_colorsys(corner: tuple[float, float, float]) -> None:
    pixel = torch.tensor(corner).view(1, 3, 1, 1)
    hsv = rgb_to_hsv(pixel)
    np.testing.assert_allclose(hsv.flatten(), colorsys.rgb_to_hsv(*corner), atol=1e-6)
    np.testing.assert_allclose(hsv_to_rgb(hsv), pixel, atol=1e-6)


@pytest.mark.parametrize(
    ("pixel", "changes", "expected"),
    [
        ((0.2, 0.5, 1.0), {}, (0.2, 0.5, 1.0)),
        ((0.2, 0.5, 1.0), {"brightness": 1.1}, (0.22, 0.55, 1.1)),  # beyond white is kept
        ((1.0, 0.0, 0.0), {"saturation": 0.9}, (0.9 + 0.1 * 0.2989, 0.02989, 0.02989)),  # grey .2989
        ((1.0, 0.0, 0.0), {"hue": 0.05}, (1.0, 0.3, 0.0)),
        ((1.0, 0.0, 0.0), {"hue": -0.05}, (1.0, 0.0, 0.3)),
    ],
)
def test_a_pixel_by_hand(pixel: tuple[float, ...], changes: dict[str, float], expected: tuple[float, ...]) -> None:
    image = torch.tensor(pixel).view(1, 3, 1, 1)
    torch.testing.assert_close(jitter(image, single(**changes)).flatten(), torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_contrast_by_hand() -> None:
    image = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)  # mean grey .5 * .9999
    expected = torch.tensor([0.025, 0.975]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)
    torch.testing.assert_close(jitter(image, single(contrast=0.95)), expected, atol=1e-5, rtol=0)
    assert jitter(image, single(contrast=1.05)).min() == 0  # HSV needs it: -.025 otherwise


def test_channels_that_are_no_colours_by_hand() -> None:
    images = torch.tensor([[[0.0, 1.0]], [[0.2, 0.6]]])[None]  # (1, 2, 1, 2), means .5 and .4
    draws = JitterDraws(torch.tensor([[1.0, 1.1]]), torch.tensor([[0.95, 1.05]]), None, None)
    # .95 x + .05 * .5; and of x = .22, .66, whose mean is .44: 1.05 x - .05 * .44
    torch.testing.assert_close(jitter(images, draws), torch.tensor([[[[0.025, 0.975]], [[0.209, 0.671]]]]))
    with pytest.raises(ValueError, match=r"images \(1, 2, H, W\), one per draw"):
        jitter(torch.rand(1, 3, 4, 4), draws)


def test_each_channel_has_its_own_draws() -> None:
    draws = draw_jitter(4000, 0, 0, 0, channels=5)
    assert draws.brightness.shape == draws.contrast.shape == (4000, 5) and draws.hue is None and len(draws) == 4000
    for name in ("brightness", "contrast"):
        values, (low, high) = getattr(draws, name), RANGES[name]
        assert low <= values.min() < low + 0.01 * (high - low) and high >= values.max() > high - 0.01 * (high - low)
    together = np.corrcoef(torch.cat([draws.brightness, draws.contrast], 1).T)
    assert np.abs(together - np.eye(10)).max() < 0.08
    assert torch.equal(draw_jitter(3, 0, 0, 0, channels=5).contrast, draws[:3].contrast)


def test_hue_does_nothing_on_replicated_grey() -> None:
    grey = torch.rand(1, 1, 9, 9).repeat(1, 3, 1, 1)
    assert torch.equal(jitter(grey, single(1.05, 1.02, 1.1, 0.05)), jitter(grey, single(1.05, 1.02, 1.1, 0)))


def test_saturation_hardly_changes_replicated_grey() -> None:
    grey = torch.rand(1, 1, 9, 9).repeat(1, 3, 1, 1)
    moved = jitter(grey, single(saturation=1.1)) - grey
    assert moved.abs().max() <= 0.1 * 1.01e-4  # the weights sum to .9999
    together = jitter(grey, single(contrast=0.95, saturation=0.9)) - jitter(grey, single(contrast=0.95))
    assert together.abs().max() <= 0.1 * 0.0501  # the grey of the text is the one before the contrast


def test_draws_fill_their_ranges() -> None:
    draws = draw_jitter(4000, 0, 0, 0)
    for name, (low, high) in RANGES.items():
        values = getattr(draws, name)
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)


def test_a_draw_depends_on_image_seed_repeat_and_view() -> None:
    few, many = draw_jitter(3, 7, 0, 0), draw_jitter(9, 7, 0, 0)
    assert torch.equal(few.hue, many[:3].hue)
    assert torch.equal(many[np.array([8, 2])].contrast, many.contrast[[8, 2]])
    others = [draw_jitter(3, *key).hue for key in ((8, 0, 0), (7, 1, 0), (7, 0, 1))]
    assert not any(torch.equal(few.hue, other) for other in others)


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="one per draw"):
        jitter(torch.rand(2, 3, 4, 4), single())
    with pytest.raises(ValueError, match="one per draw"):
        jitter(torch.rand(1, 1, 4, 4), single())

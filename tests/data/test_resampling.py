"""Resampling against Pillow, and decoding against Pillow, to one grey level and to the bit."""

import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from medtransfer.config import Pretrain
from medtransfer.data.decoding import decode_pixels, read_pixels
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.resampling import RESAMPLINGS
from medtransfer.data.source_folders import read_picture
from medtransfer.errors import InputError

SIDE = 48


def noise(width: int, height: int) -> np.ndarray:
    """Return the worst case of a resampling, independent pixels."""
    return np.random.default_rng(width + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey_levels(a: np.ndarray, b: np.ndarray) -> int:
    """Return the largest difference of two pictures."""
    assert a.shape == b.shape == (SIDE, SIDE, 3) and a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize(("width", "height"), [(100, 75), (75, 100), (48, 48), (30, 41), (400, 90)])
def test_a_box_of_whole_pixels_is_that_of_pillow_to_a_grey_level(width: int, height: int) -> None:
    pixels = noise(width + 8, height + 8)
    part = Image.fromarray(pixels[3 : 3 + height, 5 : 5 + width])
    expected = np.array(part.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    resized = RESAMPLINGS["torch"].crop(torch.from_numpy(pixels), (4.6, 3.4, 4.6 + width, 3.4 + height), SIDE)
    assert grey_levels(resized, expected) <= 1


@pytest.mark.parametrize(("width", "height"), [(100, 75), (75, 100), (48, 48), (30, 41), (401, 90)])
def test_the_middle_is_that_of_pillow_to_a_grey_level(width: int, height: int) -> None:
    pixels = noise(width, height)
    ours = RESAMPLINGS["torch"].middle(torch.from_numpy(pixels), SIDE)
    assert grey_levels(ours, RESAMPLINGS["pillow"].middle(Image.fromarray(pixels), SIDE)) <= 1


def test_parts_of_a_pixel_move_a_crop_by_half_a_pixel_at_most() -> None:
    """Every column has its number as its value, so that a crop tells where its middle is."""
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 3, 2).repeat(120, 0)
    for seed in range(100):
        left, top, width, height = np.random.default_rng(seed).uniform(1, (40, 20, 150, 90))
        box = (left, top, left + width + 5, top + height + 5)
        exact = RESAMPLINGS["pillow"].crop(Image.fromarray(ramp), box, SIDE)
        whole = RESAMPLINGS["torch"].crop(torch.from_numpy(ramp), box, SIDE)
        assert grey_levels(exact, whole) <= 1


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.4, 0.4), (199.6, 99.7, 200.0, 100.0), (0.0, 99.9, 200.0, 100.0)])
def test_a_crop_has_a_pixel_at_least(box: tuple[float, float, float, float]) -> None:
    pixels = noise(200, 100)
    assert RESAMPLINGS["torch"].crop(torch.from_numpy(pixels), box, SIDE).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "JPEG", {"quality": 90}), ("RGB", "JPEG", {"quality": 60, "subsampling": 0}),
        ("RGB", "JPEG", {"quality": 75, "progressive": True}), ("L", "JPEG", {}), ("CMYK", "JPEG", {}), ("RGB", "PNG", {}),
        ("P", "PNG", {}), ("RGB", "WEBP", {}),
    ],
)  # fmt: skip
def test_pixels_are_those_that_pillow_reads(mode: str, format: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / f"picture.{format.lower()}"
    Image.fromarray(noise(101, 77)).convert(mode).save(path, format, **options)
    pixels = read_pixels(path)
    assert pixels.shape == (77, 101, 3) and pixels.is_contiguous() and np.array_equal(pixels, read_picture(path))


def test_pixels_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "turned.jpg"), read_picture(tmp_path / "turned.jpg"))
    assert read_pixels(tmp_path / "turned.jpg").shape == (40, 30, 3)


def test_plain_jpeg_files_are_not_read_twice() -> None:
    stream = io.BytesIO()
    Image.fromarray(noise(40, 30)).save(stream, "JPEG")
    assert decode_pixels(stream.getvalue(), lambda: pytest.fail("Pillow is not needed")).shape == (30, 40, 3)


@pytest.mark.parametrize("kept", [0, 1, 400, 2000])
def test_half_a_file_is_refused(kept: int, tmp_path: Path) -> None:
    Image.fromarray(noise(101, 77)).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:kept])
    for name in ("half.jpg", "none.jpg"):
        with pytest.raises(InputError, match=f"expected a picture in .*{name}, but it is unreadable"):
            read_pixels(tmp_path / name)


@pytest.mark.parametrize("randaugment", [None, {"ops": 2, "magnitude": 9, "scale": 30}])
def test_a_source_draws_the_same_crops_and_flips_by_each(randaugment: dict[str, int] | None, tmp_path: Path) -> None:
    """Of smooth pictures, in which half a pixel is little."""
    for split in ("train", "val"):
        (tmp_path / split / "c").mkdir(parents=True)
        for number in range(6):
            coarse = Image.fromarray(noise(5, 4) // 2 + 20 * number)
            coarse.resize((160, 120), Image.Resampling.BICUBIC).save(tmp_path / split / "c" / f"{number}.jpg", quality=95)
    both = [
        SourceImages(
            tmp_path, "train", SIDE, mean=(0,) * 3, std=(1,) * 3, train=True, randaugment=randaugment, seed=3, resampling=name
        )
        for name in ("pillow", "torch")
    ]  # fmt: skip
    for index in range(6):
        exact, whole = (images[index][0].float() for images in both)
        assert (exact - whole).abs().mean() < 1.5 < (exact - whole.flip(1)).abs().mean()


def test_the_params_take_every_resampling() -> None:
    assert get_args(Pretrain.model_fields["resampling"].annotation) == tuple(RESAMPLINGS)

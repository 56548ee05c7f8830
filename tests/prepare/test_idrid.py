"""IDRiD: the published windows, and masks in every encoding."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import read_nonzero
from medtransfer.prepare.readers.idrid import scan, slide_window
from medtransfer.prepare.samples.retina import encode_palette_tiff
from medtransfer.records import PreparedTarget

Run = Callable[..., PreparedTarget]
PAPER = (1120, 2240)


def test_the_paper_has_119_windows_and_50_tiles_per_image(samples: Path) -> None:
    retina = scan(samples / "retina", PAPER, {})
    assert len(retina.windows["train"]) == 119 and len(retina.windows["test"]) == 50
    assert retina.expected == {"train": 6426, "test": 1350}
    assert retina.input == (224, 224)
    assert retina.windows["train"][0] == (0, 0, 448, 448) and retina.windows["train"][-1] == (672, 1792, 448, 448)


def test_tiles_cover_every_pixel_once() -> None:
    covered = np.zeros(PAPER, int)
    for top, left, height, width in slide_window(PAPER, 224, 224):
        covered[top : top + height, left : left + width] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((100, 64), "to fill the height 100, but 4 pixels are left; choose a `size` with a height of 96 or 112, or"),
        ((64, 100), "to fill the width 100, but 4 pixels are left; choose a `size` with a width of 96 or 112, or"),
        ((16, 64), "no larger than the height of `size`, 16, but got 32 pixels"),
    ],
)
def test_windows_that_leave_a_border_are_refused(size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        slide_window(size, 32, 16)


@pytest.mark.parametrize("value", [0, -3, "big"])
def test_bad_options_are_refused(value: object, run: Run) -> None:
    with pytest.raises(InputError, match="the option stride to be a positive number"):
        run("idrid", options={"stride": value})


def test_validation_images_are_cut_like_test_images(run: Run) -> None:
    prepared = run("idrid", validation=0.5)
    assert prepared.info.counts == {"train": 36, "validation": 50, "test": 50}
    assert set(prepared.samples("validation")["height"]) == {16}
    assert set(prepared.samples("train")["height"]) == {32}


def write_mask(path: Path, encoding: str, dots: np.ndarray) -> None:
    if encoding == "one bit":
        Image.fromarray(dots).save(path)
    elif encoding == "one-bit palette":
        path.write_bytes(encode_palette_tiff(dots))
    elif encoding.startswith("grey"):
        Image.fromarray(dots.astype(np.uint8) * int(encoding.split()[1])).save(path)
    else:
        colour = np.zeros((*dots.shape, 4), np.uint8)
        colour[..., 0] = dots * 255
        colour[..., 3] = 255
        Image.fromarray(colour if encoding == "red, opaque" else colour[..., :3].copy()).save(path)


@pytest.mark.parametrize("encoding", ["one bit", "one-bit palette", "grey 1", "grey 76", "grey 255", "red", "red, opaque"])
def test_every_encoding_of_a_mask_means_the_same(encoding: str, tmp_path: Path) -> None:
    dots = np.zeros((20, 30), bool)
    dots[3:5, 7:9] = dots[15, 20] = True
    write_mask(tmp_path / "m.tif", encoding, dots)
    assert np.array_equal(read_nonzero(tmp_path / "m.tif"), dots)


def test_sample_masks_hold_the_dots_and_only_zero_and_one(run: Run) -> None:
    prepared = run("idrid")
    assert [int(mask.max()) for mask in prepared.masks] == [1, 1, 1]
    assert 0 < prepared.masks.mean() < 0.02


def test_a_testing_set_without_masks_says_what_to_do(copy: Callable[[str], Path]) -> None:
    root = copy("idrid")
    shutil.rmtree(root / "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set")
    with pytest.raises(InputError, match=r"masks in .*b. Testing Set/1. Microaneurysms, but there are none for its 1 images; add"):
        scan(root, PAPER, {})


def test_a_set_of_another_name_is_not_passed_over(copy: Callable[[str], Path]) -> None:
    root = copy("idrid")
    photographs = root / "A. Segmentation/1. Original Images"
    (photographs / "b. Testing Set").rename(photographs / "b. Test Set")
    with pytest.raises(InputError, match="a. Training Set/ and b. Testing Set/ of .*, but got b. Test Set/ too"):
        scan(root, PAPER, {})

"""Folder reader: pixel formats, label tables, layouts, groups, and bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Picture
from medtransfer.prepare.readers.folder import scan

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)
DISC = (RAMP > 20).astype(np.uint8)


def write_pair(root: Path, image: Image.Image, mask: np.ndarray, name: str = "a", suffix: str = ".png") -> Path:
    for folder, picture in (("images", image), ("masks", Image.fromarray(mask))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        picture.save(root / folder / (name + (suffix if folder == "images" else ".png")))
    return root


def load(root: Path, **options: Any) -> Picture:
    (picture,) = scan(root, RAMP.shape, options).items[0].load()
    return picture


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".PNG"])
def test_grey_files_of_every_kind_are_read(suffix: str, tmp_path: Path) -> None:
    picture = load(write_pair(tmp_path, Image.fromarray(RAMP), DISC, suffix=suffix))
    assert picture.image.shape == (6, 8, 1)
    assert np.abs(picture.image[..., 0].astype(int) - RAMP).max() <= (4 if suffix == ".jpg" else 0)
    assert np.array_equal(picture.labels, DISC)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_transparency_and_palette_give_three_channels(mode: str, tmp_path: Path) -> None:
    colour = np.stack([RAMP, RAMP + 100, 255 - RAMP], axis=-1)
    image = Image.fromarray(colour).quantize(256) if mode == "P" else Image.fromarray(colour).convert(mode)
    picture = load(write_pair(tmp_path, image, DISC))
    assert np.array_equal(picture.image, np.asarray(image.convert("RGB")))


def test_sixteen_bits_are_scaled_by_percentiles(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 80
    picture = load(write_pair(tmp_path, Image.fromarray(wide), DISC))
    low, high = np.percentile(wide, (0.5, 99.5))
    assert np.array_equal(picture.image[..., 0], np.rint(np.clip((wide - low) / (high - low), 0, 1) * 255))


def test_grey_images_among_colour_images_are_repeated(tmp_path: Path) -> None:
    write_pair(tmp_path, Image.fromarray(RAMP), DISC)
    write_pair(tmp_path, Image.fromarray(np.dstack([RAMP] * 3)), DISC, name="b")
    mixed = scan(tmp_path, RAMP.shape, {})
    assert mixed.channels == 3
    (picture,) = mixed.items[0].load()
    assert np.array_equal(picture.image, np.dstack([RAMP] * 3))


@pytest.mark.parametrize("high", [1, 255])
def test_binary_masks_need_no_table(high: int, tmp_path: Path) -> None:
    assert np.array_equal(load(write_pair(tmp_path, Image.fromarray(RAMP), DISC * high)).labels, DISC)


def test_a_table_names_the_classes(tmp_path: Path) -> None:
    raw = np.choose(RAMP % 3, [0, 128, 255]).astype(np.uint8)
    labels = {0: "background", 128: "disc", 255: "cup"}
    mask = load(write_pair(tmp_path, Image.fromarray(RAMP), raw), classes=["cup", "disc"], labels=labels).labels
    assert np.array_equal(mask, np.choose(RAMP % 3, [0, 2, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            r"the labels \[0, 255\] in .*a.png, but got \[76\]; it has the values 0, 76 .*"
            r"`labels`, such as `labels: \{0: background, 76: foreground\}`.*, or split",
        ),
        (
            {"labels": {0: "background", 3: "foreground", 9: "ignore"}},
            r"the labels \[0, 3\] in .*a.png, but got \[76\]; .*`labels: \{0: background, 3: foreground, 9: ignore, 76: ignore\}`",
        ),
        (
            {"classes": ["x", "y"]},
            r"the option labels to map .* each of x, y, but it is not set; look at .*masks.a.png: .* 0, 76 .*"
            r"`labels: \{0: background, 76: <class>\}` \(each value x, y, `background` or `ignore`\)",
        ),
        ({"labels": {0: "background", 76: "other"}}, "one of background, foreground, ignore, but got"),
        ({"classes": []}, "the option classes"),
        ({"group": "("}, "a regular expression"),
        ({"group": "case"}, r"a group in parentheses in the option group, such as \(\[A-Z\]\+\)_, but case has none"),
        ({"suffix": "_mask"}, r"masks named \*_mask in .*, but got a.png; set the option `suffix`"),
        ({"threshold": "high"}, "the option threshold .* but got 'high'"),
        ({"threshold": 1, "labels": {0: "background"}}, "without other `labels` than `ignore`"),
        ({"scaling": "volume"}, "one of image, group, dataset, or a rule"),
        ({"scaling": [9, 1]}, "low < high"),
        ({"join": "yes"}, "the option join to be true or false"),
        ({"classes": ["x", "y"], "labels": {255: "ignore"}}, "to each of x, y"),
        ({"image_suffix": "_training"}, r"images named \*_training in .*images, but got a.png; set the option `image_suffix`"),
        ({"masks": "images"}, "the option suffix to distinguish masks from images"),
        ({"masks": "truth"}, "the folder .*truth, but it does not exist; .*`masks`"),
    ],
)
def test_unclear_masks_and_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(write_pair(tmp_path, Image.fromarray(RAMP), DISC * 76), **options)


def test_coloured_masks_of_unequal_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="colour channels differ"):
        load(write_pair(tmp_path, Image.fromarray(RAMP), np.dstack([DISC, DISC, DISC * 3])))


def test_nan_is_refused(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, 0] = np.nan
    with pytest.raises(InputError, match="but 1 of 48 are NaN"):
        load(write_pair(tmp_path, Image.fromarray(values), DISC, suffix=".tif"))


def test_class_folders_are_told_from_a_layout_with_masks(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"class{number}").mkdir()
    with pytest.raises(InputError, match=r"if the subfolders class0, .*class4, … are classes .* use `--reader image-folder`$"):
        scan(tmp_path, RAMP.shape, {})
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"expected the folder .*masks, .* with the options `images` and `masks`$"):
        scan(tmp_path, RAMP.shape, {})
    (tmp_path / "images").rmdir()
    for number in range(1, 7):
        (tmp_path / f"class{number}").rmdir()
    (tmp_path / "__MACOSX").mkdir()
    with pytest.raises(InputError, match=r"with the options `images` and `masks`$"):
        scan(tmp_path, RAMP.shape, {})


def test_the_folder_of_the_images_is_told_from_the_one_above(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=rf"or give the folder above, {tmp_path}, as the root$"):
        scan(tmp_path / "images", RAMP.shape, {})


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw.zip").touch()
    with pytest.raises(InputError, match=r"expected the folder .*raw\.zip, but it is a file; `root` must name"):
        scan(tmp_path / "raw.zip", RAMP.shape, {})


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, Image.fromarray(RAMP), DISC)
    write_pair(tmp_path, Image.fromarray(RAMP), DISC, suffix=".bmp")
    with pytest.raises(InputError, match="one picture per name .* a.bmp and a.png"):
        load(tmp_path)


def test_split_folders_suffixes_and_groups(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_pair(tmp_path / split, Image.fromarray(RAMP), DISC, name=f"{split}7_01")
        (tmp_path / split / "masks" / f"{split}7_01.png").rename(tmp_path / split / "masks" / f"{split}7_01_seg.png")
    described = scan(tmp_path, (6, 8), {"suffix": "_seg", "group": r"(\w+)_\d+"})
    assert [(item.split, item.group, item.source) for item in described.items] == [
        ("train", "train7", "train/images/train7_01.png"),
        ("test", "test7", "test/images/test7_01.png"),
    ]
    assert described.expected == {}

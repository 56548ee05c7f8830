"""Folder reader: layouts, several masks per picture, values of masks, and shared scales."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import read_rule, such_as
from medtransfer.prepare.picture_files import RawMask
from medtransfer.prepare.readers.contract import Item, Picture
from medtransfer.prepare.readers.folder import scan
from medtransfer.records import ImageRule

SIZE = (8, 8)
GREY = np.arange(64, dtype=np.uint8).reshape(SIZE)
LEFT, TOP = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
LEFT[:, :4], TOP[:4] = 255, 255


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def pair(root: Path, name: str, mask: np.ndarray = LEFT, **options: Any) -> None:
    save(root / "images" / f"{name}.png", np.resize(GREY, mask.shape))
    save(root / "masks" / f"{name}.png", mask, **options)


def load(item: Item) -> Picture:
    (picture,) = item.load()
    return picture


def test_pairs_in_subfolders_are_read(tmp_path: Path) -> None:
    names = [f"flat{n}" for n in range(6)] + ["p1/a", "p1/b", "p2/a", "p2/b"]
    for name in names:
        pair(tmp_path, name)
    described = scan(tmp_path, SIZE, {})
    assert [item.source for item in described.items] == [f"images/{name}.png" for name in names]
    assert described.notes[0].startswith("4 of 10 pictures are in subfolders")
    (tmp_path / "images" / "p1" / "link").symlink_to(tmp_path / "images")  # would never end
    grouped = scan(tmp_path, SIZE, {"group": r"(p\d|flat\d)"}).items
    assert [item.group for item in grouped] == [*names[:6], "p1", "p1", "p2", "p2"]


def test_validation_folders_are_read_and_others_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("Training", "val", "test"):
        pair(tmp_path / split, split)
    save(tmp_path / "extra" / "deep" / "x.png", GREY)
    save(tmp_path / "test" / "edges" / "x.png", GREY)
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        items = scan(tmp_path, SIZE, {}).items
    assert [item.split for item in items] == ["train", "validation", "test"]
    assert "not read: extra (1), test/edges (1)" in caplog.text
    pair(tmp_path / "train", "twice")
    with pytest.raises(InputError, match="one folder of the split 'train' in .*, but got Training and train; join them"):
        scan(tmp_path, SIZE, {})


def test_both_endings_differ(tmp_path: Path) -> None:
    save(tmp_path / "images" / "21_training.tif", GREY)
    save(tmp_path / "masks" / "21_manual1.gif", LEFT)
    (item,) = scan(tmp_path, SIZE, {"image_suffix": "_training", "suffix": "_manual1", "group": r"(\d+)$"}).items
    assert item.group == "21" and np.array_equal(load(item).labels, LEFT // 255)


@pytest.mark.parametrize("homes", [(".", "."), ("images", "masks"), (".", "masks")])
def test_several_masks_are_joined_when_asked(homes: tuple[str, str], tmp_path: Path) -> None:
    images, masks = (tmp_path / home for home in homes)
    for name in ("benign (1)", "benign (2)"):
        save(images / f"{name}.png", GREY)
        save(masks / f"{name}_mask.png", LEFT)
    save(masks / "benign (1)_mask_1.png", TOP)
    options = {"images": homes[0], "masks": homes[1], "suffix": "_mask"}
    with pytest.raises(InputError, match=r"one mask named benign \(1\)_mask for .*_mask_1.png; set `join: true`"):
        scan(tmp_path, SIZE, options)
    first, second = scan(tmp_path, SIZE, options | {"join": True}).items
    assert np.array_equal(load(first).labels, (LEFT | TOP) // 255) and np.array_equal(load(second).labels, LEFT // 255)
    assert [path.name for path in first.files] == ["benign (1).png", "benign (1)_mask.png", "benign (1)_mask_1.png"]


def test_joined_masks_may_not_disagree(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", GREY)
    save(tmp_path / "masks" / "a.png", LEFT // 255)
    save(tmp_path / "masks" / "a_1.png", TOP // 255 * 2)
    labels = {0: "background", 1: "x", 2: "y"}
    (item,) = scan(tmp_path, SIZE, {"join": True, "classes": ["x", "y"], "labels": labels}).items
    with pytest.raises(InputError, match=r"one class per pixel .* but 16 pixels of .*a_1\.png"):
        load(item)


def test_the_suffixes_passed_over_are_in_the_error(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    pair(tmp_path, "b")
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.mha")
    with pytest.raises(InputError, match=r"a\.png has none .*passed over: \.mha \(1, such as a\.mha\)"):
        scan(tmp_path, SIZE, {})


@pytest.mark.parametrize(
    ("options", "ending", "remedy"),
    [
        ({}, "_mask", r"named a for .*a\.png in .*masks, .* the 2 images .*a_mask\.png; set the option `suffix: _mask`"),
        ({"suffix": "_gt"}, " (seg)", r"named a_gt for .*a \(seg\)\.png; set the option `suffix: ' \(seg\)'`"),
        ({}, "_mask_1", "set the option `suffix: _mask`"),
        ({"suffix": "_gt"}, "", r"masks named \*_gt in .*, but got a.png"),
    ],
)
def test_another_ending_of_all_masks_is_named(options: dict[str, Any], ending: str, remedy: str, tmp_path: Path) -> None:
    for name in ("a", "ab"):
        save(tmp_path / "images" / f"{name}.png", GREY)
        save(tmp_path / "masks" / f"{name}{ending}.png", LEFT)
    with pytest.raises(InputError, match=remedy):
        scan(tmp_path, SIZE, options)


@pytest.mark.parametrize(
    ("ending", "remedy"), [("_MA", r"masks/lesions, and set the option `suffix: _MA`$"), ("", "masks/lesions$")]
)
def test_masks_in_another_subfolder_are_named(ending: str, remedy: str, tmp_path: Path) -> None:
    for name in ("x_01", "x_02"):
        save(tmp_path / "images" / f"{name}.png", GREY)
        save(tmp_path / "masks/lesions" / f"{name}{ending}.png", LEFT)
    folders = rf"there is lesions/x_01{ending}.png; let `images` be images and `masks` "
    with pytest.raises(InputError, match=folders + remedy):
        scan(tmp_path, SIZE, {})
    save(tmp_path / "images/z/x_03.png", GREY)
    save(tmp_path / "masks/lesions" / f"x_03{ending}.png", LEFT)
    with pytest.raises(InputError, match="; give images and masks the same paths below the folders `images` and `masks`"):
        scan(tmp_path, SIZE, {})


def test_jpeg_masks_are_split_in_the_middle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 8, SIZE, dtype=np.uint8)
    blank = np.zeros(SIZE, np.uint8)
    for name, mask in (("a", np.where(LEFT, 255 - noise, noise)), ("b", blank + noise % 2)):
        save(tmp_path / "images" / f"{name}.png", GREY)
        save(tmp_path / "masks" / f"{name}.jpg", mask, quality=100)
    first, second = scan(tmp_path, SIZE, {}).items
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        assert np.array_equal(load(first).labels, LEFT // 255)
        assert not load(second).labels.any()  # 0 and 1 are noise here, no class
    assert caplog.text.count("values near 0 and 255") == 1


@pytest.mark.parametrize("values", [[0, 50], [0, 50, 255], [0, 128, 255], [0, 33, 250], [0, 222, 255]])
def test_lossy_masks_of_other_values_are_not_split(values: list[int]) -> None:
    raw = RawMask(np.array([values], np.uint8), "labels", lossy=True)
    with pytest.raises(InputError, match="its compression changes values, so split them with the option `threshold: 128`"):
        read_rule(None, ["disc"], None).number(raw, Path("disc.jpg"))


@pytest.mark.parametrize(
    ("classes", "from_command", "remedy"),
    [
        (["disc"], False, "save whole numbers, which alone can be the option `labels`, or split them with `threshold`"),
        (["disc"], True, "save whole numbers, which alone can be --labels, or split them with --mask-threshold"),
        (["disc", "cup"], False, "save whole numbers, which alone can be the option `labels`"),
    ],
)
def test_values_that_labels_cannot_name_are_not_proposed_as_such(classes: list[str], from_command: bool, remedy: str) -> None:
    labels = None if len(classes) == 1 else {0: "background", 1: "disc", 2: "cup"}
    rule = replace(read_rule(labels, classes, None), from_command=from_command)
    with pytest.raises(InputError) as refused:
        rule.number(RawMask(np.array([[0, 0.7]]), "labels", lossy=False), Path("disc.nii.gz"))
    assert str(refused.value).endswith(f"; {remedy}")
    with pytest.raises(InputError, match=r"map raw values, whole numbers, to one of .*, but got \{0: 'background', 0.7: 'disc'\}"):
        read_rule({0: "background", 0.7: "disc"}, classes, None)


def test_values_between_need_a_threshold(tmp_path: Path) -> None:
    pair(tmp_path, "a", GREY)
    (item,) = scan(tmp_path, SIZE, {}).items
    with pytest.raises(InputError, match=r"`labels`, or split them with `threshold`"):
        load(item)
    (item,) = scan(tmp_path, SIZE, {"threshold": 40}).items
    assert load(item).labels.sum() == 24


def test_values_between_of_a_lossy_mask_are_split(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", GREY)
    save(tmp_path / "masks" / "a.jpg", GREY)
    (item,) = scan(tmp_path, SIZE, {}).items
    with pytest.raises(InputError, match="its compression changes values, so split them with the option `threshold: 128`, or save"):
        load(item)
    (item,) = scan(tmp_path, SIZE, {"threshold": 128}).items
    assert set(np.unique(load(item).labels)) <= {0, 1}


def test_a_misspelt_option_is_named_with_the_one_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the reader 'folder' knows \(images, .*\), but got sufix \(did you mean suffix\?\)"):
        scan(tmp_path, SIZE, {"sufix": "_mask"})


@pytest.mark.parametrize(
    ("values", "example"),
    [
        ([0, 77, 255], "{0: background, 77: ignore, 255: foreground}"),
        ([0, 3, 7], "{0: background, 3: foreground, 7: ignore}"),
        ([5, 255], "{5: ignore, 255: foreground}"),
    ],
)
def test_white_is_proposed_as_the_only_class(values: list[int], example: str) -> None:
    assert f"`labels: {example}`" in such_as(values, ["foreground"], {})


@pytest.mark.parametrize(
    ("values", "known", "example"),
    [
        ([0, 1, 2], {}, "{0: background, 1: heart, 2: cavity}"),
        ([0, 2, 5], {}, "{0: background, 2: <class>, 5: <class>}"),
        ([0, 5], {2: "cavity"}, "{0: background, 2: cavity, 5: heart}"),
        ([0, 1], {2: "heart"}, "{0: background, 1: cavity, 2: heart}"),
        ([0, 5, 7], {2: "cavity"}, "{0: background, 2: cavity, 5: <class>, 7: <class>}"),
        ([0, 7], {2: "cavity", 5: "heart"}, "{0: background, 2: cavity, 5: heart, 7: ignore}"),
    ],
)
def test_of_several_classes_none_is_guessed(values: list[int], known: dict[int, str], example: str) -> None:
    assert f"`labels: {example}`" in such_as(values, ["heart", "cavity"], known)


def test_indices_of_a_palette_are_called_so(tmp_path: Path) -> None:
    picture = Image.fromarray(LEFT // 255 * np.uint8(251)).convert("P")
    picture.putpalette([0, 0, 0] + [0] * 750 + [255, 0, 0])
    pair(tmp_path, "a")
    picture.save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match=r"but got the palette indices \[251\]"):
        load(scan(tmp_path, SIZE, {}).items[0])


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        ([0, 1, 255], {"labels": {255: "ignore"}}),
        ([0, 255, 128], {"labels": {128: "ignore"}}),
        ([0, 1, 255], {"labels": {0: "background", 1: "foreground", 255: "ignore"}}),
        ([3, 200, 128], {"labels": {128: "ignore"}, "threshold": 100}),
    ],
)
def test_ignored_pixels_are_255_and_survive_resizing(raw: list[int], options: dict[str, Any], tmp_path: Path) -> None:
    bands = np.repeat(np.array(raw, np.uint8), 4)[:, None].repeat(12, 1)  # three bands of four rows
    pair(tmp_path, "a", bands)
    described = scan(tmp_path, (6, 6), options)
    assert described.ignore
    assert np.array_equal(load(described.items[0]).labels, np.repeat([0, 1, 255], 2)[:, None].repeat(6, 1))


TISSUE, METAL = 1064, 4095  # raw values of 40 HU and of metal in 12-bit CT
SLICES = {"case1_0": [0, TISSUE, 1200], "case1_1": [0, TISSUE, METAL], "case2_0": [900, TISSUE, 1100]}


@pytest.mark.parametrize(
    ("scaling", "tissue"),
    [
        ([64, 2064], [128, 128, 128]),  # 255 * 1000 / 2000, rounded to even
        ("dataset", [66, 66, 66]),  # 255 * 1064 / 4095
        ("group", [66, 66, 209]),  # 255 * 164 / 200 in the second case
        ("image", [226, 66, 209]),  # 255 * 1064 / 1200: the same tissue, another grey
    ],
)
def test_the_same_tissue_is_the_same_grey(scaling: Any, tissue: list[int], tmp_path: Path) -> None:
    for name, (low, middle, high) in SLICES.items():
        pair(tmp_path, name)
        values = np.repeat(np.array([low, middle, high, high], np.uint16), 16).reshape(SIZE)
        save(tmp_path / "images" / f"{name}.png", values)
    described = scan(tmp_path, SIZE, {"scaling": scaling, "group": r"(case\d)_"})
    assert [int(load(item).image[2, 0, 0]) for item in described.items] == tissue
    assert any("3 of 3 pictures hold 16-bit or float grey" in note for note in described.notes) == (scaling == "image")
    rule = described.scaling if isinstance(described.scaling, str) else described.scaling()
    words = {"dataset": "per dataset (0 and 4095, of training images)", "group": "per group", "image": "per image"}
    assert rule.endswith(words[scaling] if isinstance(scaling, str) else "64 and 2064 map to 0 and 255, clipped")
    rules = {
        "dataset": ImageRule("percentiles", 0.5, 99.5, over="dataset", limits=[[0.0, 4095.0]]),
        "group": ImageRule("percentiles", 0.5, 99.5, over="group", group=r"(case\d)_"),
        "image": ImageRule("percentiles", 0.5, 99.5, over="image"),
    }  # fmt: skip
    assert described.image_rule() == (rules[scaling] if isinstance(scaling, str) else ImageRule("window", 64, 2064))


def test_a_group_that_matches_every_name_is_proposed(tmp_path: Path) -> None:
    pair(tmp_path, "case07_1")
    assert any("`group`, such as `'(case\\d+)_'`" in note for note in scan(tmp_path, (8, 8), {}).notes)


def test_what_a_user_may_not_expect_is_said(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    pair(tmp_path, "b")
    exif = Image.Exif()
    exif[274] = 3
    save(tmp_path / "images" / "a.png", GREY)
    (tmp_path / "images" / "a.png").unlink()
    save(tmp_path / "images" / "a.jpg", GREY, exif=exif)
    turned, squeezed, alone = scan(tmp_path, (8, 16), {}).notes
    assert turned.startswith("1 of 2 pictures are turned by their EXIF orientation") and turned.endswith("a.jpg)")
    assert squeezed.startswith("2 of 2 pictures have another aspect than 8x16 and are squeezed to it")
    assert alone.startswith("every picture counts as a patient of its own") and "`group`, so that" in alone
    described = scan(tmp_path, (8, 16), {"keep_aspect": True, "group": "(.+)"})
    padded = described.items[1]
    assert len(described.notes) == 1 and not load(padded).labels[:, :4].any() and load(padded).labels[:, 4:8].all()

"""Crops with and without a class: which are cut, what they hold, and which images give none, against masks made by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.prepare.photograph_layouts import boxes, photograph, save_mask

from medtransfer.errors import InputError
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.crops import Crop, Cutter
from medtransfer.prepare.stage import prepare
from medtransfer.records import IGNORE

CAR, ROAD, UNLABELLED = 26, 7, 0
OPTIONS = {"of": "cityscapes", "read": {"classes": ["bus", "car"]}, "frame": [24, 30], "class": "car", "sides": [0.5, 0.5]}


@pytest.fixture
def streets(tmp_path: Path) -> Callable[..., Path]:
    """`streets(*masks)` writes these masks in the layout of Cityscapes, all of one training city but the last two."""

    def write(*masks: np.ndarray) -> Path:
        for number, mask in enumerate(masks):
            split, city = ("train", "aachen") if number < len(masks) - 2 else ("val", "lindau")
            name = f"{split}/{city}/{city}_{number:06d}_000019"
            photograph(tmp_path / f"raw/leftImg8bit/{name}_leftImg8bit.png", number)
            save_mask(tmp_path / f"raw/gtFine/{name}_gtFine_labelIds.png", mask)
        return tmp_path / "raw"

    return write


def scan(root: Path, **options: object) -> Scan:
    return READERS["crops"](root, (12, 12), OPTIONS | options)


FULL, EMPTY = boxes({}, ground=CAR), boxes({}, ground=ROAD)
HALF, VOID = boxes({CAR: (0, 0, 24, 15)}, ground=ROAD), boxes({}, ground=UNLABELLED)


def test_the_first_crop_that_fits_is_taken() -> None:
    mask = boxes({2: (3, 4, 11, 15), 1: (5, 5, 9, 8), IGNORE: (20, 0, 24, 30)})
    cutter = Cutter(2, 0.2, (0.2, 0.6), 200)
    for seed in range(40):
        for present in (True, False):
            rng = np.random.default_rng(seed)
            side = rng.integers(5, 15, 200)  # .2 and .6 of 24 pixels, 4.8 and 14.4
            top, left = rng.integers(0, 24 - side + 1), rng.integers(0, 30 - side + 1)
            for y, x, s in zip(top, left, side, strict=True):
                inside = mask[y : y + s, x : x + s]
                if (inside == 2).mean() >= 0.2 if present else not np.isin(inside, (2, IGNORE)).any():
                    break
            assert cutter.draw(mask, present, np.random.default_rng(seed)) == Crop(present, y, x, s)


def test_a_kind_that_no_crop_is_of_gives_none() -> None:
    rng = np.random.default_rng(0)
    assert Cutter(1, 0.2, (0.1, 0.5), 50).draw(np.zeros((24, 30), np.uint8), True, rng) is None
    assert Cutter(1, 0.2, (0.1, 0.5), 50).draw(np.ones((24, 30), np.uint8), False, rng) is None
    few = boxes({1: (0, 0, 24, 3)})  # 3 of at least 12 columns are more than .2, and nothing else is
    crop = Cutter(1, 0.2, (0.5, 1.0), 1000).draw(few, True, rng)
    assert crop is not None and crop.left == 0
    assert Cutter(1, 0.3, (0.5, 1.0), 1000).draw(few, True, rng) is None


def test_images_that_give_one_kind_alone_give_that_and_others_are_left_out(streets: Callable[..., Path]) -> None:
    described = scan(streets(*[FULL] * 6, *[EMPTY] * 6, VOID, FULL, VOID))
    labels = [int(picture.labels) for item in described.items for picture in item.load()]
    assert labels == [1] * 6 + [0] * 6 + [1]
    assert (described.task, described.classes, dict(described.left_out)) == ("binary", ("car",), {"train": 1, "test": 1})
    other, left = described.notes[-2:]
    assert left == "2 images gave neither a crop with car nor without: left out"
    assert 0 < int(other.split()[0]) < 13 and "no crop of the kind that their coin decided" in other


def test_a_coin_decides_where_both_kinds_are_possible(streets: Callable[..., Path]) -> None:
    root = streets(*[HALF] * 40)
    labels = [[int(p.labels) for item in scan(root, seed=seed).items for p in item.load()] for seed in (0, 0, 1)]
    assert labels[0] == labels[1] != labels[2]
    assert all(8 < sum(drawn) < 32 for drawn in labels)  # 40 coins: outside with a probability below .0001


@pytest.mark.parametrize("labels", ["images", "pixels"])
def test_crops_are_cut_from_image_and_mask_alike(labels: str, streets: Callable[..., Path]) -> None:
    mask = boxes({28: (0, 0, 24, 8), CAR: (6, 10, 20, 22), UNLABELLED: (22, 0, 24, 30)}, ground=ROAD)
    root = streets(*[mask] * 8)
    numbers = np.select([mask == CAR, mask == UNLABELLED], [1, IGNORE])
    for item in scan(root, labels=labels).items:
        (picture,) = item.load()
        pixels = np.asarray(Image.open(root / item.source))
        places = [
            (y, x) for y in range(13) for x in range(19) if (pixels[y : y + 12, x : x + 12] == picture.image).all()
        ]  # fmt: skip
        ((y, x),) = places
        inside = numbers[y : y + 12, x : x + 12]
        if labels == "pixels":
            assert (picture.labels == inside).all() and (inside == 1).mean() >= 0.2
        elif picture.labels:
            assert (inside == 1).mean() >= 0.2
        else:
            assert not inside.any()


def test_prepared_crops_are_equal_and_in_the_splits_of_their_images(streets: Callable[..., Path], tmp_path: Path) -> None:
    root = streets(*[HALF] * 20)
    made = [
        prepare(
            "crops", reader="crops", root=root, size=(16, 16), subset=True, split="official", validation=0.0,
            allow_duplicates=True, options=OPTIONS, out=tmp_path / out,
        )
        for out in ("one", "other")
    ]  # fmt: skip
    assert made[0].info.fingerprint == made[1].info.fingerprint
    assert made[0].info.counts == {"train": 18, "test": 2}


WRONG = {
    "of": ("crops", "a reader with masks"), "read": ([], "map options"), "frame": ([24], r"\[height, width\]"),
    "class": ("tram", "one of bus, car"), "share": (0, "above 0"), "sides": ([0.6, 0.5], "two shares"), "tries": (0, "a number"),
    "seed": (-1, "from 0"), "labels": ("masks", "images or pixels"),
}  # fmt: skip


@pytest.mark.parametrize("option", WRONG)
def test_wrong_options_are_refused(option: str, streets: Callable[..., Path]) -> None:
    value, expected = WRONG[option]
    with pytest.raises(InputError, match=rf"expected the option {option} .*{expected}"):
        scan(streets(*[HALF] * 3), **{option: value})


def test_readers_without_masks_and_images_without_crops_are_refused(streets: Callable[..., Path], samples: Path) -> None:
    with pytest.raises(InputError, match="reads the task multiclass; name another one"):
        READERS["crops"](samples / "flowers102", (12, 12), OPTIONS | {
            "of": "flowers102", "read": {"splits": {"valid": "train"}}, "class": "1",
        })  # fmt: skip
    with pytest.raises(InputError, match="none of 3 gives one; lower the option share"):
        scan(streets(*[VOID] * 3))

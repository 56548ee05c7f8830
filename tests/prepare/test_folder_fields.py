"""Folder reader on the layouts of DRIVE and Montgomery: several folders of masks, several endings, fields of view."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.readers.folder import scan
from medtransfer.prepare.stage import check_counts

SIZE = (8, 8)
LEFT, TOP = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
LEFT[:, :3], TOP[:2] = 255, 255
DRIVE = {
    "masks": "1st_manual", "image_suffix": ["_training", "_test"], "suffix": "_manual1", "classes": ["vessel"], "group": r"(\d+)$",
    "expected": {"train": 20, "test": 20},
}  # fmt: skip


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    for split, numbers in (("training", (21, 22)), ("test", (1, 2))):
        for number in numbers:
            name = f"{number:02d}_{split}"
            save(
                tmp_path / split / f"images/{name}.tif", np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            )
            save(tmp_path / split / f"1st_manual/{number:02d}_manual1.gif", LEFT)
            save(tmp_path / split / f"mask/{name}_mask.gif", 255 - TOP)
    return tmp_path


def test_drive(drive: Path) -> None:
    described = scan(drive, SIZE, DRIVE)
    assert [(item.split, item.group) for item in described.items] == [
        ("train", "21"),
        ("train", "22"),
        ("test", "01"),
        ("test", "02"),
    ]
    (picture,) = described.items[0].load()
    assert np.array_equal(picture.labels, LEFT // 255) and not described.ignore
    with pytest.raises(InputError, match="expected 20 train samples in .*, but got 2 .18 fewer."):
        check_counts(described, False, drive)


def test_pixels_outside_the_field_of_view_are_ignored(drive: Path) -> None:
    described = scan(drive, SIZE, DRIVE | {"field": "mask", "field_suffix": "_mask"})
    (picture,) = described.items[-1].load()
    assert np.array_equal(picture.labels, np.where(TOP > 0, 255, LEFT // 255)) and described.ignore
    assert described.items[-1].files[-1].name == "02_test_mask.gif"
    (drive / "test/mask/02_test_mask.gif").unlink()
    with pytest.raises(InputError, match=r"a field of view of every image in .*mask, but .*02_test\.tif has none \(1 such\)"):
        scan(drive, SIZE, DRIVE | {"field": "mask", "field_suffix": "_mask"})


MONTGOMERY = {
    "images": "CXR_png",
    "masks": ["ManualMask/leftMask", "ManualMask/rightMask"],
    "classes": ["lung"],
    "expected": {"all": 138},
}


@pytest.fixture
def montgomery(tmp_path: Path) -> Path:
    for name in ("MCUCXR_0001_0", "MCUCXR_0104_1"):
        save(tmp_path / f"CXR_png/{name}.png", np.arange(64, dtype=np.uint8).reshape(SIZE))
        save(tmp_path / f"ManualMask/leftMask/{name}.png", LEFT)
        save(tmp_path / f"ManualMask/rightMask/{name}.png", LEFT[:, ::-1])
    return tmp_path


def test_montgomery(montgomery: Path, caplog: pytest.LogCaptureFixture) -> None:
    described = scan(montgomery, SIZE, MONTGOMERY)
    assert [item.group for item in described.items] == ["CXR_png/MCUCXR_0001_0.png", "CXR_png/MCUCXR_0104_1.png"]
    (picture,) = described.items[1].load()
    assert np.array_equal(picture.labels, (LEFT | LEFT[:, ::-1]) // 255)
    assert len(described.items[0].files) == 3 and "not read" not in caplog.text
    with pytest.raises(InputError, match="expected 138 samples in .*, but got 2 .136 fewer."):
        check_counts(described, False, montgomery)
    (montgomery / "ManualMask/rightMask/MCUCXR_0104_1.png").unlink()
    with pytest.raises(InputError, match=r"a mask for every image, but .*MCUCXR_0104_1\.png has none"):
        scan(montgomery, SIZE, MONTGOMERY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": []}, r"option masks to name a folder inside the dataset, but got \[\]"),
        ({"masks": ["a", "../b"]}, "option masks to name a folder inside"),
        ({"field": "../mask"}, "option field to name a folder inside"),
        ({"field": "mask", "masks": None}, "masks beside the option field"),
        ({"image_suffix": []}, "option image_suffix to be a string or a list of strings"),
        ({"image_suffix": ["_x", "_y"]}, r"images named \*_x or \*_y in .*, but got MCUCXR_0001_0\.png"),
        ({"image_suffix": ["001_0", "104_1"]}, "different names without their endings"),
        ({"expected": {"valid": 1}}, "but got 'valid'"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str, montgomery: Path) -> None:
    with pytest.raises(InputError, match=message):
        scan(montgomery, SIZE, MONTGOMERY | options)

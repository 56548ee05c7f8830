"""Broken folders of the user's own, options and split files: `prepare` refuses them in one sentence that names the error."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.malformed.damage import DAMAGES, Row, befallen

pytestmark = pytest.mark.long

IMAGE, MASK, SPLIT, PARAMS = "raw/mine/images/one.png", "raw/mine/masks/one.png", "split.csv", "params.yaml"
PICTURE_DAMAGES = ("missing", "empty", "half", "text", "folder", "pipe", "unreadable")
LINES = "source,split\none,train\ntwo,train\nthree,test\n"


def setting(**values: Any) -> Callable[[Path], object]:
    """Change the target's section of params.yaml."""

    def change(path: Path) -> None:
        params = yaml.safe_load(path.read_text())
        params["prepare"]["targets"]["mine"].update(values)
        path.write_text(yaml.safe_dump(params))

    return change


def options(**values: Any) -> Callable[[Path], object]:
    return setting(options=values)


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def above(path: Path) -> None:
    shutil.copytree(path / "images", path.parent / "elsewhere")
    options(images="../elsewhere")(Path(PARAMS))


# What an option of the reader, and a key of the target, must not be.
OPTIONS: dict[str, list[Any]] = {
    "images": ["/etc", 5],
    "masks": [""],
    "suffix": [1, float("nan")],
    "group": [1, "(case"],
    "classes": ["tumour", [], ["a", "a"], ["background"]],
    "labels": [
        [1, 2],
        {},
        *({0: "background", **more} for more in ({1.5: "foreground"}, {True: "foreground"}, {1: "lung"}, {1: ["x"]})),
    ],
    "mask": ["masks"],
}
SETTINGS: dict[str, list[Any]] = {
    "split": [{"files": "split.csv"}, {"file": 5}, {"file": None}, "official"],
    "validation": [1.0],
    "size": [[10**9, 10**9], [0, 32], [32, -1], [32, 32, 3]],
    "root": ["", "raw\0mine"],
}
FILE_ROWS: list[Row] = [
    *((f"{row[1]}: {row[0]}", *row[1:]) for file in (IMAGE, MASK) for row in befallen(file, PICTURE_DAMAGES)),
    ("image: a link to a file of the system", IMAGE, linked, "images/one.png"),
    *befallen(SPLIT, (name for name in DAMAGES if name not in ("half", "last byte", "spoilt"))),
    ("split file: only a header", SPLIT, b"source,split\n", "split.csv", "a line for every image"),
    ("split file: another header", SPLIT, LINES.replace("source", "image").encode(), "split.csv", "source"),
    ("split file: a column twice", SPLIT, b"source,source,split\none,one,train\n", "split.csv", "twice"),
    ("split file: an image is missing", SPLIT, LINES.replace("two,train\n", "").encode(), "split.csv", "two.png"),
    ("split file: an unknown image", SPLIT, f"{LINES}four,train\n".encode(), "split.csv", "four"),
    ("split file: an image in two splits", SPLIT, f"{LINES}\none,test\n".encode(), "split.csv", "line 6"),
    ("split file: an unknown split", SPLIT, LINES.replace("test", "holdout").encode(), "split.csv", "line 4", "holdout"),
    ("split file: too few fields", SPLIT, LINES.replace(",test", "").encode(), "split.csv", "line 4"),
    ("split file: too many fields", SPLIT, LINES.replace("one,train", "one,train,1").encode(), "split.csv", "line 2"),
    ("split file: a path above", SPLIT, LINES.replace("one", "../../../etc/passwd").encode(), "split.csv"),
    ("split file: a NUL", SPLIT, LINES.replace("one", "o\0ne").encode(), "split.csv"),
    ("split file: an open quote", SPLIT, LINES.replace("one", '"one').encode(), "split.csv"),
    ("split file: a field of 200,000 letters", SPLIT, (LINES + "a" * 200_000 + ",train\n").encode(), "split.csv"),
    ("split file: UTF-16", SPLIT, LINES.encode("utf-16"), "split.csv"),
    ("split file: nothing to test with", SPLIT, LINES.replace("test", "train").encode(), "test"),
]  # fmt: skip
SETTING_ROWS: list[Row] = [
    ("the images' folder lies above", "raw/mine", above, "images", "inside"),
    *((f"options: {option} is {value!r}"[:50], PARAMS, options(**{option: value}), option)
      for option in OPTIONS for value in OPTIONS[option]),
    *((f"{key} is {value!r}"[:50], PARAMS, setting(**{key: value}), key) for key in SETTINGS for value in SETTINGS[key]),
    ("the images' folder has a NUL", PARAMS, options(masks="a\0b"), "a"),
    ("the group finds nothing", PARAMS, options(group="(case)"), "group", "one.png"),
    ("300 classes", PARAMS, options(classes=[f"c{i}" for i in range(300)], labels={0: "background"}), "classes"),
    ("a label is not named", PARAMS, options(labels={0: "background"}), "masks/one.png", "labels"),
    ("the test takes everything", PARAMS, setting(split={"test": 0.99, "seed": 1}), "test"),
    ("the test takes NaN", PARAMS, setting(split={"test": float("nan"), "seed": 1}), "test"),
    ("the split's seed is a word", PARAMS, setting(split={"test": 0.4, "seed": "x"}), "seed"),
    ("an unknown reader", PARAMS, setting(reader="nrrd"), "nrrd", "acdc"),
]  # fmt: skip
ROWS = FILE_ROWS + SETTING_ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("prepare --target mine", *row[1:])

"""Broken folders of the user's own, options and split files go into `prepare`; one sentence that names the fault comes out."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

IMAGE, MASK, SPLIT, PARAMS = "raw/mine/images/one.png", "raw/mine/masks/one.png", "split.csv", "params.yaml"
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


FILE_ROWS: list[tuple[Any, ...]] = [
    *((f"image: {name}", IMAGE, name, "one.png") for name in ("missing", "empty", "half", "text", "folder", "pipe", "unreadable")),
    *((f"mask: {name}", MASK, name, "one.png") for name in ("missing", "empty", "half", "text", "folder", "pipe", "unreadable")),
    ("image: a link to a file of the system", IMAGE, linked, "images/one.png"),
    *((f"split file: {name}", SPLIT, name, "split.csv") for name in
      ("missing", "empty", "head", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")),
    ("split file: only a header", SPLIT, b"source,split\n", "split.csv", "a line for every image"),
    ("split file: another header", SPLIT, LINES.replace("source", "image").encode(), "split.csv", "source"),
    ("split file: a column twice", SPLIT, b"source,source,split\none,one,train\n", "split.csv", "twice"),
    ("split file: an image is missing", SPLIT, LINES.replace("two,train\n", "").encode(), "split.csv", "two.png"),
    ("split file: an unknown image", SPLIT, f"{LINES}four,train\n".encode(), "split.csv", "four"),
    ("split file: an image in two splits", SPLIT, f"{LINES}\none,test\n".encode(), "split.csv", "line 6"),
    ("split file: an unknown split", SPLIT, LINES.replace("test", "holdout").encode(), "split.csv", "line 4", "holdout"),
    ("split file: no split", SPLIT, LINES.replace(",test", ",").encode(), "split.csv", "line 4"),
    ("split file: too few fields", SPLIT, LINES.replace(",test", "").encode(), "split.csv", "line 4"),
    ("split file: too many fields", SPLIT, LINES.replace("one,train", "one,train,1").encode(), "split.csv", "line 2"),
    ("split file: a path above", SPLIT, LINES.replace("one", "../../../etc/passwd").encode(), "split.csv"),
    ("split file: an absolute path", SPLIT, LINES.replace("one", "/etc/passwd").encode(), "split.csv"),
    ("split file: a NUL", SPLIT, LINES.replace("one", "o\0ne").encode(), "split.csv"),
    ("split file: an open quote", SPLIT, LINES.replace("one", '"one').encode(), "split.csv"),
    ("split file: a field of 200,000 letters", SPLIT, (LINES + "a" * 200_000 + ",train\n").encode(), "split.csv"),
    ("split file: UTF-16", SPLIT, LINES.encode("utf-16"), "split.csv"),
    ("split file: nothing to test with", SPLIT, LINES.replace("test", "train").encode(), "test"),
]  # fmt: skip
SETTING_ROWS: list[tuple[Any, ...]] = [
    ("the images' folder lies above", "raw/mine", above, "images", "inside"),
    ("the images' folder is absolute", PARAMS, options(images="/etc"), "images", "inside"),
    ("the images' folder is a number", PARAMS, options(images=5), "images"),
    ("the images' folder has no name", PARAMS, options(masks=""), "masks"),
    ("the images' folder has a NUL", PARAMS, options(masks="a\0b"), "a"),
    ("the suffix is a number", PARAMS, options(suffix=1), "suffix"),
    ("the group is a number", PARAMS, options(group=1), "group"),
    ("the group is no expression", PARAMS, options(group="(case"), "group"),
    ("the group finds nothing", PARAMS, options(group="(case)"), "group", "one.png"),
    ("the classes are a word", PARAMS, options(classes="tumour"), "classes"),
    ("the classes are none", PARAMS, options(classes=[]), "classes"),
    ("a class stands twice", PARAMS, options(classes=["a", "a"]), "classes"),
    ("300 classes", PARAMS, options(classes=[f"c{i}" for i in range(300)], labels={0: "background"}), "classes"),
    ("a class is called background", PARAMS, options(classes=["background"]), "classes"),
    ("the labels are a list", PARAMS, options(labels=[1, 2]), "labels"),
    ("the labels are none", PARAMS, options(labels={}), "labels"),
    ("a label is a fraction", PARAMS, options(labels={0: "background", 1.5: "foreground"}), "labels"),
    ("a label is a truth value", PARAMS, options(labels={0: "background", True: "foreground"}), "labels"),
    ("a label names no class", PARAMS, options(labels={0: "background", 1: "lung"}), "labels", "lung"),
    ("a label is a list", PARAMS, options(labels={0: "background", 1: ["foreground"]}), "labels"),
    ("a label is not named", PARAMS, options(labels={0: "background"}), "masks/one.png", "labels"),
    ("an unknown option", PARAMS, options(mask="masks"), "mask"),
    ("an option is NaN", PARAMS, options(suffix=float("nan")), "suffix"),
    ("the split is unknown", PARAMS, setting(split={"files": "split.csv"}), "split"),
    ("the split file is a number", PARAMS, setting(split={"file": 5}), "split"),
    ("the split file is nothing", PARAMS, setting(split={"file": None}), "split"),
    ("the test takes everything", PARAMS, setting(split={"test": 0.99, "seed": 1}), "test"),
    ("the test takes less than nothing", PARAMS, setting(split={"test": -0.5, "seed": 1}), "test"),
    ("the test takes NaN", PARAMS, setting(split={"test": float("nan"), "seed": 1}), "test"),
    ("the split's seed is a word", PARAMS, setting(split={"test": 0.4, "seed": "x"}), "seed"),
    ("an official split where there is none", PARAMS, setting(split="official"), "split"),
    ("a validation of everything", PARAMS, setting(validation=1.0), "validation"),
    ("an unknown reader", PARAMS, setting(reader="dicom"), "dicom", "acdc"),
    ("pictures of 10 ** 9 pixels a side", PARAMS, setting(size=[10**9, 10**9]), "size"),
    ("pictures of no pixels", PARAMS, setting(size=[0, 32]), "size"),
    ("pictures of -1 pixel", PARAMS, setting(size=[32, -1]), "size"),
    ("pictures of three sides", PARAMS, setting(size=[32, 32, 3]), "size"),
    ("a root of nothing", PARAMS, setting(root=""), "root"),
    ("a root with a NUL", PARAMS, setting(root="raw\0mine"), "root"),
]  # fmt: skip
ROWS = FILE_ROWS + SETTING_ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: tuple[Any, ...], refused: Callable[..., str]) -> None:
    refused("prepare --target mine", *row[1:])

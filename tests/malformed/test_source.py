"""Broken ImageFolders: `pretrain` refuses them in one sentence that names the file or folder.

Pictures are decoded when they are trained on, not all of them before: the checkpoint of epoch 0, the random initialisation,
is whole and saved by then. Everything else is refused before any work.
"""

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.malformed.damage import Row

pytestmark = pytest.mark.long

CLASS = "pictures/train/fine-disc"
PICTURE = f"{CLASS}/0000.jpg"
EPOCH_0 = tuple(f"sources/unet-simple{name}" for name in ("", "/curves.json", "/epoch-000.json", "/epoch-000.safetensors"))


def wide(mode: str) -> bytes:
    Image.fromarray(np.zeros((40, 40), np.int32 if mode == "I" else np.float32)).save(held := io.BytesIO(), "TIFF")
    return held.getvalue()


def huge(path: Path) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 65535, 65535)
    path.write_bytes(content)


def only(path: Path) -> None:
    shutil.rmtree(path / "val" / "fine-disc")


def alone(path: Path) -> None:
    for folder in (*path.glob("train/*"), *path.glob("val/*")):
        shutil.rmtree(folder) if folder.name != "fine-disc" else None


def noted(path: Path) -> None:
    for file in path.iterdir():
        file.rename(file.with_suffix(".txt"))


def twisted(path: Path) -> None:
    (path / "deeper").mkdir()
    (path / "deeper" / "a.jpg").symlink_to("../../../nowhere.jpg")


LAYOUT_ROWS: list[Row] = [
    *((f"picture: {name}", PICTURE, name, "0000.jpg") for name in ("empty", "loop", "pipe")),
    ("a link to nowhere, deeper", CLASS, twisted, "deeper/a.jpg"),
    ("no root", "pictures", "missing", "pictures/train"),
    ("an empty root", "pictures", "folder", "pictures/train"),
    ("a root in a circle", "pictures/train", lambda path: (shutil.rmtree(path), path.symlink_to("train")), "pictures/train"),
    ("no training pictures", "pictures/train", "folder", "pictures/train"),
    ("no validation pictures", "pictures/val", "missing", "pictures/val"),
    ("a class is missing in one split", "pictures", only, "fine-disc", "train"),
    ("one class alone", "pictures", alone, "fine-disc", "at least two classes", "simclr"),
    ("a class is a link in a circle", CLASS, lambda path: (shutil.rmtree(path), path.symlink_to(path.name)), "pictures/train"),
    ("a class is empty", CLASS, "folder", "fine-disc"),
    ("a class has no pictures", CLASS, noted, "fine-disc"),
    ("a class may not be read", CLASS, "unreadable", "fine-disc"),
    ("the training pictures may not be read", "pictures/train", "unreadable", "pictures/train"),
    ("a picture may not be read", PICTURE, "unreadable", "0000.jpg"),
]  # fmt: skip
PICTURE_ROWS: list[Row] = [
    *((f"picture: {name}", PICTURE, name, "0000.jpg") for name in ("half", "head", "zeros", "noise", "text")),
    ("picture: 65535 a side", PICTURE, huge, "0000.jpg"),
    ("picture: 32 bits", PICTURE, wide("I"), "0000.jpg", "8 bits"),
    ("picture: fractions", PICTURE, wide("F"), "0000.jpg", "8 bits"),
]  # fmt: skip
ROWS = LAYOUT_ROWS + PICTURE_ROWS


@pytest.mark.parametrize("row", LAYOUT_ROWS, ids=lambda row: row[0])
def test_a_layout_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("pretrain --seed 77 --out sources", *row[1:])


@pytest.mark.parametrize("row", PICTURE_ROWS, ids=lambda row: row[0])
def test_a_picture_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("pretrain --seed 77 --out sources", *row[1:], finished=EPOCH_0)


def test_a_picture_is_refused_by_a_loader_of_its_own(refused: Callable[..., str]) -> None:
    sentence = refused("pretrain --seed 77 --out sources --workers 1", PICTURE, "half", "0000.jpg", finished=EPOCH_0)
    assert "expected a picture in" in sentence and "File " not in sentence

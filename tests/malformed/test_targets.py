"""Broken prepared targets: `finetune` and `score` refuse them in one sentence that names the file."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.malformed.damage import DELETED, OBJECTS, Canary, Row, befallen, field, fields, npy, saved, utf16

from medtransfer.hashing import file_sha256

pytestmark = pytest.mark.long

FOLDER = "data/prepared/heart"
RECORD, INDEX, IMAGES, MASKS = (f"{FOLDER}/{name}" for name in ("dataset.json", "index.csv", "images.npy", "masks.npy"))
ANY = ("empty", "half", "zeros", "noise", "text", "Latin-1", "folder", "pipe", "unreadable")


def cell(column: str, value: str, line: int = 1) -> Callable[[Path], object]:
    """Change one field of the index; the first line is 0, the header."""

    def change(path: Path) -> None:
        lines = path.read_text().splitlines()
        fields = lines[line].split(",")
        fields[lines[0].split(",").index(column)] = value
        path.write_text("\n".join([*lines[:line], ",".join(fields), *lines[line + 1 :]]) + "\n")

    return change


def declared(damage: Callable[[Path], object]) -> Callable[[Path], object]:
    """Do the damage, and write the file's new digest into dataset.json, as one would who means it."""

    def change(path: Path) -> None:
        damage(path)
        record = path.with_name("dataset.json")
        arrays = json.loads(record.read_text())["arrays"]
        field("arrays", {**arrays, path.name: file_sha256(path)})(record)

    return change


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return lambda path: path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def array(change: Callable[[np.ndarray], np.ndarray], **options: Any) -> Callable[[Path], object]:
    """Save a changed array."""

    def apply(path: Path) -> None:
        changed = change(np.load(path))
        with path.open("wb") as file:
            np.save(file, changed, **options)

    return apply


def everywhere(value: int) -> Callable[[Path], object]:
    return array(lambda masks: np.full_like(masks, value))


FIELDS: dict[str, list[Any]] = {
    "classes": [[], "heart"],
    "channels": [0, 65],
    "input": [[0, 32], [10**9, 10**9], [32]],
    "counts": [{"train": -5}],
    "target": ["../../etc"],
    "arrays": [DELETED, [1]],
}
CELLS = {
    "row": ("0.5", "-1", "9" * 40), "top": ("high",), "left": ("nan",), "height": ("",), "source": ("a\0b", '"a'),
}  # fmt: skip
ROWS: list[Row] = [
    *befallen(RECORD, ("missing", "loop", *ANY)),
    *befallen(INDEX, ("missing", "loop", *ANY)),
    *befallen(IMAGES, ("missing", "loop", "last byte", *ANY)),
    *befallen(MASKS, ("missing", "loop", "last byte", *ANY)),
    *fields(RECORD, FIELDS),
    ("dataset.json: a format of the future", RECORD, field("format", "medtransfer/target/9"), "dataset.json", "target/9"),
    ("dataset.json: a format of the past", RECORD, field("format", "medtransfer/target/1"), "dataset.json", "older", "prepare"),
    ("dataset.json: an unknown task", RECORD, field("task", "translation"), "dataset.json", "translation"),
    ("dataset.json: a list", RECORD, b"[]", "dataset.json"),
    ("dataset.json: nested 100,000 times", RECORD, b'{"a":' * 100_000, "dataset.json"),
    ("dataset.json: 3 channels, but stored is 1", RECORD, field("channels", 3), "images.npy"),
    ("dataset.json: an input larger than the pictures", RECORD, field("input", [64, 64]), "index.csv", "smaller"),
    ("dataset.json: an input that the encoder does not take", RECORD, field("input", [30, 30]), "30x30"),
    ("dataset.json: an unknown augmentation", RECORD, field("augmentation", "mirror"), "dataset.json", "mirror"),
    *((f"index.csv: {key} is {value!r}", INDEX, cell(key, value), "index.csv", *([key] if key != "source" else []))
      for key in CELLS for value in CELLS[key]),
    ("index.csv: only a header", INDEX, declared(lines(lambda rows: rows[:1])), "index.csv", "train"),
    ("index.csv: another header", INDEX, lines(lambda rows: [rows[0].replace("row", "place"), *rows[1:]]), "index.csv", "columns"),
    ("index.csv: a column too many", INDEX, lines(lambda rows: [row + ",0" for row in rows]), "index.csv"),
    ("index.csv: a line too long", INDEX, lines(lambda rows: [rows[0], rows[1] + ",7", *rows[2:]]), "index.csv", "line 2"),
    ("index.csv: a line too short", INDEX, lines(lambda rows: [*rows[:2], "5,5,train", *rows[2:]]), "index.csv", "line 3"),
    ("index.csv: a row beyond the array", INDEX, declared(cell("row", "4000")), "index.csv", "window"),
    ("index.csv: a window beyond the picture", INDEX, declared(cell("height", "999")), "index.csv", "window"),
    ("index.csv: a window of no pixels", INDEX, declared(cell("height", "0")), "index.csv", "smaller"),
    ("index.csv: a line twice", INDEX, declared(lines(lambda rows: [*rows, rows[1]])), "index.csv", "same"),
    ("index.csv: no training samples", INDEX, lines(lambda rows: [row.replace("train", "test") for row in rows]), "index.csv"),
    ("index.csv: UTF-16", INDEX, utf16, "index.csv"),
    ("images.npy: a shape that is not there", IMAGES, npy("(1000000, 4096, 4096, 1)"), "images.npy"),
    ("images.npy: a shape that overflows", IMAGES, npy("(4611686018427387904, 4, 4, 1)", "<f8"), "images.npy"),
    ("images.npy: a pickle", IMAGES, pickle.dumps(Canary()), "images.npy"),
    ("images.npy: objects", IMAGES, saved(OBJECTS), "images.npy"),
    ("images.npy: fractions", IMAGES, array(lambda images: images.astype(np.float32)), "images.npy", "float32"),
    ("images.npy: another shape", IMAGES, array(lambda images: images[..., 0]), "images.npy"),
    ("images.npy: fewer pictures", IMAGES, array(lambda images: images[:-3]), "images.npy"),
    ("images.npy: another size", IMAGES, array(lambda images: images[:, ::2]), "images.npy"),
    ("images.npy: a header of minus signs", IMAGES, npy("(" + "-" * 9000 + "1, 4, 4, 1)"), "images.npy"),
    ("masks.npy: a shape that is not there", MASKS, npy("(1000000, 65536, 65536)"), "masks.npy"),
    ("masks.npy: objects", MASKS, saved(OBJECTS), "masks.npy"),
    ("masks.npy: truth values", MASKS, declared(array(lambda masks: masks > 0)), "masks.npy", "bool"),
    ("masks.npy: four dimensions", MASKS, array(lambda masks: masks[..., None]), "masks.npy"),
    ("masks.npy: no pictures", MASKS, array(lambda masks: masks[:0]), "npy"),
    ("masks.npy: a label that names no class", MASKS, declared(everywhere(4)), "masks.npy", "labels"),
    ("masks.npy: 255", MASKS, declared(everywhere(255)), "masks.npy", "labels"),
    ("images.npy: one pixel is another", IMAGES, array(lambda images: images ^ (np.arange(images.size) == 7).reshape(images.shape)),
     "images.npy", "differs"),
    ("images.npy: all black", IMAGES, everywhere(0), "images.npy", "differs"),
    ("masks.npy: one pixel is another", MASKS, array(lambda masks: masks ^ (np.arange(masks.size) == 7).reshape(masks.shape)),
     "masks.npy", "differs"),
    ("index.csv: test samples for training", INDEX, lines(lambda rows: [row.replace("test", "train") for row in rows]),
     "index.csv", "differs"),
    *befallen(FOLDER, ("missing", "loop"), "dataset.json"),
    ("the folder is a file", FOLDER, lambda path: path.rename("kept") and path.write_bytes(b""), "dataset.json"),
]  # fmt: skip
UNSEEN = ("masks.npy: a label", "masks.npy: 255", "dataset.json: an unknown augmentation")  # by scoring, which reads no labels
SCORE_ROWS = [row for row in ROWS if row[1] in (INDEX, IMAGES) and not row[0].startswith(UNSEEN)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_fine_tuning_is_refused(row: Row, refused: Callable[..., str], place: Path) -> None:
    refused("finetune --seed 99", *row[1:])
    assert not (place / "canary").exists()


@pytest.mark.parametrize("row", SCORE_ROWS, ids=lambda row: row[0])
def test_scoring_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("score --seed 99", *row[1:])

"""Counts of labels, what is refused and noted, and labels in words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.prepare.label_layouts import picture, write_lines

from medtransfer.errors import InputError
from medtransfer.prepare.label_counts import check_labels, count_labels, describe_labels
from medtransfer.prepare.preview import describe_label
from medtransfer.prepare.stage import prepare
from medtransfer.records import PreparedTarget, TargetInfo


def test_counts_by_hand() -> None:
    labels = np.array([[1, 0], [254, 255], [0, 1], [1, 1]], np.uint8)
    rows = count_labels(labels, ["train", "train", "test", "train"], ["a", "b"], "multilabel")
    assert [tuple(row.values()) for row in rows] == [
        ("train", "a", 3, 2, 0, 1, 0), ("train", "b", 3, 1, 1, 0, 1), ("test", "a", 1, 0, 1, 0, 0), ("test", "b", 1, 1, 0, 0, 0),
    ]  # fmt: skip
    assert describe_labels(rows) == "of the train images: a 66.7 %, b 33.3 %"
    assert check_labels(rows) == [
        "no negative image in the split 'train' for a: AUC is undefined there",
        "no positive image in the split 'test' for a: AUC is undefined there",
        "no negative image in the split 'test' for b: AUC is undefined there",
    ]


def test_counts_of_classes() -> None:
    rows = count_labels(np.array([2, 0, 2], np.uint8), ["train"] * 3, ["x", "y", "z"], "multiclass")
    assert [(row["positive"], row["negative"]) for row in rows] == [(1, 2), (0, 3), (2, 1)]
    assert check_labels(rows) == ["no positive image in the split 'train' for y: AUC is undefined there"]
    (row,) = count_labels(np.array([1, 0, 1], np.uint8), ["train"] * 3, ["x"], "binary")
    assert (row["positive"], row["negative"]) == (2, 1) and check_labels([row]) == []


@pytest.mark.parametrize(("labels", "task"), [([1, 1], "binary"), ([0, 0], "multiclass"), ([[1, 0], [1, 0]], "multilabel")])
def test_training_labels_must_differ(labels: Any, task: str) -> None:
    rows = count_labels(np.array(labels, np.uint8), ["train"] * 2, ["x", "y"][: 1 if task == "binary" else 2], task)
    with pytest.raises(InputError, match="of 2 images 2 are positive and 0 negative for 'x'; check the options of the labels"):
        check_labels(rows)


def run(root: Path, out: Path, **changes: Any) -> PreparedTarget:
    settings: dict[str, Any] = {"subset": False, "split": "official", "validation": 0.0, "allow_duplicates": False}
    options = {"column": "label", "split_column": "part"}
    return prepare("t", reader="table", root=root, size=(20, 24), out=out, **settings | {"options": options} | changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(4):
        picture(tmp_path / "raw" / f"{number}.png", number)
    write_lines(tmp_path / "raw/labels.csv", "image,label,part", "0.png,1,train", "1.png,0,train", "2.png,1,test", "3.png,1,test")
    return tmp_path / "raw"


def test_prepare_writes_counts_and_words(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="medtransfer")
    prepared = run(root, tmp_path / "out")
    assert prepared.image_labels.tolist() == [1, 0, 1, 1]
    assert "holds 2 train, 2 test; of the train images: label 50.0 %" in caplog.text
    lines = (prepared.folder / "label_counts.csv").read_text().splitlines()
    assert lines == ["split,class,images,positive,negative,uncertain,unknown", "train,label,2,1,1,0,0", "test,label,2,2,0,0,0"]
    assert "no negative image in the split 'test' for label: AUC is undefined there" in caplog.text
    assert not (prepared.folder / "mask_counts.csv").exists()
    assert Image.open(prepared.folder / "preview.png").size[0] == 4 * 256
    write_lines(root / "labels.csv", "image,label,part", "0.png,0,train", "1.png,1,train", "2.png,1,test", "3.png,0,test")
    assert run(root, tmp_path / "out").image_labels.tolist() == [0, 1, 1, 0]  # a changed table makes the target again


def test_equal_images_with_other_labels_are_named(root: Path, tmp_path: Path) -> None:
    (root / "3.png").write_bytes((root / "1.png").read_bytes())
    with pytest.raises(InputError, match=r"1\.png \(train\) and 3\.png \(test\) hold the same image with other labels"):
        run(root, tmp_path / "out")


def test_a_patient_in_two_splits_is_refused(root: Path, tmp_path: Path) -> None:
    options = {"column": "label", "split_column": "part", "group_by": "p{label}"}
    with pytest.raises(InputError, match="every group .patient. in one split, but 'p1' is in train and test"):
        run(root, tmp_path / "out", options=options)


@pytest.mark.parametrize(
    ("task", "classes", "label", "words"),
    [
        ("binary", ["x"], 1, "x"),
        ("binary", ["x"], 0, "not x"),
        ("ordinal", ["lo", "hi"], 1, "hi"),
        ("multilabel", ["a", "b", "c", "d"], [1, 0, 254, 255], "a, c?"),
        ("multilabel", ["a", "b"], [0, 0], "none"),
    ],
)
def test_labels_in_words(
    task: str, classes: list[str], label: Any, words: str, root: Path, tmp_path: Path, info: Callable[[], TargetInfo]
) -> None:  # fmt: skip
    assert describe_label(replace(info(), task=task, classes=classes), np.array(label, np.uint8)) == words


@pytest.fixture
def info(root: Path, tmp_path: Path) -> Callable[[], TargetInfo]:
    return lambda: run(root, tmp_path / "out").info

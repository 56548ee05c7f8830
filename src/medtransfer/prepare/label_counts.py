"""Count the labels of whole images in each split, and refuse those that nothing can be learnt from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.mask_counts import list_shares
from medtransfer.prepare.splits import SPLITS
from medtransfer.records import IGNORE, UNCERTAIN


def count_labels(labels: np.ndarray, splits: Sequence[str], classes: Sequence[str], task: str) -> list[dict[str, Any]]:
    """Count the images with and without each class.

    Args:
        labels: uint8 (N,) or (N, classes), as `labelled_images.py` says.
        splits: split of each image.
        classes: names of the classes, of a binary task that of the positive one.
        task: binary, multilabel, multiclass or ordinal.

    Returns:
        One row per split and class: images, how many of them are positive, negative, uncertain and unknown.
    """
    states = labels[:, None] if labels.ndim == 1 else labels  # (N, classes or 1)
    if task in ("multiclass", "ordinal"):
        states = (states == np.arange(len(classes))).astype(np.uint8)  # (N, classes)
    values = {"positive": 1, "negative": 0, "uncertain": UNCERTAIN, "unknown": IGNORE}
    rows = []
    for split in (name for name in SPLITS if name in splits):
        inside = states[np.array([name == split for name in splits])]
        for column, name in enumerate(classes):
            counts = {key: int((inside[:, column] == value).sum()) for key, value in values.items()}
            rows.append({"split": split, "class": name, "images": len(inside), **counts})
    return rows


def check_labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check that the labels of the training images differ.

    Args:
        rows: from `count_labels`.

    Returns:
        A note for each split that lacks images with, or without, some classes: metrics of these are undefined there.

    Raises:
        InputError: no class has both positive and negative training images.
    """
    alike = [row for row in rows if not row["positive"] or not row["negative"]]
    trained = [row for row in rows if row["split"] == "train"]
    if all(row in alike for row in trained):
        row = trained[0]
        raise InputError(
            f"expected training images with and without a class, but of {row['images']} images {row['positive']} are positive and "
            f"{row['negative']} negative for {row['class']!r}; check the options of the labels, or choose another split"
        )
    notes = []
    for split in dict.fromkeys(row["split"] for row in alike):
        for kind in ("positive", "negative"):
            if names := [row["class"] for row in alike if row["split"] == split and not row[kind]]:
                notes.append(f"no {kind} image in the split {split!r} for {', '.join(names)}: AUC is undefined there")
    return notes


def describe_labels(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which share of the images of the first split is positive for each class."""
    split = rows[0]["split"]
    shares = {row["class"]: row["positive"] / row["images"] for row in rows if row["split"] == split}
    return f"of the {split} images: {list_shares(shares)}"

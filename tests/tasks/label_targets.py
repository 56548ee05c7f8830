"""Targets of labels of images, made from a segmentation target: what its masks show."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.hashing import file_sha256
from medtransfer.records import IGNORE, UNCERTAIN, PreparedTarget


def areas(target: PreparedTarget) -> np.ndarray:
    """Return the rank of each picture by its pixels of any class, in [0, 1)."""
    order = (target.masks > 0).sum(axis=(1, 2)).argsort(kind="stable").argsort()
    return order / len(order)


def several(target: PreparedTarget) -> np.ndarray:
    """Return three labels: large, unknown in every fifth picture; small; and one that is true of all."""
    large = areas(target) >= 0.5
    labels = np.stack([large, ~large, np.ones_like(large)], axis=1).astype(np.uint8)
    labels[::5, 0] = IGNORE
    return labels


LABELS: dict[str, tuple[list[str], Callable[[PreparedTarget], np.ndarray]]] = {
    "binary": (["large"], lambda target: areas(target) >= 0.5),
    "multilabel": (["large", "small", "any"], several),
    "multiclass": (["small", "middle", "large"], lambda target: (3 * areas(target)).astype(np.uint8)),
    "ordinal": (["grade 0", "grade 1", "grade 2"], lambda target: (3 * areas(target)).astype(np.uint8)),
}


def relabel(target: PreparedTarget, task: str, folder: Path, labels: Any = None, **changes: Any) -> PreparedTarget:
    """Copy a target with labels of its images in place of masks.

    Args:
        target: target with masks.
        task: key of LABELS.
        folder: the copy.
        labels: other labels than those of the masks.
        changes: other fields of its record.
    """
    classes, of_masks = LABELS[task]
    chosen = np.asarray(of_masks(target) if labels is None else labels).astype(np.uint8)
    if folder != target.folder:
        shutil.copytree(target.folder, folder)
    np.save(folder / "labels.npy", chosen)
    record = json.loads((folder / "dataset.json").read_text())
    (folder / "masks.npy").unlink()
    arrays = {name: digest for name, digest in record["arrays"].items() if name != "masks.npy"}
    arrays["labels.npy"] = file_sha256(folder / "labels.npy")
    record |= {"target": folder.name, "task": task, "classes": classes, "arrays": arrays, **changes}
    (folder / "dataset.json").write_text(json.dumps(record))
    return PreparedTarget.open(folder)


def uncertain(target: PreparedTarget) -> np.ndarray:
    """Return three labels of which the first is uncertain in every second picture."""
    labels = several(target)
    labels[::2, 0] = UNCERTAIN
    return labels

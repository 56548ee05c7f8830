"""Read PatchCamelyon: patches of lymph nodes with or without a tumour in their centre.

Source: https://github.com/basveeling/pcam, and https://www.kaggle.com/competitions/histopathologic-cancer-detection. Citation:
`CITATION` below. One raw example of each layout:

    camelyonpatch_level_2_split_train_x.h5       key x, (N, 96, 96, 3), uint8; likewise valid and test
    camelyonpatch_level_2_split_train_y.h5       key y, (N, 1, 1, 1), 0 or 1
    camelyonpatch_level_2_split_train_meta.csv   tumor_patch,center_tumor_patch,wsi: the slide of each patch

    train_labels.csv                             id,label
                                                 f38a6374c348f90b587e046aac6079959adf3835,0
    train/f38a6374c348f90b587e046aac6079959adf3835.tif     RGB, 96x96

The group is the slide. Kaggle's files do not name it, so a drawn test split there shares slides with the training patches, and its
labels of test patches are hidden. HDF5 files need the package h5py, `pip install 'medtransfer[hdf5]'`.

Official counts: 262,144 training, 32,768 validation and 32,768 test patches; 220,025 labelled ones at Kaggle.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size, resize_image
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import (
    ALL,
    Item,
    Labels,
    Picture,
    Scan,
    own_percentiles,
    read_options,
    require_folder,
    whole_picture,
)
from medtransfer.prepare.readers.labelled_images import AUGMENTATIONS
from medtransfer.prepare.readers.table import scan_table
from medtransfer.records import LABELS_FILE, in_one_line, read_table, require_file

CITATION = (
    "B. S. Veeling, J. Linmans, J. Winkens, T. Cohen, M. Welling, Rotation equivariant CNNs for digital pathology, MICCAI 2018, "
    "doi:10.1007/978-3-030-00934-2_24"
)
CLASSES = ["tumour"]
COUNTS = {"train": 262_144, "validation": 32_768, "test": 32_768}
PARTS = {"train": "train", "valid": "validation", "test": "test"}
STEM = "camelyonpatch_level_2_split"
KAGGLE: dict[str, Any] = {
    "table": "train_labels.csv", "image": "train/{id}.tif", "task": "binary", "column": "label", "classes": CLASSES,
    "augmentation": "rotate-flip", "expected": {ALL: 220_025}, "citation": CITATION,
}  # fmt: skip
REMEDY = "restore the file, or unpack it from .gz"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the patches of the HDF5 files, where there are any, or of Kaggle's table; see `scan_table`.

    Args:
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        options: of HDF5 files `augmentation` alone.

    Raises:
        InputError: the layout is unknown, or a file is broken.
    """
    require_folder(root, "`root` must name the folder that holds the HDF5 files, or train_labels.csv and train/")
    if not any((root / f"{STEM}_{part}_x.h5").exists() for part in PARTS):
        return scan_table(root, size, options, reader="patchcamelyon", defaults=KAGGLE)
    chosen = read_options(options, {"augmentation": "rotate-flip"}, "patchcamelyon")
    if chosen["augmentation"] not in AUGMENTATIONS:
        raise InputError(
            f"expected the option augmentation to be one of {', '.join(AUGMENTATIONS)}, but got {chosen['augmentation']!r}"
        )
    notes: list[str] = []
    items = tuple(item for part in PARTS for item in _list_part(root, part, size, notes))
    return Scan(
        tuple(CLASSES), 3, size, chosen["augmentation"], CITATION, "8-bit values kept", COUNTS, whole_picture(size), items,
        task="binary", labels=Labels(LABELS_FILE, ()), notes=tuple(notes), image_rule=own_percentiles,
    )  # fmt: skip


def _list_part(root: Path, part: str, size: Size, notes: list[str]) -> Iterator[Item]:
    """List the slides of one split, each with the rows of its patches."""
    images, truth, meta = (root / f"{STEM}_{part}_{name}" for name in ("x.h5", "y.h5", "meta.csv"))
    if not images.exists():
        return
    labels = _read_rows(truth, "y").reshape(-1)
    _check_shape(images, len(labels))
    if not set(np.unique(labels)) <= {0, 1}:
        raise InputError(f"expected the labels 0 and 1 in {truth}, but got {np.unique(labels).tolist()[:8]}; {REMEDY}")
    slides = _read_slides(meta, len(labels)) if meta.exists() else None
    if slides is None:
        notes.append(f"{meta.name} is missing, so the slides of the {part} patches are unknown: every patch is a group of its own")
    rows: dict[str, list[int]] = defaultdict(list)
    for row in range(len(labels)):
        rows[slides[row] if slides else f"{part}/{row}"].append(row)
    files = (images, truth, meta) if slides else (images, truth)
    for slide, own in rows.items():
        load = partial(_load, images, own, labels[own].astype(np.uint8), size)
        yield Item(PARTS[part], slide, images.relative_to(root).as_posix(), files, len(own), load)


def _load(path: Path, rows: Sequence[int], labels: np.ndarray, size: Size) -> Iterator[Picture]:
    with _open(path) as file:
        for row, label in zip(rows, labels, strict=True):
            try:
                pixels = np.asarray(file["x"][row])
            except OSError as error:
                raise InputError(
                    f"expected patches in {path}, but row {row} cannot be read ({in_one_line(error)}); {REMEDY}"
                ) from None
            yield Picture(resize_image(pixels, size), label, row)


def _open(path: Path) -> Any:
    """Open an HDF5 file."""
    try:
        import h5py
    except ImportError:
        raise InputError(f"expected the package h5py to read {path}; install it with `pip install 'medtransfer[hdf5]'`") from None
    try:
        return h5py.File(require_file(path, "a file of the dataset", REMEDY), "r")
    except OSError as error:
        raise InputError(f"expected an HDF5 file in {path}, but it cannot be read ({in_one_line(error)}); {REMEDY}") from None


def _read_rows(path: Path, key: str) -> np.ndarray:
    with _open(path) as file:
        if key not in file:
            raise InputError(f"expected the key {key!r} in {path}, but it holds {', '.join(file)}; {REMEDY}")
        return np.asarray(file[key])


def _check_shape(path: Path, number: int) -> None:
    with _open(path) as file:
        found = (file["x"].shape, str(file["x"].dtype)) if "x" in file else None
    if found is None or found[1] != "uint8" or len(found[0]) != 4 or found[0][0] != number or found[0][3] != 3:
        raise InputError(f"expected the key 'x' with uint8 ({number}, height, width, 3) in {path}, but got {found}; {REMEDY}")


def _read_slides(path: Path, number: int) -> list[str]:
    """Read the slide of each patch."""
    table = read_table(path, REMEDY)
    if "wsi" not in table.columns or len(table.rows) != number:
        raise InputError(
            f"expected {number} rows with the column wsi in {path}, but got {len(table.rows)} with {', '.join(table.columns)}; "
            + REMEDY
        )
    column = table.columns.index("wsi")
    return [row[column] for row in table.rows]

"""Read SIIM-ACR Pneumothorax Segmentation: frontal chest X-rays with masks as run lengths.

Source: https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation. Citation: `CITATION` below. One raw example:

    train-rle.csv    ImageId, EncodedPixels
                     1.2.276.0.7230010.3.1.4.8323329.5597.1517875188.959090, 175349 7 1013 12 …
    dicom-images-train/<Study>/<Series>/<ImageId>.dcm        1024x1024, 8 bits

Several rows of an image are several masks, and their union counts; -1 is an empty mask. The run lengths are relative and go down
the columns, see `run_lengths.py`. Images converted to <ImageId>.png at their full size are read as well; images without a row
are not. There is no official split of the labelled images, so draw one, and no published count. Options:

    table        path of the table
    images       folder of the images, with their subfolders
    keep_aspect  true: pad to `size` instead of squeezing
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.intensities import PERCENTILES
from medtransfer.data.picture_folders import SUFFIXES, require_readable
from medtransfer.data.resizing import Size, resize_image, resize_mask
from medtransfer.data.volumes.dicom import read_slice
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import read_image
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    check_kinds,
    own_percentiles,
    pixel_labels,
    read_options,
    require_folder,
    whole_picture,
)
from medtransfer.prepare.readers.labelled_images import DICOM, is_dicom_name
from medtransfer.prepare.readers.split_lists import is_outside
from medtransfer.prepare.run_lengths import decode_relative
from medtransfer.records import read_table
from medtransfer.wording import are

CITATION = "Society for Imaging Informatics in Medicine, SIIM-ACR Pneumothorax Segmentation, Kaggle, 2019"
OPTIONS: dict[str, Any] = {"table": "train-rle.csv", "images": "dicom-images-train", "keep_aspect": False}
COLUMNS = ("ImageId", "EncodedPixels")
REMEDY = "restore the table"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their masks; no pixels are read.

    Args:
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, or an image is missing.
    """
    chosen = read_options(options, OPTIONS, "siim")
    check_kinds(chosen, {"table": str, "images": str, "keep_aspect": bool})
    if outside := [name for name in ("table", "images") if not chosen[name] or is_outside(chosen[name])]:
        raise InputError(f"expected the option {outside[0]} to be a path inside the dataset, but got {chosen[outside[0]]!r}")
    require_folder(root, "`root` must name the folder that holds the table and the images")
    table = root / chosen["table"]
    masks = _read_masks(table)
    images = _list_images(require_folder(root / chosen["images"], "name the folder with the option `images`"))
    if missing := [name for name in masks if name not in images]:
        raise InputError(
            f"expected an image for every row of {table}, but there is none for {missing[0]} ({len(missing)} such); complete "
            "the dataset"
        )
    unnamed = [path for name, path in images.items() if name not in masks]
    notes = (f"{are(len(unnamed), 'image')} in no row of the table and not read, such as {unnamed[0]}",) if unnamed else ()
    items = tuple(
        Item(
            None, name, images[name].relative_to(root).as_posix(), (images[name], table), 1,
            partial(_load, images[name], runs, table, size, chosen["keep_aspect"]),
        )
        for name, runs in masks.items()
    )  # fmt: skip
    return Scan(
        ("pneumothorax",), 1, size, "affine", CITATION, f"8-bit values kept; others: {PERCENTILES}, per image", {},
        whole_picture(size), items, task="segmentation", labels=pixel_labels(size), notes=notes,
        image_rule=partial(own_percentiles, chosen["keep_aspect"]),
    )  # fmt: skip


def _read_masks(path: Path) -> dict[str, list[str]]:
    """Read the run lengths of each image; -1 is an empty mask."""
    table = read_table(path, REMEDY)
    names = [name.strip() for name in table.columns]
    if missing := [name for name in COLUMNS if name not in names]:
        raise InputError(f"expected the columns {' and '.join(COLUMNS)} in {path}, but there is no {missing[0]}; {REMEDY}")
    image, runs = (names.index(name) for name in COLUMNS)
    masks: dict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        text = row[runs].strip()
        masks[row[image].strip()] += [] if text == "-1" else [text]
    return masks


def _list_images(folder: Path) -> dict[str, Path]:
    """List the images of a folder and its subfolders by name, without their suffixes."""
    images: dict[str, Path] = {}
    require_readable(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (*SUFFIXES, *DICOM) or path.name.startswith("."):
            continue
        if (other := images.setdefault(path.name.removesuffix(path.suffix), path)) != path:
            raise InputError(f"expected one image per name in {folder}, but got {other} and {path}; move one away")
    return images


def _load(path: Path, runs: Sequence[str], table: Path, size: Size, keep_aspect: bool) -> Iterator[Picture]:
    image = _read(path)
    mask = np.zeros(image.shape[:2], bool)
    for text in runs:
        try:
            mask |= decode_relative(text, image.shape[:2])
        except ValueError as error:
            raise InputError(f"expected relative run lengths of {path} in {table}, but {error}; {REMEDY}, or the image") from None
    yield Picture(resize_image(image, size, keep_aspect), resize_mask(mask.astype(np.uint8), size, keep_aspect), 0)


def _read(path: Path) -> np.ndarray:
    """Read an image as uint8 (h, w, 1)."""
    if not is_dicom_name(path):
        return read_image(path, 1)
    values = read_slice(path)
    return (values if values.dtype == np.uint8 else PERCENTILES.scale(values, path))[..., None]

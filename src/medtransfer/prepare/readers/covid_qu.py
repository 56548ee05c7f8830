"""Read the COVID-QU-Ex infection segmentation folders (or four .npy arrays): chest X-rays, one class.

Source: https://www.kaggle.com/datasets/anasmohammedtahir/covidqu. Citation: `CITATION` below. One raw example:

    Infection Segmentation Data/Train/COVID-19/images/covid_1.png             grey, 256x256
    Infection Segmentation Data/Train/COVID-19/infection masks/covid_1.png    grey, 256x256, values 0 and 255
    Infection Segmentation Data/Train/COVID-19/lung masks/covid_1.png         likewise, with `masks: lung`

Kaggle's archive holds the first folder twice, one in the other; either may be the root. The same images as arrays:
train_and_val/imgs.npy, train_and_val/inf_masks.npy, test/imgs.npy, test/inf_masks.npy, each (N, 256, 256) with values
0..255. Train and Val together are the training images.
Official counts: 2913 COVID-19 images have annotated infections, 2330 train + val and 583 test. The masks of Non-COVID
and Normal are empty by definition; these classes are left out unless the option `classes` names them. The class of an image is
the name of its folder: see `image_folder.py`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import check_same_size, list_pictures, read_image, read_labels
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    Size,
    check_split_folders,
    is_folder,
    list_entries,
    own_percentiles,
    pair_up,
    pixel_labels,
    read_options,
    require_folder,
    whole_picture,
)
from medtransfer.records import map_array

CITATION = (
    "A. M. Tahir, M. E. H. Chowdhury, A. Khandakar, T. Rahman, Y. Qiblawey, et al., COVID-19 infection localization and "
    "severity grading from chest X-ray images, Computers in Biology and Medicine 139, 105002, 2021, "
    "doi:10.1016/j.compbiomed.2021.105002"
)
EXPECTED = {"train": 2330, "test": 583}
OPTIONS: dict[str, Any] = {"classes": ["COVID-19"], "masks": "infection"}
CLASSES = ("COVID-19", "Non-COVID", "Normal")
FOLDERS = {"Train": "train", "Val": "train", "Test": "test"}
PUBLISHED = "Infection Segmentation Data"
MASKS = {"infection": "infection masks", "lung": "lung masks"}
ARRAYS = {"train_and_val": "train", "test": "test"}
REMEDY = "`root` must name the folder that holds `Infection Segmentation Data`, or train_and_val/imgs.npy and test/imgs.npy"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their infection masks.

    Args:
        root: the folder that holds `Infection Segmentation Data`, or train_and_val/ and test/ with the arrays.
        size: (height, width) of the stored pictures, pixels.
        options: `classes`, which of COVID-19, Non-COVID and Normal to use; `masks`, infection or lung (both of folders only).

    Raises:
        InputError: the layout is unknown, or a mask or image is missing.
    """
    chosen = read_options(options, OPTIONS, "covid-qu")
    classes, masks = chosen["classes"], chosen["masks"]
    if masks not in MASKS:
        raise InputError(f"expected the option masks to be one of {', '.join(MASKS)}, but got {masks!r}")
    if not isinstance(classes, list) or not classes or not set(classes) <= set(CLASSES):
        raise InputError(f"expected the option classes to list some of {', '.join(CLASSES)}, but got {classes!r}")
    require_folder(root, REMEDY)
    names = {path.name for path in list_entries(root)}  # exact, so that Test is not test on a Mac
    arrays = [name for name in ARRAYS if name in names]
    if arrays and masks != OPTIONS["masks"]:
        raise InputError(
            f"expected the folders of COVID-QU-Ex in {root} for `masks: {masks}`, but there are arrays, which have none"
        )
    items = tuple(_list_arrays(root, arrays, size) if arrays else _list_folders(root, classes, MASKS[masks], size))
    if not items:
        raise InputError(f"expected images of {', '.join(classes)} in {root}, but there are none; {REMEDY}")
    expected = EXPECTED if classes == OPTIONS["classes"] else {}
    return Scan(
        (masks,), 1, size, "rotate-flip", CITATION, "8-bit values kept", expected, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size), image_rule=own_percentiles,
    )  # fmt: skip


def _find_folders(root: Path) -> Path:
    """Return the folder that holds Train, Val and Test: the root, the published folder in it, or that folder's own copy."""
    places = [root, root / PUBLISHED, root / PUBLISHED / PUBLISHED]
    filled = [place for place in places if is_folder(place) and FOLDERS.keys() & {path.name for path in list_entries(place)}]
    if len(filled) != 1:
        got = f"got both {filled[0]} and {filled[1]}" if filled else f"there are none in {' or '.join(map(str, places[:2]))}"
        raise InputError(f"expected the folders Train, Val and Test once below {root}, but {got}; {REMEDY}")
    return filled[0]


def _list_folders(root: Path, classes: list[str], kind: str, size: Size) -> Iterator[Item]:
    base = _find_folders(root)
    check_split_folders(base, FOLDERS)
    for folder, split in FOLDERS.items():
        for name in classes:
            parent = base / folder / name
            if not is_folder(parent):
                continue
            images = list_pictures(require_folder(parent / "images", REMEDY))
            masks = list_pictures(parent / kind) if is_folder(parent / kind) else {}
            for picture, image, mask in pair_up(images, masks, parent / kind):
                source = image.relative_to(root).as_posix()
                yield Item(split, f"{folder}/{name}/{picture}", source, (image, mask), 1, partial(_load, image, mask, size))


def _load(image_path: Path, mask_path: Path, size: Size) -> Iterator[Picture]:
    yield _make_picture(read_image(image_path, 1)[..., 0], read_labels(mask_path), (image_path, mask_path), size, 0)


def _list_arrays(root: Path, names: list[str], size: Size) -> Iterator[Item]:
    for name in names:
        files = (root / name / "imgs.npy", root / name / "inf_masks.npy")
        images, masks = _map(files[0]), _map(files[1])
        if images.shape != masks.shape:
            raise InputError(f"expected masks of shape {images.shape} like {files[0]}, but {files[1]} has {masks.shape}")
        source = files[0].relative_to(root).as_posix()
        for row in range(len(images)):
            yield Item(ARRAYS[name], f"{name}/{row}", source, files, 1, partial(_load_row, files, row, size))


def _load_row(files: tuple[Path, Path], row: int, size: Size) -> Iterator[Picture]:
    image, mask = (_to_bytes(np.asarray(_map(path)[row]), path) for path in files)
    yield _make_picture(image, mask, files, size, row)


def _map(path: Path) -> np.ndarray:
    array = map_array(path, "restore the file")
    if array.ndim != 3:
        raise InputError(f"expected an array of shape (N, height, width) in {path}, but got {array.shape}; restore the file")
    return array


def _to_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    """Convert values of any type to uint8 without loss; others would need an unknown scale and raise InputError."""
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise InputError(f"expected whole numbers from 0 to 255 in {path}, but got other values; save the array as uint8")
    return pixels


def _make_picture(image: np.ndarray, mask: np.ndarray, files: tuple[Path, Path], size: Size, slice_: int) -> Picture:
    check_same_size(image, mask, *files)
    values = set(np.unique(mask).tolist())
    if not (values <= {0, 255} or values <= {0, 1}):
        unknown = sorted(values - {0, 255})[:8]
        raise InputError(f"expected the values 0 and 255 (or 0 and 1) in {files[1]}, but got also {unknown}; restore the mask")
    return Picture(resize_image(image[..., None], size), resize_mask((mask > 0).astype(np.uint8), size), slice_)

"""Read the IDRiD segmentation folders: fundus photographs with microaneurysm masks, split into windows.

Source: https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid. Citation: `CITATION` below.
One raw example:

    A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg                                    RGB, 4288x2848
    A. Segmentation/2. All Segmentation Groundtruths/a. Training Set/1. Microaneurysms/IDRiD_01_MA.tif  1-bit palette

The masks are red: depending on the decoder their values are {0, 1}, {0, 76}, or {0, 255} in red only. So any non-zero
value counts.
Official counts: 54 training and 27 test images. At 1120x2240 pixels each gives 119 windows of 448x448 at stride 112
for training (6426) or a grid of 5x10 tiles of 224x224 for the test (1350). Only the images are stored; each window is a
row of the index.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import check_same_size, list_pictures, read_image, read_nonzero
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    Size,
    Window,
    check_split_folders,
    is_folder,
    own_percentiles,
    pair_up,
    pixel_labels,
    read_options,
    require_folder,
)

CITATION = (
    "P. Porwal, S. Pachade, M. Kokare, G. Deshmukh, et al., IDRiD: Diabetic Retinopathy - Segmentation and Grading "
    "Challenge, Medical Image Analysis 59, 101561, 2020, doi:10.1016/j.media.2019.101561"
)
IMAGES = {"train": 54, "test": 27}
OPTIONS = {"window": 448, "stride": 112, "tile": 224}
PHOTOGRAPHS = "1. Original Images"
FOLDERS = {"train": "a. Training Set", "test": "b. Testing Set"}
REMEDY = "`root` must name the folder that holds `A. Segmentation` as its authors publish it"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their microaneurysm masks, and the windows of the samples.

    Args:
        root: the folder that holds `A. Segmentation`; a subset may lack one of the two sets.
        size: (height, width) of the stored pictures, pixels; 1120x2240 in the paper.
        options: `window` and `stride` of the training windows, `tile` of the test grid; pixels.

    Raises:
        InputError: the layout is unknown, a mask is missing, or the windows do not fill the size.
    """
    chosen = read_options(options, OPTIONS, "idrid")
    if bad := [name for name, value in chosen.items() if type(value) is not int or value < 1]:
        raise InputError(f"expected the option {bad[0]} to be a positive number of pixels, but got {chosen[bad[0]]!r}")
    tile = chosen["tile"]
    windows = {
        "train": slide_window(size, chosen["window"], chosen["stride"]),
        "test": slide_window(size, tile, tile),
    }
    base = require_folder(require_folder(root, REMEDY) / "A. Segmentation", REMEDY)
    check_split_folders(require_folder(base / PHOTOGRAPHS, REMEDY), FOLDERS.values())
    items = tuple(item for split in FOLDERS for item in _list_split(root, base, split, size))
    if not items:
        raise InputError(f"expected images in {base / PHOTOGRAPHS}, but there are none; {REMEDY}")
    return Scan(
        classes=("microaneurysms",),
        channels=3,
        input=(tile, tile),
        augmentation="rotate-crop",
        citation=CITATION,
        scaling="8-bit values kept",
        expected={split: images * len(windows[split]) for split, images in IMAGES.items()},
        windows=windows,
        items=items,
        task="segmentation",
        labels=pixel_labels(size),
        image_rule=own_percentiles,
    )


def slide_window(size: Size, side: int, stride: int) -> tuple[Window, ...]:
    """List the square windows that slide over a picture, row by row.

    Args:
        size: (height, width) of the picture, pixels.
        side: side of a window, pixels.
        stride: distance from one window to the next, pixels.

    Returns:
        (top, left, side, side) of each.

    Raises:
        InputError: the windows would not reach the border.
    """
    for length, name in zip(size, ("height", "width"), strict=True):
        if length < side:
            raise InputError(
                f"expected windows no larger than the {name} of `size`, {length}, but got {side} pixels; enlarge `size`, or reduce "
                "`window` or `tile`"
            )
        if beyond := (length - side) % stride:
            raise InputError(
                f"expected windows of {side} pixels at stride {stride} to fill the {name} {length}, but {beyond} pixels are left; "
                f"choose a `size` with a {name} of {length - beyond} or {length - beyond + stride}, or other `window`, `stride` "
                "and `tile`"
            )
    height, width = size
    return tuple(
        (top, left, side, side) for top in range(0, height - side + 1, stride) for left in range(0, width - side + 1, stride)
    )


def _list_split(root: Path, base: Path, split: str, size: Size) -> Iterator[Item]:
    folder = base / PHOTOGRAPHS / FOLDERS[split]
    if not is_folder(folder):
        return
    truth = base / "2. All Segmentation Groundtruths" / FOLDERS[split] / "1. Microaneurysms"
    masks = list_pictures(truth) if is_folder(truth) else {}
    if bad := [path for stem, path in masks.items() if not stem.endswith("_MA")]:
        raise InputError(f"expected masks named IDRiD_NN_MA.tif in {truth}, but got {bad[0].name}; {REMEDY}")
    by_name = {stem.removesuffix("_MA"): path for stem, path in masks.items()}
    for name, image, mask in pair_up(list_pictures(folder), by_name, truth):
        source = image.relative_to(root).as_posix()
        yield Item(split, name, source, (image, mask), 1, partial(_load, image, mask, size))


def _load(image_path: Path, mask_path: Path, size: Size) -> Iterator[Picture]:
    image, mask = read_image(image_path, 3), read_nonzero(mask_path)
    check_same_size(image, mask, image_path, mask_path)
    yield Picture(resize_image(image, size), resize_mask(mask, size), 0)

"""Read any folder of images and masks, with classes from the options.

Source: the user's own data. One raw example, with a published split and without one:

    train/images/case07_03.png    train/masks/case07_03.png    test/images/...    test/masks/...
    images/case07_03.png          masks/case07_03_mask.tif

PNG, JPEG, TIFF and BMP are read: 8-bit grey, colour, palette and transparency, 16-bit and float grey. Images and masks are
matched by the name before the suffix. There is no official count. Options:

    images, masks    names of the two subfolders
    suffix           what follows the image's name in its mask's name, such as `_mask`
    group            regular expression whose first group is the patient, such as `(case\\d+)_`; null: one group per image
    classes          names of the non-background classes
    labels           raw value -> class name or `background`; null: one class in masks of {0, 1} or {0, 255}
"""

import re
import reprlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import (
    PERCENTILE_RULE,
    check_same_size,
    is_grey,
    list_pictures,
    read_image,
    read_labels,
    resize_image,
    resize_mask,
)
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    Size,
    is_folder,
    pair_up,
    pixel_labels,
    read_options,
    require_folder,
    whole_picture,
)

OPTIONS: dict[str, Any] = {
    "images": "images", "masks": "masks", "suffix": "", "group": None, "classes": ["foreground"], "labels": None,
}  # fmt: skip
CITATION = "own data"
MOST_CLASSES = 255  # masks are stored in one byte
SCALING = f"8-bit values kept; 16-bit and float grey: {PERCENTILE_RULE}, per image"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their masks; only their headers are read.

    Args:
        root: the folder that holds train/ and test/, or the image and mask folders.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a mask or image is missing, or an option is invalid.
    """
    chosen = read_options(options, OPTIONS, "folder")
    _check_options(chosen)
    classes = chosen["classes"]
    table = _read_table(chosen["labels"], classes)
    require_folder(root, "`root` must name the folder that holds your images and masks")
    parents: dict[str | None, Path] = {split: root / split for split in ("train", "test") if is_folder(root / split)}
    pairs = [(split, *pair) for split, parent in (parents or {None: root}).items() for pair in _list_pairs(parent, chosen)]
    channels: Literal[1, 3] = 1 if all(is_grey(image) for _, image, _ in pairs) else 3
    items = tuple(
        Item(
            split, _read_group(image, root, chosen["group"]), image.relative_to(root).as_posix(), (image, mask), 1,
            partial(_load, image, mask, channels, size, table),
        )
        for split, image, mask in pairs
    )  # fmt: skip
    return Scan(
        tuple(classes), channels, size, "rotate-flip", CITATION, SCALING, {}, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size),
    )  # fmt: skip


def _check_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError for options of a wrong type and subfolders outside the dataset."""
    classes = chosen["classes"]
    named = isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)
    if not named or not 0 < len(set(classes)) == len(classes) <= MOST_CLASSES or "background" in classes:
        raise InputError(
            f"expected the option classes to list 1 to {MOST_CLASSES} different names of classes, but got {reprlib.repr(classes)}"
        )
    for name in ("images", "masks"):
        value = chosen[name]
        if not isinstance(value, str) or not value or Path(value).is_absolute() or ".." in Path(value).parts:
            raise InputError(f"expected the option {name} to name a folder inside the dataset, but got {chosen[name]!r}")
    for name, kinds in (("suffix", str), ("group", str | None)):
        if not isinstance(chosen[name], kinds):
            raise InputError(f"expected the option {name} to be a string, but got {chosen[name]!r}")


def _list_pairs(parent: Path, chosen: Mapping[str, Any]) -> list[tuple[Path, Path]]:
    remedy = "name the two subfolders with the options `images` and `masks`"
    folders = [require_folder(parent / chosen[kind], remedy) for kind in ("images", "masks")]
    images, masks = map(list_pictures, folders)
    suffix = chosen["suffix"]
    if bad := [path for stem, path in masks.items() if not stem.endswith(suffix)]:
        raise InputError(f"expected masks named *{suffix} in {folders[1]}, but got {bad[0].name}; set the option `suffix`")
    by_name = {stem.removesuffix(suffix): path for stem, path in masks.items()}
    return [(image, mask) for _, image, mask in pair_up(images, by_name, parent)]


def _read_group(image: Path, root: Path, pattern: str | None) -> str:
    if pattern is None:
        return image.relative_to(root).as_posix()
    try:
        match = re.search(pattern, image.stem)
    except re.error as error:
        raise InputError(f"expected a regular expression in the option group, but {pattern!r} is not one ({error})") from None
    if match is None or not match.groups() or match[1] is None:
        raise InputError(f"expected the first group of the option group {pattern!r} to match every name, but not {image}")
    return match[1]


def _read_table(labels: Any, classes: list[str]) -> dict[int, int] | None:
    """Return the class number of each raw value, or None if it must be inferred."""
    if labels is None and len(classes) == 1:
        return None
    numbers = {"background": 0} | {name: number for number, name in enumerate(classes, start=1)}
    try:
        if not labels or any(type(value) is not int for value in labels):
            raise KeyError("a label is not a whole number")
        return {value: numbers[name] for value, name in labels.items()}
    except (AttributeError, KeyError, TypeError):
        known = ", ".join(numbers)
        raise InputError(f"expected the option labels to map raw values to one of {known}, but got {labels!r}") from None


def _load(image_path: Path, mask_path: Path, channels: int, size: Size, table: dict[int, int] | None) -> Iterator[Picture]:
    image, raw = read_image(image_path, channels), read_labels(mask_path)
    check_same_size(image, raw, image_path, mask_path)
    yield Picture(resize_image(image, size), resize_mask(_number(raw, table, mask_path), size), 0)


def _number(raw: np.ndarray, table: dict[int, int] | None, path: Path) -> np.ndarray:
    values = np.unique(raw).tolist()
    if table is None:
        table = next((rule for rule in ({0: 0, 1: 1}, {0: 0, 255: 1}) if rule.keys() >= set(values)), {0: 0, 255: 1})
    if unknown := [value for value in values if value not in table]:
        raise InputError(
            f"expected the labels {sorted(table)} in {path}, but got {unknown[:8]}; define them with the option `labels`"
        )
    mask = np.zeros(raw.shape, np.uint8)
    for value in values:
        mask[raw == value] = table[value]
    return mask

"""A raw dataset on disk goes in; a frozen description with lazily loaded pictures comes out: the contract of all readers.

A reader is a function `scan(root, size, options) -> Scan`. It validates the layout and lists the items without reading
pixels; `Item.load` reads them. To add a dataset: write one such file, add one line to `prepare.READERS` and one test.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medtransfer.errors import InputError

Window = tuple[int, int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """One stored picture.

    Attributes:
        image: uint8 (H, W, C).
        mask: uint8 (H, W), 0 is background, c the c-th class.
        slice: which part of its item it is: the z index of a volume, the position in an array, 0 otherwise.
    """

    image: np.ndarray
    mask: np.ndarray
    slice: int


@dataclass(frozen=True)
class Item:
    """What is read at once: one volume, or one image with its mask.

    Attributes:
        split: `train` or `test` as the authors published it, None where the layout has no split.
        group: what must never be torn apart by a split: the patient or the source image.
        source: name of the item, its image file below the root.
        files: the files that it is made from.
        pictures: how many pictures `load` yields.
        load: reads them.
    """

    split: str | None
    group: str
    source: str
    files: tuple[Path, ...]
    pictures: int
    load: Callable[[], Iterable[Picture]]


@dataclass(frozen=True)
class Scan:
    """What a reader found; the fields go into `dataset.json` as they are.

    Attributes:
        classes: names of the non-background classes.
        channels: of the stored images, 1 or 3.
        input: (height, width) in pixels that a model sees.
        augmentation: name of the training augmentation.
        citation: where the dataset comes from.
        scaling: how raw intensities become uint8.
        expected: samples a split of the full dataset, empty when nothing is published.
        windows: (top, left, height, width) of the samples of every stored picture, for `train` and for `test`.
        items: in the order in which they are stored.
        task: what the labels are for, a key of TASKS.
    """

    classes: tuple[str, ...]
    channels: Literal[1, 3]
    input: Size
    augmentation: str
    citation: str
    scaling: str
    expected: Mapping[str, int]
    windows: Mapping[str, tuple[Window, ...]]
    items: tuple[Item, ...]
    task: str = "segmentation"


Reader = Callable[[Path, Size, Mapping[str, Any]], Scan]


def whole_picture(size: Size) -> dict[str, tuple[Window, ...]]:
    """Give the windows of a dataset whose samples are whole pictures."""
    window = ((0, 0, *size),)
    return {"train": window, "test": window}


def read_options(options: Mapping[str, Any], known: Mapping[str, Any], reader: str) -> dict[str, Any]:
    """Lay a user's options over a reader's published ones.

    Raises:
        InputError: an option is unknown.
    """
    if unknown := [name for name in options if name not in known]:
        allowed = ", ".join(known) or "none"
        raise InputError(f"expected options that the reader {reader!r} knows ({allowed}), but got {', '.join(unknown)}")
    return {**known, **options}


def require_folder(folder: Path, remedy: str) -> Path:
    """Give the folder back; a missing one is an InputError that ends with the remedy."""
    if not is_folder(folder):
        raise InputError(f"expected the folder {folder}, but it does not exist; {remedy}")
    return folder


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; one that cannot be reached, since one above may not be read, is an InputError."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as fault:  # a ValueError comes from a NUL in the name
        raise InputError(
            f"expected {path} to be within reach, but it is not ({fault}); correct the permissions or the name"
        ) from None


def list_entries(folder: Path) -> list[Path]:
    """List a folder, sorted; a link in it that leads nowhere is refused, since what it stands for would silently be left out.

    Raises:
        InputError: the folder may not be read, or holds such a link.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        raise InputError(f"expected a folder that can be read at {folder}, but {fault.strerror}; correct its permissions") from None
    if lost := [entry for entry in entries if entry.is_symlink() and not entry.exists()]:
        raise InputError(f"expected a file or folder at {lost[0]}, but it is a link that leads nowhere; mend or remove the link")
    return entries


def pair_up(images: Mapping[str, Path], masks: Mapping[str, Path], where: Path) -> list[tuple[str, Path, Path]]:
    """Match images and masks by name.

    Returns:
        (name, image, mask), sorted by name.

    Raises:
        InputError: an image has no mask, a mask has no image, or there is nothing at all.
    """
    if lonely := sorted(images.keys() - masks.keys()):
        raise InputError(
            f"expected a mask for every image, but {images[lonely[0]]} has none ({len(lonely)} such); "
            "add the mask or move the image away: a missing mask is no empty mask"
        )
    if orphans := sorted(masks.keys() - images.keys()):
        raise InputError(
            f"expected an image for every mask, but {masks[orphans[0]]} has none ({len(orphans)} such); "
            "add the image or move the mask away"
        )
    if not images:
        raise InputError(f"expected images and masks in {where}, but there are none; check the layout and `root`")
    return [(name, images[name], masks[name]) for name in sorted(images)]

"""What the readers of photographs with published masks share: subsets of classes, and from image and mask to sample.

Options, beside those of each reader:

    classes      names of the classes that the masks keep, in their order; the others become background
    containing   true: only images with at least one pixel of these classes, counted in masks of their own size
    keep_aspect  true: pad to `size` instead of squeezing; what is padded is ignored in loss and metrics
    augmentation of training images: affine, or rotate-flip, which also turns them upside down
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size, resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import check_same_size, read_image, read_labels
from medtransfer.prepare.readers.contract import (
    ALL,
    Item,
    Picture,
    Scan,
    check_kinds,
    own_percentiles,
    pixel_labels,
    whole_picture,
)
from medtransfer.prepare.readers.labelled_images import AUGMENTATIONS
from medtransfer.progress import track
from medtransfer.records import IGNORE

OPTIONS: dict[str, Any] = {"classes": None, "containing": False, "keep_aspect": False, "augmentation": "affine"}
IGNORED = "ignore"
Numbering = Callable[[Path], np.ndarray]  # from a mask file to class numbers, uint8 (h, w), IGNORE among them


@dataclass(frozen=True)
class MaskedImage:
    """An image with its mask.

    Attributes:
        split: published split, None if there is none.
        group: what stays in one split, such as all images of a city.
        path: file of the image.
        mask: file of the mask.
    """

    split: str | None
    group: str
    path: Path
    mask: Path


def scan_masked(
    images: Sequence[MaskedImage], root: Path, size: Size, chosen: Mapping[str, Any], *, classes: Sequence[str], number: Numbering,
    ignore: bool, citation: str, expected: Mapping[str, int], tables: Sequence[Path] = (), notes: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
) -> Scan:  # fmt: skip
    """Describe a dataset of photographs with masks; pixels are read only to choose images by their classes.

    Args:
        images: images with their masks.
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        chosen: options, those of this module among them.
        classes: names of the classes in the order of their numbers.
        number: reads the class numbers of a mask.
        ignore: whether it may return IGNORE.
        citation: citation of the dataset.
        expected: official counts, see `Scan`.
        tables: files that the splits or labels are from; a change makes the target again.
        notes: what the reader has to say.
        left_out: samples of each split that the reader leaves out.

    Raises:
        InputError: an option is invalid, or no image is left.
    """
    check_kinds(chosen, {"containing": bool, "keep_aspect": bool})
    if chosen["augmentation"] not in AUGMENTATIONS:
        raise InputError(
            f"expected the option augmentation to be one of {', '.join(AUGMENTATIONS)}, but got {chosen['augmentation']!r}"
        )
    without = Counter(left_out or {})
    if chosen["containing"]:
        listed = track(images, "prepare: masks that hold the classes", len(images), "masks")
        kept = [image for image in listed if _holds_class(number(image.mask))]
        without += Counter(image.split or ALL for image in images) - Counter(image.split or ALL for image in kept)
        notes = [*notes, f"{len(kept)} of {len(images)} images hold {' or '.join(classes)}; the others are left out"]
        images = kept
    if not images:
        raise InputError(f"expected images with {', '.join(classes)} in {root}, but there are none; check `root` and `options`")
    keep_aspect = chosen["keep_aspect"]
    items = tuple(
        Item(
            image.split, image.group, image.path.relative_to(root).as_posix(), (image.path, image.mask, *tables), 1,
            partial(_load, image, size, keep_aspect, number),
        )
        for image in images
    )  # fmt: skip
    return Scan(
        tuple(classes), 3, size, chosen["augmentation"], citation, "8-bit values kept", expected, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size), notes=tuple(notes), ignore=ignore or keep_aspect, left_out=without,
        image_rule=partial(own_percentiles, keep_aspect),
    )  # fmt: skip


def pick_classes(option: Any, known: Collection[str]) -> list[str]:
    """Return the classes that the option `classes` lists; None is all of them.

    Raises:
        InputError: one of them is unknown, or there are none.
    """
    if option is None:
        return list(known)
    named = isinstance(option, list) and all(isinstance(name, str) and name in known for name in option)
    if not named or not 0 < len(set(option)) == len(option):
        raise InputError(f"expected the option classes to list some of {', '.join(known)}, but got {option!r}")
    return list(option)


def by_label(names: Mapping[int, str], classes: Sequence[str]) -> Numbering:
    """Return a function that reads masks whose values, or palette indices, are labels.

    Args:
        names: label, 0 to 255 -> name; `ignore` is left out of loss and metrics.
        classes: names of the classes that are kept, in the order of their numbers; other names are background.
    """
    numbers = {IGNORED: IGNORE} | {name: index for index, name in enumerate(classes, start=1)}
    table, known = np.zeros(256, np.uint8), np.zeros(256, bool)
    for label, name in names.items():
        table[label], known[label] = numbers.get(name, 0), True

    def number(path: Path) -> np.ndarray:
        labels = read_labels(path)
        unknown = np.setdiff1d(labels, np.flatnonzero(known)) if labels.dtype != np.uint8 else _present(labels, ~known)
        if len(unknown):
            raise InputError(f"expected the labels {_list(sorted(names))} in {path}, but got {_list(unknown)}; restore the mask")
        return table[labels.astype(np.intp, copy=False)]

    return number


def _present(labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.flatnonzero((np.bincount(labels.ravel(), minlength=256) > 0) & wanted)


def _list(labels: Sequence[int] | np.ndarray) -> str:
    return ", ".join(map(str, labels[:40])) + (", …" if len(labels) > 40 else "")


def _holds_class(mask: np.ndarray) -> bool:
    return bool(((mask > 0) & (mask != IGNORE)).any())


def _load(image: MaskedImage, size: Size, keep_aspect: bool, number: Numbering) -> Iterator[Picture]:
    pixels, mask = read_image(image.path, 3), number(image.mask)
    check_same_size(pixels, mask, image.path, image.mask)
    yield Picture(resize_image(pixels, size, keep_aspect), resize_mask(mask, size, keep_aspect, IGNORE), 0)

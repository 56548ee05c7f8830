"""Cut a crop from each image of a dataset with masks, with or without a class: a source of classification or of segmentation.

Source: Dippel et al. 2022, section 5.1, who cut patches with cars and without any from Cityscapes. Layout, groups and citation are
those of the reader `of`, and so are the splits. For every image a coin decides which kind is cut; then crops are drawn until one
holds no pixel of the class, or at least `share` of them. An image that can give no crop of its kind gives the other one, and is
left out if it can give neither. The labels are 1, present, and 0, absent. Options:

    of           reader of the images and masks
    read         its options; a volume gives a crop of each slice
    frame        (height, width) at which it reads the pictures that are cut, pixels
    class        name of the class
    share        least share of a crop's pixels that makes the class present, 0.2 in the paper
    sides        smallest and largest side of a crop, a square, as shares of the shorter side of the frame
    tries        crops that are drawn at most for each kind
    seed         of coins and crops
    labels       images: whether the class is present; pixels: the mask of the class in crops that hold it, without a coin
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size, resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.loading import each
from medtransfer.prepare.readers.contract import (
    ALL,
    Item,
    Labels,
    Picture,
    Scan,
    pixel_labels,
    read_options,
    whole_picture,
)
from medtransfer.progress import track
from medtransfer.records import IGNORE, LABELS_FILE
from medtransfer.seeds import derive_seed
from medtransfer.wording import counted

OPTIONS: dict[str, Any] = {
    "of": None, "read": {}, "frame": None, "class": None, "share": 0.2, "sides": [0.1, 0.5], "tries": 1000, "seed": 0,
    "labels": "images",
}  # fmt: skip
IMAGES, PIXELS = "images", "pixels"


@dataclass(frozen=True)
class Crop:
    """A crop of a picture.

    Attributes:
        present: whether it holds the class.
        top: its first row, pixels.
        left: its first column.
        side: its side.
    """

    present: bool
    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Cutter:
    """How crops are drawn.

    Attributes:
        number: number of the class in the masks.
        share: least share of its pixels in a crop that holds it.
        sides: smallest and largest side, as shares of the shorter side of a picture.
        tries: crops that are drawn at most for each kind.
    """

    number: int
    share: float
    sides: tuple[float, float]
    tries: int

    def draw(self, mask: np.ndarray, present: bool, rng: np.random.Generator) -> Crop | None:
        """Return the first drawn crop of a kind; None if none of `tries` is.

        Args:
            mask: class numbers, uint8 (H, W).
            present: whether the crop is to hold the class.
            rng: source of the draws.
        """
        height, width = mask.shape
        low, high = (max(1, round(side * min(height, width))) for side in self.sides)
        side = rng.integers(low, high + 1, self.tries)
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        pixels = _in_boxes(mask == self.number, top, left, side)
        if present:
            fits = pixels >= self.share * side**2
        else:
            fits = pixels + _in_boxes(mask == IGNORE, top, left, side) == 0  # what is ignored may be of the class
        first = int(fits.argmax())
        return Crop(present, int(top[first]), int(left[first]), int(side[first])) if fits[first] else None


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the crops; masks and pictures are read to find them.

    Args:
        root: folder of the dataset, as its reader expects it.
        size: (height, width) of the stored crops, pixels.
        options: see the module's docstring.

    Raises:
        InputError: an option is invalid, the reader refuses the dataset, or no image gives a crop.
    """
    chosen = read_options(options, OPTIONS, "crops")
    whole, name = _read_whole(root, chosen), chosen["class"]
    if name not in whole.classes:
        raise InputError(f"expected the option class to be one of {', '.join(whole.classes)}, but got {name!r}")
    cutter = Cutter(whole.classes.index(name) + 1, chosen["share"], (chosen["sides"][0], chosen["sides"][1]), chosen["tries"])
    coin = chosen["labels"] == IMAGES
    items, kept, other_kind = [], [], 0
    without = Counter(whole.left_out)
    draw = partial(_crops_of, cutter=cutter, seed=chosen["seed"], coin=coin)
    drawn = track(each(whole, whole.input, draw), f"prepare: crops with {name}", len(whole.items), "items")
    for index, (item, (crops, swapped)) in enumerate(zip(whole.items, drawn, strict=True)):
        other_kind += swapped
        without[item.split or ALL] += item.pictures - len(crops)
        if crops:
            load = partial(_load, item, crops, size, cutter.number, coin)
            items.append(replace(item, pictures=len(crops), load=load))
            kept.append(index)
    if not items:
        raise InputError(
            f"expected images in {root} with crops that hold {name} or do not, but none of {len(whole.items)} gives one; lower the "
            "option share, or change sides"
        )

    def see_splits(splits: Sequence[str]) -> None:
        assert whole.see_splits is not None
        known = dict(zip(kept, splits, strict=True))
        whole.see_splits([known.get(index, "left out") for index in range(len(whole.items))])

    left_out = sum(without.values()) - sum(whole.left_out.values())
    notes = [*whole.notes, *_notes(left_out, other_kind, name, coin)]
    return replace(
        whole, classes=(name,), input=size, windows=whole_picture(size), items=tuple(items), notes=tuple(notes), regions={},
        left_out={split: number for split, number in without.items() if number}, task="binary" if coin else "segmentation",
        labels=Labels(LABELS_FILE, ()) if coin else pixel_labels(size), ignore=whole.ignore and not coin,
        see_splits=see_splits if whole.see_splits else None,
    )  # fmt: skip


def _read_whole(root: Path, chosen: Mapping[str, Any]) -> Scan:
    """Return the scan of the whole pictures, after all options are checked."""
    from medtransfer.prepare.readers import READERS

    low_high, whole_number = chosen["sides"], chosen["tries"]
    checks = {
        "of": (chosen["of"] in READERS and chosen["of"] != "crops", f"be a reader with masks, one of {', '.join(READERS)}"),
        "read": (isinstance(chosen["read"], Mapping), "map options of that reader"),
        "frame": (_are(chosen["frame"], int) and min(chosen["frame"]) > 0, "be [height, width] in pixels, such as [512, 1024]"),
        "share": (_are([chosen["share"]] * 2, float) and 0 < chosen["share"] <= 1, "be a share above 0, at most 1"),
        "sides": (_are(low_high, float) and 0 < low_high[0] <= low_high[1] <= 1, "be two shares, such as [0.1, 0.5]"),
        "tries": (type(whole_number) is int and whole_number > 0, "be a number of crops"),
        "seed": (type(chosen["seed"]) is int and chosen["seed"] >= 0, "be a number from 0"),
        "labels": (chosen["labels"] in (IMAGES, PIXELS), f"be {IMAGES} or {PIXELS}"),
    }  # fmt: skip
    for name, (valid, expected) in checks.items():
        if not valid:
            raise InputError(f"expected the option {name} of the reader crops to {expected}, but got {chosen[name]!r}; correct it")
    height, width = chosen["frame"]
    whole = READERS[chosen["of"]](root, (height, width), chosen["read"])
    if whole.task != "segmentation":
        raise InputError(
            f"expected a reader with masks in the option of, but {chosen['of']} reads the task {whole.task}; name another one"
        )
    return whole


def _are(values: Any, kind: type) -> bool:
    """Return whether an option lists two numbers, whole ones if the kind is int."""
    kinds = (int,) if kind is int else (int, float)
    return isinstance(values, list) and len(values) == 2 and all(type(value) in kinds for value in values)


def _crops_of(item: Item, cutter: Cutter, seed: int, coin: bool) -> tuple[dict[int, Crop], int]:
    """Return the crops of an item by position of the picture, and how many are of the other kind than the coin says."""
    crops, swapped = {}, 0
    for position, picture in enumerate(item.load()):
        rng = np.random.default_rng(derive_seed(seed, item.source, position))
        wanted = bool(rng.integers(2)) if coin else True
        assert picture.labels is not None
        crop = cutter.draw(picture.labels, wanted, rng)
        if crop is None and coin and (crop := cutter.draw(picture.labels, not wanted, rng)):
            swapped += 1
        if crop:
            crops[position] = crop
    return crops, swapped


def _load(item: Item, crops: Mapping[int, Crop], size: Size, number: int, coin: bool) -> Iterator[Picture]:
    for position, picture in enumerate(item.load()):
        if (crop := crops.get(position)) is None:
            continue
        box = slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)
        assert picture.labels is not None
        labels = np.array(crop.present, np.uint8)
        if not coin:
            mask = picture.labels[box]
            labels = resize_mask(np.where(mask == IGNORE, IGNORE, mask == number).astype(np.uint8), size)
        spacing = picture.spacing and (picture.spacing[0] * crop.side / size[0], picture.spacing[1] * crop.side / size[1])
        yield replace(picture, image=resize_image(picture.image[box], size), labels=labels, spacing=spacing)


def _in_boxes(pixels: np.ndarray, top: np.ndarray, left: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the number of true pixels in each square, by a table of sums."""
    sums = np.pad(pixels.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))  # sums[y, x]: pixels above y and left of x
    bottom, right = top + side, left + side
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


def _notes(left_out: int, other_kind: int, name: str, coin: bool) -> list[str]:
    notes = []
    if other_kind:
        notes.append(
            f"{counted(other_kind, 'image')} gave no crop of the kind that their coin decided, and one of the other kind instead"
        )
    if left_out:
        kinds = f"with {name} nor without" if coin else f"with {name}"
        notes.append(f"{counted(left_out, 'image')} gave {'neither a crop ' if coin else 'no crop '}{kinds}: left out")
    return notes

"""Read any folder of images and masks, with classes from the options.

Source: the user's own data. One raw example, with a published split and without one:

    train/images/case07_03.png    train/masks/case07_03.png    val/images/...    test/images/...
    images/case07_03.png          masks/case07_03_mask.tif
    images/case07/03.png          masks/case07/03.png

PNG, JPEG, TIFF, BMP, GIF, WebP, PPM and PGM are read: 8-bit grey, colour, palette and transparency, 16-bit and float grey.
Images and masks are matched by their paths below their folders, without the suffixes. There is no official count. Options:

    images, masks    names of the two subfolders; they may be the same one, with masks told by `suffix`; masks null: there are none;
                     masks a list: each folder has a mask of every image, and their union counts
    image_suffix     what the image's name ends with, such as `_training`; or a list, such as [_training, _test]
    suffix           what the mask's name has in its place, such as `_mask`
    join             true: `case07_mask_1`, `case07_mask_2`... are further masks of case07, and their union counts
    group            regular expression whose first group is the patient, such as `(case\\d+)_`, or `(.+)/` for the subfolder;
                     null: one group per image
    classes          names of the non-background classes
    labels           raw value -> class name, `background` or `ignore`; null: one class in masks of {0, 1} or {0, 255}
    threshold        lowest value of the only class, for masks with values between; null: none
    regions          name -> classes or raw values, such as {whole: [1, 2]}: unions of classes that are judged beside them
    scaling          of 16-bit and float grey: image, group or dataset, whose percentiles become 0 and 255; [low, high]; or
                     {percentiles: [1, 99], over: dataset} or {z-score: 3, over: group}; dataset: its training images
    field            name of a subfolder with a field of view of every image: pixels where it is 0 are ignored; null: none
    field_suffix     what its name has after the image's whole name, such as `_mask`
    expected         split, or `all` -> official number of samples
    keep_aspect      true: pad to `size` instead of squeezing
    augmentation     of training images: affine, or rotate-flip, which also turns them upside down
    only             true: exactly these two folders count, whatever else is below `root`, such as train/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medtransfer.data.intensities import require_finite
from medtransfer.data.resizing import resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.faults import attempt_all
from medtransfer.prepare.mask_values import MaskRule, join_masks, read_rule
from medtransfer.prepare.picture_files import (
    Header,
    check_same_size,
    read_header,
    read_image,
    read_mask,
    read_stored,
)
from medtransfer.prepare.picture_notes import describe_conversions, describe_headers, describe_some
from medtransfer.prepare.readers.contract import (
    UNLABELLED,
    Item,
    Picture,
    Scan,
    Size,
    check_classes,
    check_expected,
    check_kinds,
    match_group,
    own_patients,
    pixel_labels,
    read_options,
    require_folder,
    such_as_group,
    whole_picture,
)
from medtransfer.prepare.readers.folder_layout import Pair, list_pairs
from medtransfer.prepare.readers.split_lists import is_outside
from medtransfer.prepare.regions import read_regions
from medtransfer.prepare.shared_scaling import DatasetScaling
from medtransfer.records import IGNORE

OPTIONS: dict[str, Any] = {
    "images": "images", "masks": "masks", "image_suffix": "", "suffix": "", "join": False, "group": None,
    "classes": ["foreground"], "labels": None, "threshold": None, "regions": None, "scaling": "image", "keep_aspect": False,
    "augmentation": "affine", "only": False, "field": None, "field_suffix": "", "expected": {},
}  # fmt: skip
CITATION = "own data"
AUGMENTATIONS = ("affine", "rotate-flip")  # of medtransfer.data.augmentation, those that need no larger windows


@dataclass(frozen=True)
class _Reading:
    """What the pictures of one dataset are read with."""

    channels: Literal[1, 3]
    size: Size
    rule: MaskRule
    keep_aspect: bool
    scaling: DatasetScaling[Path]
    conversions: Conversions

    def load(self, pair: Pair) -> Iterator[Picture]:
        """Read an image and the union of its masks."""
        image, masks = read_image(pair.image, self.channels, self._scale, self.conversions), []
        for path in pair.masks:
            raw = read_mask(path, grey_palette=self.rule.table is None)
            check_same_size(image, raw.values, pair.image, path)
            masks.append(self.rule.number(raw, path))
        labels = join_masks(masks, pair.masks) if masks else None
        if labels is not None and pair.field is not None:
            field = read_mask(pair.field, grey_palette=True).values
            check_same_size(image, field, pair.image, pair.field)
            labels[field == 0] = IGNORE
        stored = None if labels is None else resize_mask(labels, self.size, self.keep_aspect)
        yield Picture(resize_image(image, self.size, self.keep_aspect), stored, 0)

    def _scale(self, values: np.ndarray, path: Path) -> np.ndarray:
        return self.scaling.scale(path, values[..., None], path)[..., 0]


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

    def look() -> tuple[Path, list[float]] | None:
        path = next((mask for pair in list_pairs(root, chosen) for mask in pair.masks), None)
        return None if path is None else (path, np.unique(read_mask(path, grey_palette=False).values).tolist())

    rule = read_rule(chosen["labels"], chosen["classes"], chosen["threshold"], look=look)
    regions = read_regions(chosen["regions"], chosen["classes"], rule)
    require_folder(root, "`root` must name the folder that holds your images and masks")
    pairs = list_pairs(root, chosen)
    headers = attempt_all([pair.image for pair in pairs], read_header, lambda path: [path])
    pattern = chosen["group"]
    groups = [match_group(pair.name, pattern, pair.image) if pattern else pair.image.relative_to(root).as_posix() for pair in pairs]
    wide = {pair.image: group for pair, group, header in zip(pairs, groups, headers, strict=True) if header.wide}
    scaling = DatasetScaling(chosen["scaling"], "image", list(wide), list(wide.values()), _read_wide, lambda path: [path])
    channels: Literal[1, 3] = 1 if all(header.grey for header in headers) else 3
    reading = _Reading(channels, size, rule, chosen["keep_aspect"], scaling, Conversions())
    items = tuple(
        Item(
            pair.split, group, pair.image.relative_to(root).as_posix(), 
            (pair.image, *pair.masks, *([pair.field] if pair.field else [])), 1,
            partial(reading.load, pair),
        )
        for pair, group in zip(pairs, groups, strict=True)
    )  # fmt: skip
    masked = chosen["masks"] is not None

    def see_splits(splits: Sequence[str]) -> None:
        scaling.restrict({pair.image for pair, split in zip(pairs, splits, strict=True) if split == "train"})

    return Scan(
        tuple(chosen["classes"]) if masked else (), channels, size, chosen["augmentation"], CITATION,
        lambda: f"8-bit values kept; 16-bit and float grey: {scaling.describe()}", chosen["expected"], whole_picture(size),
        items,
        task="segmentation" if masked else UNLABELLED, labels=pixel_labels(size) if masked else None,
        notes=_describe(pairs, headers, size, chosen, scaling.apart), ignore=masked and bool(rule.ignored or chosen["field"]),
        regions=regions, see_splits=see_splits, conversions=reading.conversions,
        loaded_notes=lambda: describe_conversions(reading.conversions, channels),
        image_rule=lambda: scaling.image_rule(group=pattern, keep_aspect=chosen["keep_aspect"]),
    )  # fmt: skip


def _check_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError for options of a wrong type and subfolders outside the dataset."""
    check_classes(chosen["classes"])
    if chosen["augmentation"] not in AUGMENTATIONS:
        raise InputError(
            f"expected the option augmentation to be one of {', '.join(AUGMENTATIONS)}, but got {chosen['augmentation']!r}; other "
            "transforms can be set as finetune.augmentation"
        )
    check_expected(chosen["expected"])
    for name in ("images", "masks", "field"):
        folders = chosen[name] if name == "masks" and isinstance(chosen[name], list) and chosen[name] else [chosen[name]]
        if name != "images" and folders == [None]:
            continue
        if any(not isinstance(folder, str) or not folder or is_outside(folder) for folder in folders):
            raise InputError(f"expected the option {name} to name a folder inside the dataset, but got {chosen[name]!r}")
    if chosen["field"] is not None and chosen["masks"] is None:
        raise InputError("expected masks beside the option field, but `masks` is null; remove one of them")
    suffixes = chosen["image_suffix"]
    if isinstance(suffixes, list) and (not suffixes or not all(isinstance(suffix, str) for suffix in suffixes)):
        raise InputError(f"expected the option image_suffix to be a string or a list of strings, but got {suffixes!r}")
    check_kinds(
        chosen,
        {
            "image_suffix": str | list,
            "suffix": str,
            "field_suffix": str,
            "group": str | None,
            "join": bool,
            "keep_aspect": bool,
            "only": bool,
        },
    )


def _read_wide(path: Path) -> np.ndarray:
    return require_finite(read_stored(path), path)[..., None]  # (h, w, 1)


def _describe(
    pairs: Sequence[Pair], headers: Sequence[Header], size: Size, chosen: Mapping[str, Any], apart: bool
) -> tuple[str, ...]:  # fmt: skip
    """Say what a user may not expect of these pictures, with counts and an example each."""
    paths = [pair.image for pair in pairs]
    alone = [chosen["group"] is None and "/" in pair.name for pair in pairs]
    text = "are in subfolders, and each is a group of its own"
    if all(alone):  # the expression must match every name
        text += "; `group: '(.+)/'` makes every subfolder one"
    notes = [*describe_headers(paths, headers, size, chosen["keep_aspect"], apart), *describe_some(paths, alone, text)]
    if chosen["group"] is None and not any(alone):
        notes.append(own_patients("group", such_as_group(r"(case\d+)_", [pair.name for pair in pairs])))
    return tuple(notes)

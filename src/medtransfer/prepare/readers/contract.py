"""Contract of all readers: a `Scan` describes a raw dataset, and its items load their pictures lazily.

A reader is a function `scan(root, size, options) -> Scan`. It validates the layout and lists the items without reading
pixels; `Item.load` reads them. To add a dataset: write one such file, add one line to `READERS` and one test.
"""

import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.intensities import PERCENTILES
from medtransfer.data.resizing import Size
from medtransfer.errors import InputError, refuse_folder
from medtransfer.prepare.conversions import Conversions
from medtransfer.records import MASKS_FILE, ImageRule
from medtransfer.records.folders import LITTER
from medtransfer.wording import bare, composed, counted, did_you_mean, spelt_alike

SPLIT_NAME = re.compile(r"(?i)(?<![a-z])(train(ing)?|test(ing)?|val(id(ation)?)?)(set)?(?![a-z])")
WHOLE_NUMBER = re.compile(r"(?<![\d.])0*(\d+)(?:\.0+)?(?![\d.])")
MOST_CLASSES = 254  # masks are stored in one byte, and 255 is a pixel to ignore
ALL = "all"  # of the counts of a dataset without published splits
UNLABELLED = "none"  # task of a target without labels, which encoders can be scored on
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Labels:
    """How the labels of a dataset are stored: an array with one row per picture.

    Attributes:
        file: its name, the `labels_file` of the task.
        shape: of a row; `()` is one number per picture.
    """

    file: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """One stored picture.

    Attributes:
        image: uint8 (H, W, C).
        labels: uint8, of the shape that the scan's `Labels` say; of pixels 0 is background, c the c-th class. None if it has none.
        slice: its index within the item: z in a volume, the row of an array, 0 otherwise.
        spacing: (height, width) of one of its pixels, mm; None if unknown.
    """

    image: np.ndarray
    labels: np.ndarray | None
    slice: int
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Item:
    """The unit of reading: one volume, or one image with its mask.

    Attributes:
        split: published split, `train`, `validation` or `test`; None if the layout has none.
        group: the patient or the source image; all items of a group stay in one split.
        source: name of the item, the path of its image file below the root.
        files: all files that it is read from.
        pictures: number of pictures that `load` yields.
        load: reads the pictures.
    """

    split: str | None
    group: str
    source: str
    files: tuple[Path, ...]
    pictures: int
    load: Callable[[], Iterable[Picture]]

    def __post_init__(self) -> None:
        """Compose the letters of the group, so that a patient is one group whichever system wrote the file names."""
        object.__setattr__(self, "group", composed(self.group))


@dataclass(frozen=True)
class Scan:
    """A reader's description of a dataset; most fields are written to `dataset.json` unchanged.

    Attributes:
        classes: names of the non-background classes; empty without labels.
        channels: channels of the stored images; three are colours.
        input: (height, width) of a model's input, pixels.
        augmentation: name of the training augmentation.
        citation: citation of the dataset.
        scaling: how raw intensities become uint8; a function where only the loaded pictures tell.
        expected: number of samples in each split of the full dataset, or in `ALL` of it; empty if unpublished.
        windows: (top, left, height, width) of the samples cut from every stored picture, for `train` and for `test`.
        items: items in the order of storage.
        task: what the labels are for, a key of TASKS, or UNLABELLED.
        labels: how they are stored; None if there are none.
        notes: what the user should know about the files, one sentence each; logged when they are read.
        ignore: whether labels of pixels may be IGNORE.
        regions: class numbers of each region by its name, unions of classes that are judged beside them.
        see_splits: called with the split of every item before any is loaded, for a scaling that is computed from training images.
        image_rule: returns how raw images became pictures, once they are loaded; None if no rule describes it.
        loaded_notes: returns further notes, on what only the loaded pictures tell.
        left_out: samples of each split that the options leave out; they count as `expected` ones.
        conversions: what is noted while the pictures are loaded, by any process; None if nothing is.
    """

    classes: tuple[str, ...]
    channels: int
    input: Size
    augmentation: str
    citation: str
    scaling: str | Callable[[], str]
    expected: Mapping[str, int]
    windows: Mapping[str, tuple[Window, ...]]
    items: tuple[Item, ...]
    task: str
    labels: Labels | None
    notes: tuple[str, ...] = ()
    ignore: bool = False
    regions: Mapping[str, list[int]] = field(default_factory=dict)
    see_splits: Callable[[Sequence[str]], None] | None = None
    image_rule: Callable[[], ImageRule] | None = None
    loaded_notes: Callable[[], Sequence[str]] = tuple
    left_out: Mapping[str, int] = field(default_factory=dict)
    conversions: Conversions | None = None


Reader = Callable[[Path, Size, Mapping[str, Any]], Scan]


def whole_picture(size: Size) -> dict[str, tuple[Window, ...]]:
    """Return the windows of a dataset whose samples are whole pictures."""
    window = ((0, 0, *size),)
    return {"train": window, "test": window}


def own_percentiles(keep_aspect: bool = False) -> ImageRule:
    """Return the rule of `read_image` without a scaling: 16-bit and float pictures are scaled by their own percentiles."""
    return ImageRule("percentiles", PERCENTILES.low, PERCENTILES.high, over="image", keep_aspect=keep_aspect)


def pixel_labels(size: Size) -> Labels:
    """Return how the labels of pixels are stored, for pictures of this size."""
    return Labels(MASKS_FILE, size)


def read_options(options: Mapping[str, Any], known: Mapping[str, Any], reader: str) -> dict[str, Any]:
    """Override a reader's default options with the user's.

    Raises:
        InputError: an option is unknown.
    """
    if unknown := [name for name in options if name not in known]:
        allowed = ", ".join(known) or "none"
        similar = did_you_mean(unknown[0], known)
        raise InputError(f"expected options that the reader {reader!r} knows ({allowed}), but got {', '.join(unknown)}{similar}")
    return {**known, **options}


def require_folder(folder: Path, remedy: str) -> Path:
    """Return the folder, or raise InputError with the remedy if it does not exist, or is a file."""
    if not is_folder(folder):
        raise InputError(f"expected the folder {folder}, but it {'is a file' if folder.exists() else 'does not exist'}; {remedy}")
    return folder


def is_folder(path: Path) -> bool:
    """Return whether a folder exists; raise InputError if permissions hide it."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:  # a NUL in the name raises ValueError
        raise InputError(f"expected access to {path}, but there is none ({error}); correct the permissions or the name") from None


def list_entries(folder: Path) -> list[Path]:
    """List a folder, sorted.

    Raises:
        InputError: the folder cannot be read, or holds a broken link.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        refuse_folder(error)
    if broken := [entry for entry in entries if entry.is_symlink() and not entry.exists()]:
        raise InputError(f"expected a file or folder at {broken[0]}, but it is a broken link; repair or remove it")
    return entries


def list_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted, without those that systems and editors hide there."""
    return [path for path in list_entries(folder) if not path.name.startswith(LITTER) and is_folder(path)]


def check_split_folders(folder: Path, read: Collection[str]) -> None:
    """Check that every folder that is named like a split is read, such as test/ where testing/ is expected.

    Args:
        folder: the folder that holds the splits.
        read: names of the folders that are read.

    Raises:
        InputError: another folder is named like a split.
    """
    names = [path.name for path in list_folders(folder)]
    if unread := [name for name in names if name not in read and SPLIT_NAME.search(name)]:
        known = " and ".join(f"{name}/" for name in read)
        raise InputError(
            f"expected the splits in {known} of {folder}, but got {unread[0]}/ too, which is not read; rename it, or move it away"
        )


def own_patients(option: str, value: str) -> str:
    """Return the note of a dataset whose patients are unknown.

    Args:
        option: the option that names them.
        value: how to set it, after the option's name; empty: nothing is known of it.
    """
    return (
        f"every picture counts as a patient of its own; if some are of the same patient, set the option `{option}`{value}, so "
        "that no patient is in two splits"
    )


def spelling_of_patients(patients: Iterable[tuple[str, str]], remedy: str) -> tuple[str, ...]:
    """Return a note if patients differ in letters' case, blanks, leading zeros or a trailing .0 alone, as 7, 07 and 7.0 do.

    Args:
        patients: (patient, place) of each image, for the note.
        remedy: what to do if they are the same one.
    """
    places: dict[str, str] = {}
    for patient, place in patients:
        places.setdefault(composed(patient), place)
    alike = spelt_alike(places, lambda patient: WHOLE_NUMBER.sub(r"\1", bare(patient)))
    # Ids of one length, such as 0281a7 and 281a07, are apart, since whoever pads numbers pads all.
    pairs = [pair for pair in alike if bare(pair[0]) == bare(pair[1]) or len(bare(pair[0])) != len(bare(pair[1]))]
    further = f", and {counted(len(pairs) - 1, 'further pair')}," if len(pairs) > 1 else ""
    return tuple(
        f"patients {one!r} ({places[one]}) and {other!r} ({places[other]}){further} differ in spelling alone; if they are the same "
        f"patient, {remedy}, so that no patient is in two splits"
        for one, other in pairs[:1]
    )


def such_as_group(pattern: str, names: Iterable[str]) -> str:
    """Return a pattern as an example of the option `group`, empty unless it matches every name, as the option must."""
    return f", such as `'{pattern}'`" if all(re.search(pattern, name) for name in names) else ""


def match_group(name: str, pattern: str, path: Path, option: str = "group") -> str:
    """Return what an option finds in a name: it is a regular expression with a group, such as that of the patient.

    Args:
        name: name of the image.
        pattern: the expression.
        path: path of the image, for the message.
        option: name of the option, for the message.

    Raises:
        InputError: it is no such expression, or does not match.
    """
    try:
        match = re.search(composed(pattern), composed(name))
    except re.error as error:
        raise InputError(f"expected a regular expression in the option {option}, but {pattern!r} is not one ({error})") from None
    if not re.compile(pattern).groups:
        raise InputError(f"expected a group in parentheses in the option {option}, such as ([A-Z]+)_, but {pattern} has none")
    if match is None or match[1] is None:
        raise InputError(f"expected the first group of the option {option} '{pattern}' to match every name, but not {path}")
    return match[1]


def check_classes(classes: Any) -> None:
    """Raise InputError unless the option `classes` lists different names."""
    named = isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)
    if not named or not 0 < len(set(classes)) == len(classes) <= MOST_CLASSES or {"background", "ignore"} & set(classes):
        raise InputError(
            f"expected the option classes to list 1 to {MOST_CLASSES} different names of classes, but got {reprlib.repr(classes)}"
        )


def check_expected(expected: Any) -> None:
    """Raise InputError unless the option `expected` maps splits, or ALL, to numbers of samples."""
    if not isinstance(expected, Mapping) or any(type(number) is not int for number in expected.values()):
        raise InputError(f"expected the option expected to map splits to numbers of samples, but got {expected!r}")
    if unknown := set(expected) - {"train", "validation", "test", ALL}:
        raise InputError(f"expected the option expected to name train, validation, test or {ALL}, but got {min(unknown)!r}")


def check_kinds(chosen: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise InputError unless the options are strings, or true or false, as `kinds` says."""
    for name, kind in kinds.items():
        if not isinstance(chosen[name], kind):
            expected = "true or false" if kind is bool else "a string"
            raise InputError(f"expected the option {name} to be {expected}, but got {chosen[name]!r}")


def pair_up(
    images: Mapping[str, Path], masks: Mapping[str, Path], where: Path, note: str = ""
) -> list[tuple[str, Path, Path]]:  # fmt: skip
    """Match images and masks by name, whichever way their letters are composed.

    Args:
        images: path of each image.
        masks: path of each mask.
        where: their folder, for the message.
        note: what else may explain a missing file, for the message.

    Returns:
        (name, image, mask), sorted by name.

    Raises:
        InputError: an image has no mask, a mask has no image, two have the same name, or there are none at all.
    """
    others = f"; {note}" if note else ""
    images, masks = _compose(images), _compose(masks)
    if not images:
        raise InputError(f"expected images and masks in {where}, but there are none; check the layout and `root`{others}")
    if not masks:
        raise InputError(
            f"expected masks in {where}, but there are none for its {len(images)} images; add them, or move these images "
            "away, draw the test images from the others with `split: {test: <fraction>, seed: <number>}`, and set `subset: true`"
            + others
        )
    if unmasked := sorted(images.keys() - masks.keys()):
        raise InputError(
            f"expected a mask for every image, but {images[unmasked[0]]} has none ({len(unmasked)} such); "
            f"add the mask or move the image away: a missing mask is not an empty mask{others}"
        )
    if orphans := sorted(masks.keys() - images.keys()):
        raise InputError(
            f"expected an image for every mask, but {masks[orphans[0]]} has none ({len(orphans)} such); "
            f"add the image or move the mask away{others}"
        )
    return [(name, images[name], masks[name]) for name in sorted(images)]


def _compose(files: Mapping[str, Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for name, path in files.items():
        if (other := named.setdefault(composed(name), path)) != path:
            raise InputError(
                f"expected different names in {path.parent}, but {other.name!r} and {path.name!r} look the same; rename one"
            )
    return named

"""Read images whose class is the name of their folder, or a part of their own name.

Source: the user's own data; torchvision calls the layout ImageFolder. One raw example, with published splits and without:

    train/NORMAL/IM-0115-0001.jpeg    val/NORMAL/…    test/PNEUMONIA/person1_virus_6.jpeg
    NORMAL/IM-0115-0001.jpeg          PNEUMONIA/person1_virus_6.jpeg
    CXR_png/CHNCXR_0001_0.png         with `images: CXR_png` and `label: '_([01])$'`

There is no official count unless `expected` states one. Options, beside those of `labelled_images.py`:

    images       folder of the images below each split, or below `root` without splits; `*` stands for any name, such as
                 `*/images` where class folders hold masks, too; null: all folders
    label        regular expression whose first group is the class, searched in the path below the split without the suffix
    labels       what it matches -> class; null: that is the class
    task         multiclass | binary | ordinal
    classes      names of the classes in their order, of a binary task that of the positive one; null: all, sorted
    others       images of other classes than these: refuse | leave-out; of a binary task they are the negative ones
    splits       name of a folder -> train, validation or test, beside train, training, val, valid, validation, test, testing
    split_lists  split -> text file of image names, or a list of them; names in train and in another split are in that one
    unlisted     images that no list names: keep, for a split that is drawn | leave-out
    missing      refuse | skip, with a note: names in these lists whose image does not exist
    expected     split, or `all` -> official number of samples
    citation     citation of the dataset
"""

import fnmatch
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import scan_folder
from medtransfer.prepare.readers.contract import (
    ALL,
    Scan,
    check_classes,
    check_expected,
    check_kinds,
    list_folders,
    match_group,
    own_patients,
    read_options,
    require_folder,
    spelling_of_patients,
    such_as_group,
)
from medtransfer.prepare.readers.folder_layout import SPLITS
from medtransfer.prepare.readers.labelled_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.labelled_images import LabelledImage, check_image_options, scan_images
from medtransfer.prepare.readers.split_lists import OPTIONS as LIST_OPTIONS
from medtransfer.prepare.readers.split_lists import SplitLists
from medtransfer.prepare.readers.table_labels import sort_names
from medtransfer.wording import are, composed, spelt_alike

OPTIONS: dict[str, Any] = {
    "images": None, "label": "^([^/]+)/", "labels": None, "task": "multiclass", "classes": None, "others": "refuse", "splits": {},
    **LIST_OPTIONS, "expected": {}, "citation": "own data", **IMAGE_OPTIONS,
}  # fmt: skip

SHOWN = 6  # classes of a proposed option


@dataclass(frozen=True)
class _Named:
    """An image with the name of its class."""

    split: str | None
    path: Path
    name: str


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images of class folders; see `scan_classes`."""
    return scan_classes(root, size, options, reader="image-folder")


def scan_classes(
    root: Path, size: Size, options: Mapping[str, Any], *, reader: str, defaults: Mapping[str, Any] | None = None
) -> Scan:  # fmt: skip
    """List the images with the classes that their folders or names say; only headers are read.

    Args:
        root: the folder that holds the classes, or train/ and test/ with the classes.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.
        reader: name of the reader, for messages.
        defaults: options of a published dataset, which the user's override.

    Raises:
        InputError: an option is invalid, an image has no class, or there are none.
    """
    chosen = read_options(options, {**OPTIONS, **(defaults or {})}, reader)
    _check_options(chosen)
    require_folder(root, "`root` must name the folder that holds the class folders, or train/ and test/ with them")
    homes, notes = _find_homes(root, chosen["splits"])
    named = [image for split, home in homes for image in _list_home(split, home, chosen, notes)]
    lists = SplitLists(root, chosen)
    if not named:
        raise InputError(f"expected images in class folders of {root}, but there are none; check the layout, `root` and `images`")
    _check_spelling(named, chosen, root)
    classes = _list_classes(chosen, {image.name for image in named}, root)
    left_out: Counter[str] = Counter()
    images = list[LabelledImage]()
    for image in named:
        shown = image.path.relative_to(root).as_posix()
        split = lists.find(image.path, shown) if lists else image.split
        label = None if lists.leaves_out(split) else _number(image, classes, chosen)
        if label is None:
            left_out[split or ALL] += 1
            continue
        group = match_group(shown, chosen["group"], image.path) if chosen["group"] else shown
        images.append(LabelledImage(split, group, image.path, label))
    if all(any(word in name.lower() for name in classes) for word in ("image", "mask")):
        notes.append(
            f"the classes are {', '.join(classes)}, which is how folders of images to segment are named: set reader: folder"
        )
    if left_out:
        notes.append(f"{are(left_out.total(), 'image')} left out, of other classes than {', '.join(classes)} or in no list")
    notes += lists.finish()
    if chosen["group"]:
        named_by = ((image.group, image.path.relative_to(root).as_posix()) for image in images)
        notes += spelling_of_patients(named_by, "name their images alike")
    else:
        notes.append(
            own_patients("group", such_as_group(r"(person\d+)", [image.path.relative_to(root).as_posix() for image in images]))
        )
    return scan_images(
        images, root, size, chosen, task=chosen["task"], classes=classes, citation=chosen["citation"],
        expected=chosen["expected"], tables=lists.files, notes=notes, left_out=left_out,
    )  # fmt: skip


def _check_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError for options of a wrong type or value."""
    check_image_options(chosen)
    check_kinds(chosen, {"images": str | None, "label": str, "citation": str})
    check_expected(chosen["expected"])
    if chosen["task"] == "multilabel":
        raise InputError(
            "expected the task multiclass, binary or ordinal for class folders, but got multilabel; use the reader table"
        )
    if chosen["others"] not in ("refuse", "leave-out"):
        raise InputError(f"expected the option others to be refuse or leave-out, but got {chosen['others']!r}")
    for name in ("splits", "labels"):
        if chosen[name] is not None and not isinstance(chosen[name], Mapping):
            raise InputError(f"expected the option {name} to map names, but got {chosen[name]!r}")
    if wrong := [split for split in chosen["splits"].values() if split not in SPLITS.values()]:
        raise InputError(f"expected the option splits to map folders to train, validation or test, but got {wrong[0]!r}")
    if chosen["classes"] is not None:
        check_classes(chosen["classes"])
    elif chosen["task"] != "multiclass":
        what = "the positive class" if chosen["task"] == "binary" else "the grades in their order"
        raise InputError(f"expected the option classes to name {what}, but got none")
    if chosen["task"] == "binary" and len(chosen["classes"]) != 1:
        raise InputError(f"expected one class, the positive one, for the task binary, but got {chosen['classes']}")


def _find_homes(root: Path, further: Mapping[str, str]) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """Return the folder of each split, or `root` itself where it has none, and notes on folders that are not read."""
    known = SPLITS | {str(name).lower(): split for name, split in further.items()}
    folders = list_folders(root)
    homes: list[tuple[str | None, Path]] = [(known[path.name.lower()], path) for path in folders if path.name.lower() in known]
    if not homes:
        return [(None, root)], []
    unread = [path.name for path in folders if path.name.lower() not in known]
    return homes, [f"folders of {root} beside those of the splits are not read: {', '.join(unread)}"] * bool(unread)


def _list_home(split: str | None, home: Path, chosen: Mapping[str, Any], notes: list[str]) -> Iterator[_Named]:
    """List the images of one split with their classes."""
    listed = scan_folder(home)
    if others := listed.describe_passed_over():
        notes.append(f"files below {home} that are no pictures are not read: {others}")
    held = {Path(picture).parts[0] for picture in listed.pictures}
    if empty := [folder.name for folder in list_folders(home) if folder.name not in held]:
        notes.append(f"folders of {home} that hold no pictures: {', '.join(empty)}")
    taken = [name for name in listed.pictures if chosen["images"] is None or _is_in(name, chosen["images"])]
    if passed := len(listed.pictures) - len(taken):
        notes.append(f"{are(passed, 'picture')} not in {chosen['images']!r} and not read in {home}")
    for relative in taken:
        path = home / relative
        name = match_group(composed(Path(relative).with_suffix("").as_posix()), chosen["label"], path, "label")
        labels = chosen["labels"]
        known = {composed(str(raw)): value for raw, value in labels.items()} if labels else {name: name}
        if name not in known:
            raise InputError(f"expected the option labels to name the class of {name!r}, but {path} has none; add it")
        yield _Named(split, path, known[name])


def _is_in(relative: str, pattern: str) -> bool:
    """Return whether a picture is in a folder that a pattern such as `*/images` names."""
    parts, wanted = Path(relative).parent.parts, Path(pattern).parts
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _check_spelling(named: Sequence[_Named], chosen: Mapping[str, Any], root: Path) -> None:
    """Raise InputError for classes that differ in letters' case or blanks alone.

    The option classes names those that are apart: of the task binary, the positive one, which others may be a spelling of.
    """
    is_binary, listed = chosen["task"] == "binary", {composed(name) for name in chosen["classes"] or ()}
    if listed and not is_binary:
        return
    examples = {image.name: image.path.relative_to(root).as_posix() for image in reversed(named) if isinstance(image.name, str)}
    pairs = [pair for pair in spelt_alike(sorted(examples)) if not is_binary or listed.intersection(pair)]
    if not pairs:
        return
    one, other = pairs[0]
    raw = {composed(str(name)): value for name, value in (chosen["labels"] or {}).items()} or {name: name for name in examples}
    kept = other if other in listed else one
    joined = {name: kept if value in (one, other) else value for name, value in sorted(raw.items())}
    remedies = ["rename one"]
    if len(set(map(str, joined.values()))) > 1:
        both = json.dumps({name: kept for name, value in joined.items() if value == kept})  # which is YAML, whatever the names
        shown = json.dumps(joined) if len(joined) <= SHOWN else f"{both[:-1]}, ...}}"
        remedies.append(f"name one class for both in the option labels, beside the others, such as `labels: {shown}`")
    if not is_binary:
        remedies.append("list all in the option classes if they are two")
    raise InputError(
        f"expected classes that differ in more than letters' case or blanks, but {one!r} (such as {examples[one]}) and {other!r} "
        f"({examples[other]}) in {root} do not; {', or '.join(remedies)}"
    )


def _list_classes(chosen: Mapping[str, Any], names: set[str], root: Path) -> tuple[str, ...]:
    """Return the names of the classes in their order."""
    if chosen["classes"] is not None:
        classes = [composed(name) for name in chosen["classes"]]
        if absent := [name for name in classes if name not in names]:
            raise InputError(
                f"expected images of every class in {root}, but there are none of {absent[0]!r}; there are "
                f"{', '.join(sorted(names))}; check `root`, `classes` and `label`"
            )
        return tuple(classes)
    if len(names) < 2:
        raise InputError(f"expected images of two classes or more, but got only {', '.join(names)}; check `root` and `label`")
    classes = sort_names(names)
    check_classes(classes)
    return tuple(classes)


def _number(image: _Named, classes: Sequence[str], chosen: Mapping[str, Any]) -> np.ndarray | None:
    """Return the label of an image, None if it is left out."""
    if chosen["task"] == "binary":
        return np.uint8(image.name in classes)  # type: ignore[return-value]
    if image.name in classes:
        return np.uint8(classes.index(image.name))  # type: ignore[return-value]
    if chosen["others"] == "leave-out":
        return None
    raise InputError(
        f"expected images of {', '.join(classes)}, but {image.path} is of {image.name!r}; add it to the option classes, or set "
        "`others: leave-out`"
    )

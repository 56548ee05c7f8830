"""Layout of a folder of images and masks: published splits, subfolders, and which masks belong to an image."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.data.picture_folders import SUFFIXES, list_folder
from medtransfer.errors import InputError, refuse_folder
from medtransfer.prepare.picture_files import by_name, scan_folder
from medtransfer.prepare.readers.contract import is_folder, pair_up, require_folder
from medtransfer.records.folders import LITTER

SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
FURTHER = r"[ _-]?\d+"  # after the name of a picture's first mask
MOST_NAMED = 5  # folders that a message names

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Pair:
    """An image with its masks.

    Attributes:
        split: published split, None if there is none.
        name: path below the folder of images, without suffixes.
        image: path of the image.
        masks: paths of its masks.
        field: path of its field of view, None if it has none.
    """

    split: str | None
    name: str
    image: Path
    masks: tuple[Path, ...]
    field: Path | None = None


def list_pairs(root: Path, options: Mapping[str, Any]) -> list[Pair]:
    """List the images of all splits with their masks, and log the pictures below `root` that are neither, if asked to.

    Args:
        root: the folder that holds the split folders, or the image and mask folders.
        options: those of the reader.

    Raises:
        InputError: the layout is unknown, or a mask or an image is missing.
    """
    homes = {None: root} if options["only"] else _find_splits(root, options["images"])
    pairs = [pair for split, home in homes.items() for pair in _list_home(split, home, options)]
    if not options["only"]:
        _log_unread(root, homes.values(), options)
    return pairs


def _find_splits(root: Path, images: str) -> dict[str | None, Path]:
    """Return the folder of each published split, `root` itself where there are none; those that hold an image folder count."""
    named = [entry for entry in _list_entries(root) if entry.name.lower() in SPLITS and is_folder(entry)]
    holding = [entry for entry in named if is_folder(entry / images)]
    if not named or (not holding and is_folder(root / images)):
        return {None: root}
    homes: dict[str | None, Path] = {}
    for entry in holding or named:
        split = SPLITS[entry.name.lower()]
        if split in homes:
            raise InputError(
                f"expected one folder of the split {split!r} in {root}, but got {homes[split].name} and {entry.name}; join them"
            )
        homes[split] = entry
    return {split: homes[split] for split in ("train", "validation", "test") if split in homes}


def _list_entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        refuse_folder(error)


def _list_home(split: str | None, home: Path, options: Mapping[str, Any]) -> Iterator[Pair]:
    """List the pairs of one split."""
    if options["masks"] is None:
        yield from _list_images(split, home, options)
        return
    remedy = "name the two subfolders with the options `images` and `masks`"
    if home.name in (options["images"], *_names(options["masks"])):
        remedy += f", or give the folder above, {home.parent}, as the root"
    if not any(is_folder(home / name) for name in (options["images"], *_names(options["masks"]))):
        remedy += _other_reader(home)
    image_folder = require_folder(home / options["images"], remedy)
    mask_folders = [require_folder(home / name, remedy) for name in _names(options["masks"])]
    images, others = _list_kind(image_folder, mask_folders[0])
    fields = _list_fields(home, images, options)
    masks: dict[Path, dict[str, Path]] = {}
    for folder in (folder for folder in mask_folders if folder != image_folder):
        masks[folder], other_masks = _list_kind(folder, image_folder)
        others = "; ".join(filter(None, (others, other_masks)))
    if image_folder in mask_folders:
        ending = re.compile(f"{_mask_ending(options)}(?:{FURTHER})?$")
        masks[image_folder] = {name: path for name, path in images.items() if ending.search(name)}
    listed = {path for paths in masks.values() for path in paths.values()}
    images = _take_off({name: path for name, path in images.items() if path not in listed}, options["image_suffix"], image_folder)
    owned: dict[str, list[Path]] = {}
    passed = f"files of other kinds were passed over: {others}" if others else ""
    for folder, paths in masks.items():
        _refuse_other_ending(paths, images, options["suffix"], folder)
        of_folder = _assign(paths, images, options["suffix"], options["join"], folder)
        for name, _, _ in pair_up(images, {name: own[0] for name, own in of_folder.items()}, home, passed):
            owned.setdefault(name, []).extend(of_folder[name])
    for name, paths_of_image in sorted(owned.items()):
        yield Pair(split, name, images[name], tuple(paths_of_image), fields.get(images[name]))


def _other_reader(home: Path) -> str:
    """Return a clause on the reader of class folders, where there are several subfolders."""
    folders = [entry.name for entry in _list_entries(home) if not entry.name.startswith(LITTER) and is_folder(entry)]
    if len(folders) < 2:
        return ""
    named = ", ".join(folders[:MOST_NAMED]) + (", …" if len(folders) > MOST_NAMED else "")
    return f"; if the subfolders {named} are classes of images without masks, use `--reader image-folder`"


def _names(option: str | list[str]) -> list[str]:
    return option if isinstance(option, list) else [option]


def _list_fields(home: Path, images: Mapping[str, Path], options: Mapping[str, Any]) -> dict[Path, Path]:
    """Return the field of view of each image, if the options name their folder."""
    if options["field"] is None:
        return {}
    folder = require_folder(home / options["field"], "name the folder of the fields of view with the option `field`")
    fields, _ = _list_kind(folder, None)
    if missing := [path for name, path in images.items() if name + options["field_suffix"] not in fields]:
        raise InputError(
            f"expected a field of view of every image in {folder}, but {missing[0]} has none ({len(missing)} such); set the option "
            "field_suffix, or `field: null`"
        )
    return {path: fields[name + options["field_suffix"]] for name, path in images.items()}


def _list_images(split: str | None, home: Path, options: Mapping[str, Any]) -> Iterator[Pair]:
    """List the images of one split that has no masks."""
    folder = require_folder(home / options["images"], "name the subfolder with the option `images`")
    images, others = _list_kind(folder, None)
    if not images:
        passed = f"; files of other kinds were passed over: {others}" if others else ""
        raise InputError(f"expected images in {folder}, but there are none; name the folder that holds them{passed}")
    for name, image in sorted(_take_off(images, options["image_suffix"], folder).items()):
        yield Pair(split, name, image, ())


def _list_kind(folder: Path, other: Path | None) -> tuple[dict[str, Path], str]:
    """List the pictures of a folder by name, and describe the files that are passed over; the other kind's folder is left out."""
    listed = scan_folder(folder, leave_out=other)
    if others := listed.describe_passed_over():
        log.warning("prepare: files below %s that are no pictures are not read: %s", folder, others)
    return by_name(folder, listed), others


def _mask_ending(options: Mapping[str, Any]) -> str:
    if not options["suffix"]:
        raise InputError(
            f"expected the option suffix to distinguish masks from images, which are both in {options['images']!r}, but it is empty"
        )
    return re.escape(options["suffix"])


def _take_off(images: Mapping[str, Path], endings: str | list[str], folder: Path) -> dict[str, Path]:
    """Return images by their names without the ending, or one of the endings, that all of them must have."""
    named: dict[str, Path] = {}
    for name, path in images.items():
        ending = next((ending for ending in _names(endings) if name.endswith(ending)), None)
        if ending is None:
            wanted = " or ".join(f"*{ending}" for ending in _names(endings))
            raise InputError(f"expected images named {wanted} in {folder}, but got {path.name}; set the option `image_suffix`")
        if (other := named.setdefault(name.removesuffix(ending), path)) != path:
            raise InputError(f"expected different names without their endings in {folder}, but got {other.name} and {path.name}")
    return named


def _refuse_other_ending(masks: Mapping[str, Path], images: Mapping[str, Path], suffix: str, folder: Path) -> None:
    """Raise InputError if no image has a mask by the option `suffix`, but masks have another ending or subfolder."""
    if not images or any(name + suffix in masks for name in images):
        return
    first = min(images)
    ending, mask = _find_ending(masks, list(images), first)
    apart = mask is None
    if apart:  # the file may have the image's name, but be in another subfolder
        by_file = {_file_name(name): path for name, path in masks.items()}
        ending, mask = _find_ending(by_file, [_file_name(name) for name in images], _file_name(first))
    proposed = re.sub(f"{FURTHER}$", "", ending)
    if mask is None or (proposed in ("", suffix) and not apart):
        return
    text = proposed if re.fullmatch(r"[\w.-]+", proposed) else repr(proposed)
    remedies = [_name_folders(images.values(), masks.values(), folder)] if apart else []
    remedies += [f"set the option `suffix: {text}`"] * (proposed != suffix)
    raise InputError(
        f"expected a mask named {first}{suffix} for {images[first]} in {folder}, but none of the {len(images)} images has one so "
        f"named, and there is {mask.relative_to(folder)}; {', and '.join(remedies)}"
    )


def _name_folders(images: Iterable[Path], masks: Iterable[Path], folder: Path) -> str:
    """Return how to bring together images and masks whose paths differ in folders; `folder` is that of the masks."""
    homes, mask_homes = {path.parent for path in images}, {path.parent for path in masks}
    if len(homes) > 1 or len(mask_homes) > 1:
        return "give images and masks the same paths below the folders `images` and `masks`"
    home, mask_home = homes.pop(), mask_homes.pop()
    root = os.path.commonpath([home, folder])
    return f"let `images` be {os.path.relpath(home, root)} and `masks` {os.path.relpath(mask_home, root)}"


def _find_ending(masks: Mapping[str, Path], images: Iterable[str], first: str) -> tuple[str, Path | None]:
    """Return what most masks have after an image's name, and the mask of the first image with it; None if there is none."""
    endings = [name.removeprefix(first) for name in masks if name.startswith(first)]
    ending = max(endings, key=lambda ending: sum(name + ending in masks for name in images), default="")
    return ending, masks.get(first + ending)


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _assign(
    masks: Mapping[str, Path], images: Mapping[str, Path], suffix: str, join: bool, folder: Path
) -> dict[str, list[Path]]:  # fmt: skip
    """Return the masks of each image; several only if they may be joined."""
    owned: dict[str, list[Path]] = {}
    for name, path in masks.items():
        owner = name.removesuffix(suffix) if name.endswith(suffix) else None
        if owner not in images and (match := re.fullmatch(f"(.*?){re.escape(suffix)}{FURTHER}", name)) and match[1] in images:
            if not join:
                raise InputError(
                    f"expected one mask named {match[1]}{suffix} for {images[match[1]]}, but got also {path}; set `join: true` if "
                    "it is a further mask of the same image"
                )
            owner = match[1]
        if owner is None:
            raise InputError(f"expected masks named *{suffix} in {folder}, but got {path.name}; set the option `suffix`")
        owned.setdefault(owner, []).append(path)
    return owned


def _log_unread(root: Path, homes: Iterable[Path], options: Mapping[str, Any]) -> None:
    """Log which pictures below `root` are in neither kind of folder."""
    homes = dict.fromkeys((root, *homes))
    kinds = [options[kind] for kind in ("images", "masks", "field") if options[kind] is not None]
    read = [home / name for home in homes for kind in kinds for name in _names(kind)]
    entries = (entry for home in homes for entry in _list_entries(home))
    unread = [entry for entry in entries if not any(path.is_relative_to(entry) or entry.is_relative_to(path) for path in read)]
    counts = {str(entry.relative_to(root)): _count(entry) for entry in unread if entry.is_dir()}
    loose = [entry for entry in unread if entry.suffix.lower() in SUFFIXES and not entry.is_dir()]
    counts |= {f"beside the folders, such as {loose[0].name}": str(len(loose))} if loose else {}
    if named := ", ".join(f"{name} ({count})" for name, count in counts.items() if count != "0"):
        log.warning("prepare: pictures of %s that are in neither the `images` nor the `masks` folder are not read: %s", root, named)


def _count(folder: Path) -> str:
    """Count the pictures below a folder that is not read, so that it need not be readable."""
    try:
        return str(len(list_folder(folder).pictures))
    except InputError:
        return "it cannot be read"

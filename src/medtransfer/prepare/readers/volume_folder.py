"""List the volumes and masks of any folder by two patterns, in which {case} stands for the name of a case."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes.dicom import is_dicom
from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import read_rule
from medtransfer.prepare.readers.contract import (
    Scan,
    check_classes,
    composed,
    is_folder,
    list_entries,
    pair_up,
    read_options,
    require_folder,
)
from medtransfer.prepare.readers.folder_layout import SPLITS
from medtransfer.prepare.readers.volume_cases import OPTIONS, Case, scan_cases

CASE = "{case}"


def scan_folder(
    root: Path, size: Size, options: Mapping[str, Any], *, reader: str, endings: Sequence[str], mask_endings: Sequence[str] = ()
) -> Scan:  # fmt: skip
    """List the volumes with their masks; only headers are read.

    Args:
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        options: `images` and `masks`, and those of `volume_cases.py`.
        reader: name of the reader, for messages.
        endings: what the names of volumes end with; none for folders of DICOM series.
        mask_endings: what the names of masks end with, if otherwise.

    Raises:
        InputError: an option is invalid, or a mask or a channel is missing.
    """
    chosen = read_options(options, OPTIONS | {"images": "images", "masks": "masks", "classes": ["foreground"]}, reader)
    check_classes(chosen["classes"])
    rule = read_rule(chosen["labels"], chosen["classes"], chosen["threshold"])
    require_folder(root, "`root` must name the folder that holds your volumes and masks")
    patterns = chosen["images"] if isinstance(chosen["images"], list) else [chosen["images"]]
    images = [_compile(pattern, "images", endings) for pattern in patterns]
    masks = _compile(chosen["masks"], "masks", mask_endings or endings)
    cases, read = list[Case](), set[Path]()
    for split, home in _find_splits(root).items():
        files = _list_files(home)
        by_pattern = [_match(files if endings else _list_series(home, files), pattern, home) for pattern in images]
        of_masks = _match(files, masks, home)
        volumes = [{name: path for name, path in paths.items() if path not in of_masks.values()} for paths in by_pattern]
        for name, _, mask in pair_up(volumes[0], of_masks, home, _describe_patterns(chosen)):
            if missing := [pattern for pattern, paths in zip(patterns, volumes, strict=True) if name not in paths]:
                raise InputError(
                    f"expected a volume {missing[0]} of the case {name} in {home}, but there is none; complete the case"
                )
            cases.append(Case(split, name, tuple(paths[name] for paths in volumes), mask))
            read |= {*cases[-1].images, mask}
    files = _list_files(root)
    known = [path for path in files if path.name.lower().endswith(tuple(endings))] if endings else _list_series(root, files)
    unread = [path for path in known if path not in read]
    notes = (f"{len(unread)} volumes match neither `images` nor `masks` and are not read, such as {unread[0]}",) if unread else ()
    return scan_cases(
        cases, root, size, chosen, rule=rule, classes=chosen["classes"], channel_names=None, citation="own data", notes=notes
    )


def _find_splits(root: Path) -> dict[str | None, Path]:
    """Return the folders of the published splits, or `root` itself if it has none."""
    homes: dict[str | None, Path] = {}
    for entry in list_entries(root):
        if (split := SPLITS.get(entry.name.lower())) and is_folder(entry):
            if split in homes:
                raise InputError(
                    f"expected one folder of the split {split!r} in {root}, but got {homes[split].name} and {entry.name}; join them"
                )
            homes[split] = entry
    return {split: homes[split] for split in ("train", "validation", "test") if split in homes} or {None: root}


def _describe_patterns(chosen: Mapping[str, Any]) -> str:
    return f"the options are images: {chosen['images']!r} and masks: {chosen['masks']!r}, in which {CASE} stands for a case"


def _compile(option: Any, name: str, endings: Sequence[str]) -> re.Pattern[str]:
    """Return a regular expression for a pattern; a folder's name stands for all volumes in it."""
    text = option if isinstance(option, str) else ""
    if not text or Path(text).is_absolute() or ".." in Path(text).parts or text.count(CASE) > 1:
        raise InputError(
            f"expected the option {name} to be a folder or a pattern such as '{{case}}/t1{''.join(endings[:1])}' below `root`, but "
            f"got {option!r}"
        )
    pattern = text if CASE in text else f"{text.rstrip('/')}/{CASE}"
    before, after = (re.escape(part) for part in pattern.removeprefix("./").split(CASE))
    ending = "" if pattern.lower().endswith(tuple(endings)) else f"(?:{'|'.join(map(re.escape, endings))})"
    return re.compile(f"{before}(?P<case>.+?){after}{ending}", re.IGNORECASE if ending else 0)


def _list_files(home: Path) -> list[Path]:
    """List all files below a folder, sorted, without hidden ones; links to folders are followed."""
    paths: list[Path] = []
    for parent, folders, files in os.walk(home, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        paths += [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
    return paths


def _list_series(home: Path, files: Sequence[Path]) -> list[Path]:
    """List the folders below `home` that hold DICOM files."""
    folders = dict.fromkeys(path.parent for path in files if path.parent != home)
    return [folder for folder in folders if any(is_dicom(path) for path in files if path.parent == folder)]


def _match(files: Sequence[Path], pattern: re.Pattern[str], home: Path) -> dict[str, Path]:
    matched: dict[str, Path] = {}
    for path in files:
        if match := pattern.fullmatch(path.relative_to(home).as_posix()):
            name = composed(match["case"])
            if (other := matched.setdefault(name, path)) != path:
                raise InputError(f"expected one volume of {name} in {home}, but got {other} and {path}; move one away")
    return matched

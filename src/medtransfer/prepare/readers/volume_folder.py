"""List the volumes and masks of any folder by two patterns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import load_labels
from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import read_rule
from medtransfer.prepare.readers.case_patterns import CASE, compile_pattern, list_files, list_series, match_cases
from medtransfer.prepare.readers.contract import (
    Scan,
    check_classes,
    is_folder,
    list_entries,
    pair_up,
    read_options,
    require_folder,
)
from medtransfer.prepare.readers.folder_layout import SPLITS
from medtransfer.prepare.readers.volume_cases import OPTIONS, Case, scan_cases
from medtransfer.wording import are


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
    require_folder(root, "`root` must name the folder that holds your volumes and masks")
    patterns = chosen["images"] if isinstance(chosen["images"], list) else [chosen["images"]]
    images = [compile_pattern(pattern, "images", endings) for pattern in patterns]
    masks = compile_pattern(chosen["masks"], "masks", mask_endings or endings)

    def look() -> tuple[Path, list[float]]:
        path = next(
            (path for home in _find_splits(root).values() for path in match_cases(list_files(home), masks, home).values()), None
        )
        if path is None:
            raise InputError(f"expected masks in {root}, but there are none; correct the options: {_describe_patterns(chosen)}")
        return path, np.unique(load_labels(path).values).tolist()

    rule = read_rule(chosen["labels"], chosen["classes"], chosen["threshold"], segments=not endings, look=look)
    cases, read = list[Case](), set[Path]()
    for split, home in _find_splits(root).items():
        files = list_files(home)
        by_pattern = [match_cases(files if endings else list_series(home, files), pattern, home) for pattern in images]
        of_masks = match_cases(files, masks, home)
        labelled = set(of_masks.values())
        volumes = [{name: path for name, path in paths.items() if path not in labelled} for paths in by_pattern]
        for name, _, mask in pair_up(volumes[0], of_masks, home, f"by the options {_describe_patterns(chosen)}"):
            if missing := [pattern for pattern, paths in zip(patterns, volumes, strict=True) if name not in paths]:
                raise InputError(
                    f"expected a volume {missing[0]} of the case {name} in {home}, but there is none; complete the case"
                )
            cases.append(Case(split, name, tuple(paths[name] for paths in volumes), mask))
            read |= {*cases[-1].images, mask}
    files = list_files(root)
    known = [path for path in files if path.name.lower().endswith(tuple(endings))] if endings else list_series(root, files)
    unread = [path for path in known if path not in read]
    passed_over = "not read, since neither `images` nor `masks` matches"
    notes = (f"{are(len(unread), 'volume')} {passed_over}, such as {unread[0]}",) if unread else ()
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
    return f"images are {chosen['images']!r} and masks {chosen['masks']!r}, in which {CASE} stands for a case"

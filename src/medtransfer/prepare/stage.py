"""Stage `prepare`: read a raw dataset, split it, and write arrays, index and record atomically."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import tracking
from medtransfer.config.load import DEFINITION
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256, files_sha256
from medtransfer.locks import exclusive
from medtransfer.prepare.duplicates import (
    check_duplicates,
    describe_constant,
    find_duplicates,
    hash_image,
    hash_pixels,
    join_groups,
)
from medtransfer.prepare.label_counts import check_labels, count_labels, describe_labels
from medtransfer.prepare.loading import load
from medtransfer.prepare.mask_counts import check_masks, count_masks, describe_shares
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.readers.contract import ALL, Item, Scan, Size
from medtransfer.prepare.settings import describe_differing, settings_of
from medtransfer.prepare.splits import SPLITS, Rule, assign_splits
from medtransfer.progress import status, track
from medtransfer.records import (
    IMAGE_TASKS,
    IMAGES_FILE,
    INDEX_FILE,
    LABELS_FILE,
    MASKS_FILE,
    TARGET_FILE,
    PreparedTarget,
    TargetInfo,
    atomic_folder,
    atomic_path,
    create_array,
    require_file,
    write_index,
)
from medtransfer.records.tables import as_csv
from medtransfer.wording import are, did_you_mean

log = logging.getLogger("medtransfer")
COUNTS_FILE, LABEL_COUNTS_FILE = "mask_counts.csv", "label_counts.csv"


@dataclass(frozen=True)
class Rows:
    """What is known of the rows of the arrays: their items, slices, hashes, pixels of each label, and mm of a pixel."""

    items: list[Item] = field(default_factory=list)
    slices: list[int] = field(default_factory=list)
    images: list[str | None] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    pixels: list[np.ndarray] = field(default_factory=list)
    spacings: list[tuple[float, float] | None] = field(default_factory=list)


def prepare(
    target: str, *, reader: str, root: Path, size: Size, subset: bool, split: Rule, validation: float,
    allow_duplicates: bool, options: Mapping[str, Any], out: Path, force: bool = False,
    definition: str | None = None, may_lack_files: bool = False,
) -> PreparedTarget:  # fmt: skip
    """Prepare a target, or reuse it if the settings and all source files are unchanged.

    Args:
        target: name of its folder below `out`.
        reader: key of `READERS`.
        root: folder of the raw dataset, which is not changed.
        size: (height, width) of the stored pictures, pixels.
        subset: whether the dataset may have fewer samples than the official counts.
        split: rule of the splits, see `splits.assign_splits`.
        validation: fraction of the training groups that becomes the split `validation`.
        allow_duplicates: whether an image may be in two splits.
        options: options of the reader.
        out: folder of all prepared targets.
        force: whether to prepare it again even if it is unchanged.
        definition: its settings as YAML, to be kept in its folder; None where a file of parameters has them.
        may_lack_files: whether a target of these settings is reused, too, where its dataset is no longer here.

    Raises:
        InputError: the dataset or a setting cannot be used; nothing is written then.
    """
    if reader not in READERS:
        similar = did_you_mean(reader, READERS)
        raise InputError(f"expected the reader to be one of {', '.join(READERS)}, but got {reader!r}{similar}; correct it")
    settings = settings_of(
        reader=reader, size=size, subset=subset, split=split, validation=validation, allow_duplicates=allow_duplicates,
        options=options,
    )  # fmt: skip
    if may_lack_files and not (force or root.exists()) and (earlier := _prepared_by(out / target, settings)):
        log.warning("prepare: %s is not here: %s, which was prepared by the same settings, is used as it is", root, out / target)
        return earlier
    scan = READERS[reader](root, size, options)
    check_counts(scan, subset, root)
    drawn = assign_splits(scan.items, split, validation)  # a wrong rule is refused before any work
    sources = _hash_sources(scan, root, split)
    folder, files = out / target, (IMAGES_FILE, *([scan.labels.file] if scan.labels else []), INDEX_FILE)
    with exclusive(folder):
        if not force and _is_current(folder, files, settings, sources, scan):
            log.info("prepare: %s already exists, made from the same files and settings; reused", folder)
            if definition is not None and not tracking.is_looking_up():
                with atomic_path(folder / DEFINITION) as partial:
                    partial.write_text(definition, encoding="utf-8")
            return PreparedTarget.open(folder)
        tracking.require_work_allowed()
        if scan.see_splits:
            scan.see_splits(drawn)
        with atomic_folder(folder) as partial:
            rows = _write_arrays(scan, size, target, partial)
            duplicates = find_duplicates(rows.images, rows.labels)
            by_item = assign_splits(scan.items, split, validation, join_groups(duplicates, rows.items))
            splits = [name for item, name in zip(scan.items, by_item, strict=True) for _ in range(item.pictures)]
            kind = "labels" if scan.labels and scan.labels.file != MASKS_FILE else "masks"
            notes = [*scan.notes, *scan.loaded_notes(), *describe_constant(rows.images, rows.items)]
            notes += check_duplicates(duplicates, splits, rows.items, allow_duplicates, kind)
            shares, found = _write_counts(scan, splits, rows, partial)
            for note in [*notes, *found]:
                log.warning("prepare: %s", note)
            counts = _write_index(scan, splits, rows, partial)
            arrays = {name: file_sha256(partial / name) for name in files}
            scaling = scan.scaling if isinstance(scan.scaling, str) else scan.scaling()
            image_rule = scan.image_rule() if scan.image_rule else None
            TargetInfo(
                target=target, reader=reader, task=scan.task, citation=scan.citation, classes=list(scan.classes),
                channels=scan.channels, input=list(scan.input), augmentation=scan.augmentation, scaling=scaling,
                counts=counts, expected=dict(scan.expected), subset=subset, sources=sources, arrays=arrays, settings=settings,
                image_rule=asdict(image_rule) if image_rule else None, ignore=scan.ignore, regions=dict(scan.regions),
            ).write(partial / TARGET_FILE)  # fmt: skip
            with status("prepare: drawing the preview"):
                from medtransfer.prepare.preview import draw_preview

                draw_preview(PreparedTarget.open(partial), partial / "preview.png")
            if definition is not None:
                (partial / DEFINITION).write_text(definition, encoding="utf-8")
        if moved := sum(item.split not in (None, name) for item, name in zip(rows.items, splits, strict=True)):
            log.info("prepare: %d of %d pictures are not in their published split, as the settings say", moved, len(splits))
        held = ", ".join(f"{number} {name}" for name, number in counts.items())
        log.info("prepare: %s holds %s%s", folder, held, f"; {shares}" if shares else "")
        return PreparedTarget.open(folder)


def check_counts(scan: Scan, subset: bool, root: Path) -> None:
    """Compare the number of samples in the published splits with the official counts.

    Args:
        scan: the reader's description of the dataset.
        subset: whether there may be fewer.
        root: folder of the dataset, for the message.

    Raises:
        InputError: there are more than expected, or fewer without `subset`.
    """
    for split, expected in scan.expected.items():
        windows = len(scan.windows["train" if split in ("train", ALL) else "test"])
        count = windows * sum(item.pictures for item in scan.items if split in (ALL, item.split))
        count += sum(number for name, number in scan.left_out.items() if split in (ALL, name))
        message = f"expected {expected} {split} samples in {root}, but got {count}".replace(f" {ALL} ", " ")
        if count > expected:
            raise InputError(f"{message} ({count - expected} more); remove what does not belong to the dataset")
        if count < expected and not subset:
            raise InputError(
                f"{message} ({expected - count} fewer); complete the dataset, or set `subset: true` if that is intended"
            )


def _hash_sources(scan: Scan, root: Path, split: Rule) -> dict[str, str]:
    files = dict.fromkeys(path for item in scan.items for path in item.files)
    if foreign := [path for path in files if not _is_utf8(path)]:
        raise InputError(f"expected file names in UTF-8, but got {os.fsencode(foreign[0])!r}; rename the file")
    hashed = files_sha256(list(files), lambda path: require_file(path, "a file of the dataset", "restore it"))
    hashed = track(hashed, "prepare: hashing", len(files), "files")
    hashes = {path.relative_to(root).as_posix(): sha256 for path, sha256 in zip(files, hashed, strict=True)}
    if isinstance(split, Mapping) and "file" in split:
        hashes["split file"] = file_sha256(Path(split["file"]))
    return hashes


def _is_utf8(path: Path) -> bool:
    """Return whether a name can be written to the index; Python keeps bytes of other encodings as lone surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _prepared_by(folder: Path, settings: dict[str, Any]) -> PreparedTarget | None:
    """Return the target that was prepared by these settings, with its arrays as they were written; None if there is none."""
    try:
        info = TargetInfo.read(folder / TARGET_FILE)
    except InputError:
        return None
    return PreparedTarget.open(folder).verify() if info.settings == settings else None


def _is_current(
    folder: Path, files: Sequence[str], settings: dict[str, Any], sources: dict[str, str], scan: Scan
) -> bool:  # fmt: skip
    """Return whether the folder was made from the same files and settings and its arrays are unchanged; if not, log why."""
    if not (folder / TARGET_FILE).exists():
        return False
    try:
        info = TargetInfo.read(folder / TARGET_FILE)
        if differing := describe_differing(info.settings, settings):
            reason = f"these settings differ: {differing}; results on it so far are of other data"
        elif changed := _describe_changed(info.sources, sources):
            reason = f"{changed}; results on it so far are of other data"
        elif (info.augmentation, info.regions) != (scan.augmentation, scan.regions):
            reason = "its reader augments or unites classes in another way"
        elif damaged := [name for name in files if info.arrays.get(name) != file_sha256(folder / name)]:
            reason = f"{damaged[0]} is not as it was prepared"
        else:
            return True
    except (InputError, OSError):
        reason = "some of its files cannot be read"
    log.warning("prepare: %s %s made again, since %s", folder, "is to be" if tracking.is_looking_up() else "is", reason)
    return False


def _describe_changed(earlier: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return which source files were changed, added or removed, by their SHA-256 before and now; empty if none were."""
    kinds = {
        "changed": [name for name, sha256 in sources.items() if earlier.get(name, sha256) != sha256],
        "added": [name for name in sources if name not in earlier],
        "removed": [name for name in earlier if name not in sources],
    }
    return " and ".join(f"{are(len(names), 'file')} {kind}, such as {names[0]}" for kind, names in kinds.items() if names)


def _write_arrays(scan: Scan, size: Size, target: str, folder: Path) -> Rows:
    """Write all pictures to the two arrays; each process has one item in memory at a time."""
    total = sum(item.pictures for item in scan.items)
    images = create_array(folder / IMAGES_FILE, (total, *size, scan.channels))
    labels = create_array(folder / scan.labels.file, (total, *scan.labels.shape)) if scan.labels else None
    rows = Rows()
    for row, (item, picture) in enumerate(track(load(scan, size), f"prepare: {target}", total, "images")):
        images[row] = picture.image
        rows.items.append(item)
        rows.slices.append(picture.slice)
        rows.spacings.append(picture.spacing)
        rows.images.append(hash_image(picture.image))
        rows.labels.append("" if picture.labels is None else hash_pixels(picture.labels))
        if labels is not None and picture.labels is not None:
            labels[row] = picture.labels
            if scan.labels and scan.labels.file == MASKS_FILE:
                rows.pixels.append(np.bincount(np.ravel(picture.labels), minlength=256)[: len(scan.classes) + 1])
    images.flush()
    if labels is not None:
        labels.flush()
    return rows


def _write_counts(scan: Scan, splits: Sequence[str], rows: Rows, folder: Path) -> tuple[str, list[str]]:
    """Write counts of the masks or of the labels of images; return which share each class has, and warnings; nothing of neither."""
    if scan.labels and scan.labels.file == MASKS_FILE:
        return _write_mask_counts(scan, splits, rows, folder)
    return _write_label_counts(scan, splits, folder) if scan.task in IMAGE_TASKS else ("", [])


def _write_mask_counts(scan: Scan, splits: Sequence[str], rows: Rows, folder: Path) -> tuple[str, list[str]]:
    """Write how many masks are empty and full, by split and class; return which share each class has, and warnings."""
    assert scan.labels is not None  # a scan without labels has no masks
    counts = count_masks(np.stack(rows.pixels), splits, scan.classes, math.prod(scan.labels.shape))
    (folder / COUNTS_FILE).write_text(as_csv(counts), encoding="utf-8")
    warnings = check_masks(counts, {name: item.source for item, name in zip(rows.items, splits, strict=True)})
    return describe_shares(counts), warnings


def _write_label_counts(scan: Scan, splits: Sequence[str], folder: Path) -> tuple[str, list[str]]:
    """Write how many images are positive and negative, by split and class; return which share each class has, and warnings."""
    counts = count_labels(np.load(folder / LABELS_FILE), splits, scan.classes, scan.task)
    (folder / LABEL_COUNTS_FILE).write_text(as_csv(counts), encoding="utf-8")
    warnings = check_labels(counts)
    return describe_labels(counts), warnings


def _write_index(scan: Scan, splits: Sequence[str], rows: Rows, folder: Path) -> dict[str, int]:
    """Write one line per sample and count them by split."""
    counts = {name: 0 for name in SPLITS if name in splits}
    lines: list[tuple[object, ...]] = []
    spacings: list[tuple[float, float] | None] = []
    for row, (item, split, position) in enumerate(zip(rows.items, splits, rows.slices, strict=True)):
        for window in scan.windows["train" if split == "train" else "test"]:  # validation images get those of test images
            lines.append((len(lines), row, split, item.group, item.source, position, *window))
            spacings.append(rows.spacings[row])
            counts[split] += 1
    write_index(folder, lines, spacings)
    return counts

"""Stage `prepare`: read a raw dataset, split it, and write arrays, index and record atomically."""

import json
import logging
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.locks import exclusive
from medtransfer.prepare.duplicates import check_duplicates, hash_image
from medtransfer.prepare.preview import draw_preview
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.readers.contract import Scan, Size
from medtransfer.prepare.splits import SPLITS, Rule, assign_splits
from medtransfer.progress import track
from medtransfer.records import (
    IMAGES_FILE,
    INDEX_FILE,
    TARGET_FILE,
    PreparedTarget,
    TargetInfo,
    atomic_folder,
    create_array,
    require_file,
    write_index,
)

log = logging.getLogger("medtransfer")


def prepare(
    target: str, *, reader: str, root: Path, size: Size, subset: bool, split: Rule, validation: float,
    allow_duplicates: bool, options: Mapping[str, Any], out: Path, force: bool = False,
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

    Raises:
        InputError: the dataset or a setting cannot be used; nothing is written then.
    """
    if reader not in READERS:
        raise InputError(f"expected the reader to be one of {', '.join(READERS)}, but got {reader!r}")
    settings = _plain({
        "reader": reader, "size": list(size), "subset": subset, "split": split, "validation": validation,
        "allow_duplicates": allow_duplicates, "options": options,
    })  # fmt: skip
    scan = READERS[reader](root, size, options)
    check_counts(scan, subset, root)
    splits = assign_splits(scan.items, split, validation)
    sources = _hash_sources(scan, root, split)
    folder, files = out / target, (IMAGES_FILE, scan.labels.file, INDEX_FILE)
    with exclusive(folder):
        if not force and _is_current(folder, files, settings, sources):
            log.info("prepare: %s already exists, made from the same files and settings; reused", folder)
            return PreparedTarget.open(folder)
        with atomic_folder(folder) as partial:
            slices = _write_arrays(scan, splits, size, allow_duplicates, target, partial)
            counts = _write_index(scan, splits, slices, partial)
            arrays = {name: file_sha256(partial / name) for name in files}
            TargetInfo(
                target=target, reader=reader, task=scan.task, citation=scan.citation, classes=list(scan.classes),
                channels=scan.channels, input=list(scan.input), augmentation=scan.augmentation, scaling=scan.scaling,
                counts=counts, expected=dict(scan.expected), subset=subset, sources=sources, arrays=arrays, settings=settings,
            ).write(partial / TARGET_FILE)  # fmt: skip
            draw_preview(PreparedTarget.open(partial), partial / "preview.png")
        log.info("prepare: %s holds %s", folder, ", ".join(f"{number} {name}" for name, number in counts.items()))
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
        count = sum(item.pictures * len(scan.windows[split]) for item in scan.items if item.split == split)
        message = f"expected {expected} {split} samples in {root}, but got {count}"
        if count > expected:
            raise InputError(f"{message} ({count - expected} more); remove what does not belong to the dataset")
        if count < expected and not subset:
            raise InputError(
                f"{message} ({expected - count} fewer); complete the dataset, or set `subset: true` if that is intended"
            )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings after a round trip through JSON, so that they compare equal to stored ones."""
    try:
        return json.loads(json.dumps(settings, allow_nan=False))  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        given = {name: settings[name] for name in ("options", "split")}
        raise InputError(
            f"expected plain values and finite numbers, but got {reprlib.repr(given)} ({error}); correct them"
        ) from None


def _hash_sources(scan: Scan, root: Path, split: Rule) -> dict[str, str]:
    files = dict.fromkeys(path for item in scan.items for path in item.files)
    hashes = {
        path.relative_to(root).as_posix(): file_sha256(require_file(path, "a file of the dataset", "restore it"))
        for path in track(files, "prepare: hashing", len(files), "files")
    }  # fmt: skip
    if isinstance(split, Mapping) and "file" in split:
        hashes["split file"] = file_sha256(Path(split["file"]))
    return hashes


def _is_current(folder: Path, files: Sequence[str], settings: dict[str, Any], sources: dict[str, str]) -> bool:
    """Return whether the folder was made from the same files and settings and its arrays are unchanged."""
    try:
        info = TargetInfo.read(folder / TARGET_FILE)
        if info.settings != settings or info.sources != sources:
            return False
        return info.arrays == {name: file_sha256(folder / name) for name in files}
    except (InputError, OSError):
        return False


def _write_arrays(scan: Scan, splits: Sequence[str], size: Size, allow: bool, target: str, folder: Path) -> list[int]:
    """Write all pictures to the two arrays, with one item in memory at a time; return the slice of each row."""
    total = sum(item.pictures for item in scan.items)
    images = create_array(folder / IMAGES_FILE, (total, *size, scan.channels))
    labels = create_array(folder / scan.labels.file, (total, *scan.labels.shape))
    pictures = ((item, split, picture) for item, split in zip(scan.items, splits, strict=True) for picture in item.load())
    hashes, row_splits, names, slices = [], [], [], []
    for row, (item, split, picture) in enumerate(track(pictures, f"prepare: {target}", total, "images")):
        images[row], labels[row] = picture.image, picture.labels
        hashes.append(hash_image(picture.image))
        row_splits.append(split)
        names.append(item.source)
        slices.append(picture.slice)
    for note in check_duplicates(hashes, row_splits, names, allow):
        log.warning("prepare: %s", note)
    images.flush()
    labels.flush()
    return slices


def _write_index(scan: Scan, splits: Sequence[str], slices: Sequence[int], folder: Path) -> dict[str, int]:
    """Write one line per sample and count them by split."""
    counts = {name: 0 for name in SPLITS if name in splits}
    homes = [(item, split) for item, split in zip(scan.items, splits, strict=True) for _ in range(item.pictures)]
    lines: list[tuple[object, ...]] = []
    for row, ((item, split), position) in enumerate(zip(homes, slices, strict=True)):
        for window in scan.windows["train" if split == "train" else "test"]:  # validation images get those of test images
            lines.append((len(lines), row, split, item.group, item.source, position, *window))
            counts[split] += 1
    write_index(folder, lines)
    return counts

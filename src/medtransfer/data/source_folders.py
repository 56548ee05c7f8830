"""Pictures of a pretraining source, as files in folders or as shards: its classes, its pictures, its digest.

Nothing here loads the libraries of training, so that a finished pretraining is found at once.
"""

import hashlib
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtransfer.data import shards
from medtransfer.data.picture_folders import PictureFolder, list_folder, upright
from medtransfer.errors import InputError
from medtransfer.progress import track
from medtransfer.records import TARGET_FILE, PreparedTarget
from medtransfer.records.file_digests import file_digests
from medtransfer.records.folders import LITTER

SPLITS = ("train", "val")
Learned = Literal["classes", "pictures", "masks"]  # of a source
OTHER_NAMES = ("test", "validation", "valid", "Val", "Test")  # of the folder of validation pictures


def source_fingerprint(root: Path, learned: Learned) -> str:
    """Return the digest of the images of both splits, and of their labels.

    Contents of pictures are read once; later only those of files whose size or times of change differ.

    Args:
        root: folder with `train` and `val`, or of a prepared target; pictures in shards have the digest that they have as files.
        learned: `classes`, which are the folders in `train` and `val`; `pictures` without them; `masks` of a prepared target.

    Returns:
        16 hexadecimal digits that hash the paths and contents of all pictures, or the fingerprint of the target.

    Raises:
        InputError: there are no such images, or a picture is empty, not a regular file, a broken link or unreadable.
    """
    if (root / TARGET_FILE).is_file():
        return PreparedTarget.open(root).info.fingerprint
    if learned == "masks":
        raise InputError(f"expected a prepared target to segment, but {root / TARGET_FILE} does not exist; name one as source_root")
    if learned == "pictures":
        check_splits(root)
    classes = _learned_classes(root) if learned == "classes" else []
    if shards.is_sharded(root):
        return shards.fingerprint(root, SPLITS, learned == "classes")
    folders = [f"{split}/{name}" for split in SPLITS for name in classes] or SPLITS
    parts = [
        np.array([os.fsencode(f"{folder}/{file}") for file in list_pictures(root / folder).pictures])
        for folder in track(folders, "pretrain: lists of pictures", len(folders), "folders")
    ]
    return hash_pictures(root, np.concatenate(parts))


def _learned_classes(root: Path) -> list[str]:
    """Return the names of the classes to learn; one alone is an InputError, since every prediction of it is right."""
    names = class_names(root)
    if len(names) == 1:
        raise InputError(
            f"expected at least two classes in {root / 'train'}, since one teaches nothing, but got {names[0]!r} alone; "
            "add others, or take an origin that learns without labels, such as simclr"
        )
    return names


def check_splits(root: Path) -> None:
    """Check that there are folders or shards of both splits; a missing one is an InputError."""
    if shards.is_sharded(root) and shards.shard_files(root, "val"):
        return
    for folder in (root / name for name in SPLITS):
        if not folder.is_dir():
            raise InputError(
                f"expected pictures in {root / 'train'} and {root / 'val'}, but {folder} is not a folder; name the folder "
                "above train and val, or a prepared target, as source_root"
            )


def hash_pictures(root: Path, names: NDArray[np.bytes_]) -> str:
    """Return 16 hexadecimal digits that hash the paths and contents of pictures; see `source_fingerprint`.

    Args:
        root: folder that the names are relative to.
        names: encoded paths of the pictures, in a fixed order, (N,).

    Raises:
        InputError: a picture is empty, not a regular file, a broken link or unreadable.
    """
    base = f"{root}/"  # joined as text: a million paths take ten times longer
    tracked = track(names, "pretrain: states of pictures", len(names), "pictures")
    states = np.empty((len(names), 3), np.int64)
    for row, name in enumerate(tracked):
        states[row] = _state(base + os.fsdecode(name))
    total = hashlib.sha256()
    try:
        with closing(file_digests(root, names, states, "pretrain: digests of pictures")) as digests:
            for name, sha256 in zip(names, digests, strict=True):
                total.update(b"%s\0%s\n" % (name, sha256.encode()))
    except OSError as error:
        raise InputError(f"expected readable pictures in {root}, but got {error}; repair or remove the file") from None
    return total.hexdigest()[:16]


def _rename(root: Path, split: str) -> str:
    """Return the remedy for a missing split: to rename the folder that has its pictures under another name."""
    other = next((name for name in OTHER_NAMES if split == "val" and (root / name).is_dir()), None)
    return f"rename {root / other} to {split}" if other else "name the folder above train and val"


def class_names(root: Path) -> list[str]:
    """Return the class names, which must be the same in both splits."""
    classes_of = _stored_classes if shards.is_sharded(root) else _class_folders
    names = {split: classes_of(root, split) for split in SPLITS}
    if differing := names["train"] ^ names["val"]:
        name = min(differing)
        raise InputError(
            f"expected the same classes in {root / 'train'} and {root / 'val'}, but {name!r} is only in "
            f"{'train' if name in names['train'] else 'val'}; add or remove its {_unit(root)}"
        )
    return sorted(names["train"])


def _unit(root: Path) -> str:
    return "pictures" if shards.is_sharded(root) else "folder"


def _stored_classes(root: Path, split: str) -> set[str]:
    """Return the classes of the pictures in shards."""
    names = shards.open_split(root, split).by_class()[1]
    if not names:
        raise InputError(f"expected labelled pictures in the shards of {split} in {root}, but none has a label; add .cls or label")
    return set(names)


def _class_folders(root: Path, split: str) -> set[str]:
    """Return the names of the class folders of a split."""
    folder = root / split
    try:
        if not folder.is_dir():
            raise InputError(f"expected class folders in {folder}, but it is not a folder; {_rename(root, split)}")
        names = {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(LITTER)}
    except OSError as error:
        raise InputError(f"expected class folders in {folder}, but it cannot be read ({error}); repair or remove it") from None
    if not names:
        raise InputError(f"expected class folders in {folder}, but there are none; sort the pictures by class")
    return names


def list_pictures(folder: Path) -> PictureFolder:
    """List the pictures below a folder, such as that of a class; none is an InputError."""
    listed = list_folder(folder)
    if not listed.pictures:
        others = listed.describe_passed_over()
        reason = f"only files of other kinds: {others}; convert them" if others else "there are none; add some"
        raise InputError(f"expected pictures in {folder}, but {reason} or remove the class")
    return listed


def _state(path: str) -> tuple[int, int, int]:
    """Return the size of a picture's file in bytes and its times of change in nanoseconds, by one call of stat."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise InputError(f"expected a picture in {path}, but it cannot be reached ({error}); replace or remove it") from None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        reason = "it is empty" if stat.S_ISREG(status.st_mode) else "it is a pipe or a device"
        raise InputError(f"expected a picture in {path}, but {reason}; replace or remove it")
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_picture(source: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Read a picture as RGB and upright by its EXIF orientation; grey, palette and CMYK are converted.

    Args:
        source: its file, or the content of one.
        name: of the picture, for messages; None for the path of its file.
    """
    name = name or str(source)
    try:
        with Image.open(source) as file:
            if file.mode[0] in "IF":
                raise InputError(f"expected 8 bits per channel in {name}, but its mode is {file.mode}; convert it")
            return upright(file).convert("RGB")
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(f"expected a picture in {name}, but it is unreadable ({error}); replace or remove it") from None

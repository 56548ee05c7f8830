"""Pretraining images from a folder of pictures by class.

The layout is that of ImageFolder: `root/train/n01440764/n01440764_10026.JPEG`, and likewise `root/val`.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.picture_folders import PictureFolder, list_folder, upright
from medtransfer.errors import InputError
from medtransfer.progress import track
from medtransfer.records.file_digests import file_digests

SPLITS = ("train", "val")
OTHER_NAMES = ("test", "validation", "valid", "Val", "Test")  # of the folder of validation pictures

log = logging.getLogger("medtransfer")


class SourceImages(LabelledImages):
    """The pictures of one split: item i is (image float32 (3, size, size), class number)."""

    exclusive = True

    def __init__(
        self, root: Path, split: str, size: int, *, mean: Sequence[float], std: Sequence[float], train: bool,
        randaugment: Mapping[str, int] | None, seed: int,
    ) -> None:  # fmt: skip
        """List the pictures of a split.

        Args:
            root: the folder that holds `train` and `val`.
            split: `train` or `val`.
            size: and further arguments as in `LabelledImages`.

        Raises:
            InputError: a folder is missing, a class is empty, or `train` and `val` hold different classes.
        """
        super().__init__(size, mean=mean, std=std, train=train, randaugment=randaugment, seed=seed)
        self._root, self._split = Path(root), split
        self.classes = _classes(self._root)
        folders = track(self.classes, f"pretrain: listing {split}", len(self.classes), "classes")
        listed = [list_pictures(self._root / split / name) for name in folders]
        _name_passed_over(self._root / split, listed)
        names = [folder.pictures for folder in listed]
        # One array instead of a million strings, so that worker processes share its memory pages.
        self._names = np.array([os.fsencode(name) for part in names for name in part])
        self.labels = np.repeat(np.arange(len(names)), [len(part) for part in names])

    def label(self, index: int) -> int:
        """Return the class number of a picture."""
        return int(self.labels[index])

    def picture(self, index: int) -> Image.Image:
        """Read a picture; an unreadable file is an InputError."""
        return read_picture(self._root / self._split / self.classes[self.label(index)] / os.fsdecode(self._names[index]))

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that hash the paths and contents of all pictures of both splits.

        Contents are read once; later only those of files whose size or times of change differ.

        Raises:
            InputError: a picture is empty, not a regular file, a broken link or unreadable.
        """
        classes = [f"{split}/{name}" for split in SPLITS for name in self.classes]
        names = [
            f"{folder}/{file}"
            for folder in track(classes, "pretrain: lists of pictures", len(classes), "classes")
            for file in list_pictures(self._root / folder).pictures
        ]
        return hash_pictures(self._root, names)


def hash_pictures(root: Path, names: Sequence[str]) -> str:
    """Return 16 hexadecimal digits that hash the paths and contents of pictures; see `SourceImages.fingerprint`.

    Args:
        root: folder that the names are relative to.
        names: paths of the pictures, in a fixed order.

    Raises:
        InputError: a picture is empty, not a regular file, a broken link or unreadable.
    """
    files = [(name, _state(root / name)) for name in track(names, "pretrain: states of pictures", len(names), "pictures")]
    try:
        digests = file_digests(root, files, "pretrain: new or changed source pictures")
    except OSError as error:
        raise InputError(f"expected readable pictures in {root}, but got {error}; repair or remove the file") from None
    total = hashlib.sha256()
    for name, sha256 in zip(names, digests, strict=True):
        total.update(os.fsencode(f"{name}\0{sha256}\n"))
    return total.hexdigest()[:16]


def _rename(root: Path, split: str) -> str:
    """Return the remedy for a missing split: to rename the folder that has its pictures under another name."""
    other = next((name for name in OTHER_NAMES if split == "val" and (root / name).is_dir()), None)
    return f"rename {root / other} to {split}" if other else "name the folder above train and val"


def _classes(root: Path) -> list[str]:
    """Return the class names, which must be the same in both splits."""
    names = {}
    for split in SPLITS:
        folder = root / split
        try:
            if not folder.is_dir():
                raise InputError(f"expected class folders in {folder}, but it is not a folder; {_rename(root, split)}")
            names[split] = {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        except OSError as error:
            raise InputError(f"expected class folders in {folder}, but it cannot be read ({error}); repair or remove it") from None
        if not names[split]:
            raise InputError(f"expected class folders in {folder}, but there are none; sort the pictures by class")
    if differing := names["train"] ^ names["val"]:
        name = min(differing)
        raise InputError(
            f"expected the same classes in {root / 'train'} and {root / 'val'}, but {name!r} is only in "
            f"{'train' if name in names['train'] else 'val'}; add or remove its folder"
        )
    return sorted(names["train"])


def list_pictures(folder: Path) -> PictureFolder:
    """List the pictures below a folder, such as that of a class; none is an InputError."""
    try:
        listed = list_folder(folder)
    except OSError as error:
        raise InputError(f"expected pictures in {folder}, but it cannot be read ({error}); repair or remove it") from None
    if not listed.pictures:
        others = listed.describe_passed_over()
        reason = f"only files of other kinds: {others}; convert them" if others else "there are none; add some"
        raise InputError(f"expected pictures in {folder}, but {reason} or remove the class")
    return listed


def _name_passed_over(folder: Path, classes: Sequence[PictureFolder]) -> None:
    if others := sum(listed.passed_over.total() for listed in classes):
        example = next(listed for listed in classes if listed.passed_over).describe_passed_over()
        log.warning("pretrain: %d files below %s are no pictures and not read, in one class %s", others, folder, example)


def _state(path: Path) -> tuple[int, int, int]:
    """Return the size of a picture's file in bytes and its times of change in nanoseconds, by one call of stat."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"expected a picture in {path}, but it cannot be reached ({error}); replace or remove it") from None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        reason = "it is empty" if stat.S_ISREG(status.st_mode) else "it is a pipe or a device"
        raise InputError(f"expected a picture in {path}, but {reason}; replace or remove it")
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_picture(path: Path) -> Image.Image:
    """Read a picture as RGB and upright by its EXIF orientation; grey, palette and CMYK are converted."""
    try:
        with Image.open(path) as file:
            if file.mode[0] in "IF":
                raise InputError(f"expected 8 bits per channel in {path}, but its mode is {file.mode}; convert it")
            return upright(file).convert("RGB")
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(f"expected a picture in {path}, but it is unreadable ({error}); replace or remove it") from None

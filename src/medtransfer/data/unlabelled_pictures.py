"""Pictures of a source without their labels: `train` and `val` as folders or shards, or a prepared target of any task.

Below `train` and `val` pictures may be in any folders, such as those of an ImageFolder's classes.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medtransfer.data.decoding import read_pixels
from medtransfer.data.prepared_images import SPLITS as TARGET_SPLITS
from medtransfer.data.prepared_images import check_images, window_picture
from medtransfer.data.resampling import Pictures, Pillow
from medtransfer.data.sharded_pictures import ShardedPictures
from medtransfer.data.shards import is_sharded, open_split
from medtransfer.data.source_folders import check_splits, list_pictures, read_picture
from medtransfer.data.windows import Windows
from medtransfer.records import TARGET_FILE, PreparedTarget

log = logging.getLogger("medtransfer")


def open_pictures(root: Path, split: str) -> Pictures:
    """Open the pictures of a split.

    Args:
        root: folder of a prepared target, or one with `train` and `val`.
        split: `train` or `val`, the validation samples of a target.

    Raises:
        InputError: there are none, or they have other channels than grey or RGB.
    """
    if (root / TARGET_FILE).is_file():
        return TargetPictures(PreparedTarget.open(root).verify(), split)
    return ShardedPictures(open_split(root, split)) if is_sharded(root) else FolderPictures(root, split)


class FolderPictures:
    """The pictures below `root/train` or `root/val`."""

    def __init__(self, root: Path, split: str) -> None:
        """List the pictures.

        Raises:
            InputError: a folder is missing or has no pictures.
        """
        self._root, self._split = root, split
        check_splits(root)
        # One array instead of a million strings, so that worker processes share its memory pages.
        self._names = np.array([os.fsencode(name) for name in list_pictures(root / split).pictures])

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._names)

    def picture(self, index: int) -> Image.Image:
        """Read a picture; an unreadable file is an InputError."""
        return read_picture(self._path(index))

    def pixels(self, index: int) -> Tensor:
        """Read the pixels of a picture; an unreadable file is an InputError."""
        return read_pixels(self._path(index))

    def _path(self, index: int) -> Path:
        return self._root / self._split / os.fsdecode(self._names[index])


class TargetPictures:
    """The windows of a prepared target's split; grey is repeated to RGB."""

    def __init__(self, target: PreparedTarget, split: str) -> None:
        """Open the split.

        Raises:
            InputError: the images have other channels than grey or RGB, or there are no validation samples.
        """
        check_images(target)
        self._target, self._windows = target, Windows(target, TARGET_SPLITS[split])

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._windows)

    def picture(self, index: int) -> Image.Image:
        """Return a window."""
        return window_picture(self._windows, index)

    def pixels(self, index: int) -> Tensor:
        """Return the pixels of a window."""
        return torch.from_numpy(np.array(self.picture(index)))


class PlainPictures:
    """The training pictures of a source as an encoder sees them, without augmentation: item i is (pixels uint8 (H, W, 3),)."""

    def __init__(self, root: Path, contract: Mapping[str, Any]) -> None:
        """Open the pictures.

        Args:
            root: as of `open_pictures`.
            contract: size, mean and std of the encoder's input.
        """
        self._pictures, self._size = open_pictures(root, "train"), contract["size"]
        self.mean, self.std = tuple(contract["mean"]), tuple(contract["std"])

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor]:
        """Return the middle of a picture, resized."""
        return (torch.from_numpy(Pillow().middle(self._pictures.picture(index), self._size)),)

"""Pretraining images from pictures by class, in folders or in shards.

The layout is that of ImageFolder: `root/train/n01440764/n01440764_10026.JPEG`, and likewise `root/val`; or that of `shards`.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from medtransfer.data.decoding import read_pixels
from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.picture_folders import PictureFolder
from medtransfer.data.sharded_pictures import ShardedPictures
from medtransfer.data.shards import is_sharded, open_split
from medtransfer.data.source_folders import class_names, list_pictures, read_picture
from medtransfer.progress import track
from medtransfer.wording import spelt_alike

log = logging.getLogger("medtransfer")


class SourceImages(LabelledImages):
    """The pictures of one split: item i is (pixels uint8 (size, size, 3), class number)."""

    exclusive = True

    def __init__(
        self, root: Path, split: str, size: int, *, mean: Sequence[float], std: Sequence[float], train: bool,
        randaugment: Mapping[str, int] | None, seed: int, resampling: str = "pillow",
    ) -> None:  # fmt: skip
        """List the pictures of a split.

        Args:
            root: the folder that holds `train` and `val`, folders or shards.
            split: `train` or `val`.
            size: and further arguments as in `LabelledImages`.

        Raises:
            InputError: a folder is missing, a class is empty, or `train` and `val` hold different classes.
        """
        super().__init__(size, mean=mean, std=std, train=train, randaugment=randaugment, seed=seed, resampling=resampling)
        self._root, self._split = Path(root), split
        self.classes = class_names(self._root)
        if train:
            _name_look_alikes(self._root, self.classes)
        self._shards: ShardedPictures | None = None
        if is_sharded(self._root):
            pictures, _, self.labels = open_split(self._root, split).by_class()
            self._shards = ShardedPictures(pictures)
            return
        folders = track(self.classes, f"pretrain: listing {split}", len(self.classes), "classes")
        listed, parts = list[PictureFolder](), []
        for name in folders:
            listed.append(list_pictures(self._root / split / name))
            parts.append(np.array([os.fsencode(picture) for picture in listed[-1].pictures]))
            listed[-1].pictures.clear()  # a million strings
        _name_passed_over(self._root / split, listed)
        self._names = np.concatenate(parts)  # one array, so that worker processes share its memory pages
        self.labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])

    def label(self, index: int) -> int:
        """Return the class number of a picture."""
        return int(self.labels[index])

    def picture(self, index: int) -> Image.Image:
        """Read a picture; an unreadable file is an InputError."""
        return self._shards.picture(index) if self._shards else read_picture(self._path(index))

    def pixels(self, index: int) -> Tensor:
        """Read the pixels of a picture; an unreadable file is an InputError."""
        return self._shards.pixels(index) if self._shards else read_pixels(self._path(index))

    def _path(self, index: int) -> Path:
        return self._root / self._split / self.classes[self.label(index)] / os.fsdecode(self._names[index])


def _name_look_alikes(root: Path, classes: Sequence[str]) -> None:
    for one, other in spelt_alike(classes)[:1]:
        log.warning(
            "%r and %r are two classes of %s, though they differ in letters' case or blanks alone; if they are one, join them",
            one, other, root,
        )  # fmt: skip


def _name_passed_over(folder: Path, classes: Sequence[PictureFolder]) -> None:
    if others := sum(listed.passed_over.total() for listed in classes):
        example = next(listed for listed in classes if listed.passed_over).describe_passed_over()
        log.warning("pretrain: %d files below %s are no pictures and not read, in one class %s", others, folder, example)

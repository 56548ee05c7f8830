"""Samples of a split as windows of a prepared target's memory-mapped arrays."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from medtransfer.config.loaded_files import prepare_command
from medtransfer.errors import InputError
from medtransfer.records import IGNORE, INDEX_FILE, MASKS_FILE, PreparedTarget
from medtransfer.records.prepared import SPACING_COLUMNS

_IDENTIFIER = re.compile(r"(?P<source>.*)#(?P<slice>\d+)@(?P<top>\d+),(?P<left>\d+)")


class Windows:
    """Samples of one split, each a window of the mapped arrays; pixels are read only when used.

    Attributes:
        images: a unique identifier of each sample, `<source>#<slice>@<top>,<left>`.
        groups: the group (patient, eye) of each sample.
        size: (height, width) of a model's input, pixels; no window is smaller.
        pixel_sizes: (height, width) of a pixel of each sample by its identifier, mm; empty unless all are known.
    """

    def __init__(self, target: PreparedTarget, split: str) -> None:
        """Read the index rows of the split.

        Raises:
            InputError: the split is empty, or its windows do not fit the arrays, the input size or each other.
        """
        rows = target.samples(split)
        self._target = target
        self._boxes = rows[["row", "top", "left", "height", "width"]].to_numpy(np.int64)
        positions = zip(rows["source"], rows["slice"], rows["top"], rows["left"], strict=True)
        self.images = [f"{source}#{z}@{top},{left}" for source, z, top, left in positions]
        self.groups = [str(group) for group in rows["group"]]
        self.size = (target.info.input[0], target.info.input[1])
        self.pixel_sizes: dict[str, tuple[float, float]] = {}
        if set(SPACING_COLUMNS) <= set(rows.columns) and rows[list(SPACING_COLUMNS)].notna().all(axis=None):
            self.pixel_sizes = dict(zip(self.images, zip(*(rows[name] for name in SPACING_COLUMNS), strict=True), strict=True))
        drawn = target.drawn if split == "train" else None
        self._check(len(rows) if drawn is None else len(set(drawn)))

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._boxes)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the mapped arrays, since a worker process must map the files itself instead of receiving a copy."""
        return self.__dict__ | {"_target": PreparedTarget(self._target.folder, self._target.info)}

    @property
    def rows(self) -> np.ndarray:
        """Row of the arrays that each sample is cut from, (N,)."""
        return self._boxes[:, 0]

    def image(self, position: int) -> np.ndarray:
        """Return the image of a sample, uint8 (h, w, C), still mapped."""
        return self._cut(self._target.images, position)

    def mask(self, position: int) -> np.ndarray:
        """Return the mask of a sample, uint8 (h, w), still mapped; IGNORE marks pixels to leave out.

        Raises:
            InputError: a label is above the number of classes, and not IGNORE in a target that has such pixels.
        """
        mask = self._cut(self._target.masks, position)
        known = mask[mask != IGNORE] if self._target.info.ignore else mask
        if (label := int(known.max(initial=0))) > len(self._target.info.classes):
            raise InputError(
                f"expected labels up to {len(self._target.info.classes)} in {self._target.folder / MASKS_FILE}, but "
                f"{self.images[position]} has {label}; {self._remedy()}"
            )
        return mask

    def _remedy(self) -> str:
        return f"make the target again with `{prepare_command(self._target.folder.name, '--force')}`"

    def _cut(self, array: np.ndarray, position: int) -> np.ndarray:
        row, top, left, height, width = self._boxes[position]
        return array[row, top : top + height, left : left + width]

    def _check(self, different: int) -> None:
        """Check the windows, of which a number must be different samples."""
        index, remedy = self._target.folder / INDEX_FILE, self._remedy()
        count, height, width, _ = self._target.images.shape
        row, top, left, tall, wide = self._boxes.T
        fits = (self._boxes >= 0).all(1) & (row < count) & (top + tall <= height) & (left + wide <= width)
        if not fits.all():
            name = self.images[int(np.argmin(fits))]
            raise InputError(f"expected every window of {index} inside the arrays, but {name} is not; {remedy}")
        large = (tall >= self.size[0]) & (wide >= self.size[1])
        if not large.all():
            name = self.images[int(np.argmin(large))]
            raise InputError(f"expected windows in {index} of at least {self.size}, but {name} is smaller; {remedy}")
        if len(set(self.images)) < different:
            raise InputError(f"expected every line of {index} to be a different sample, but some are the same; {remedy}")


def title_images(images: Sequence[str], letters: int) -> list[str]:
    """Return titles of identified images: file name, slice and window; without slice or window where no two differ in it.

    Slices and pixels are numbered from 0. Of titles with more than `letters` letters the beginning is left out.
    """
    found = [_IDENTIFIER.fullmatch(image) for image in images]
    slices = {match["slice"] for match in found if match}
    corners = {(match["top"], match["left"]) for match in found if match}
    titles = []
    for image, match in zip(images, found, strict=True):
        name = match["source"] if match else image
        number = f", slice {match['slice']}" if match and len(slices) > 1 else ""
        window = f", from row {match['top']}, column {match['left']}" if match and len(corners) > 1 else ""
        title = f"{name.rsplit('/', 1)[-1]}{number}{window}"
        titles.append(title if len(title) <= letters else f"…{title[1 - letters :]}")
    return titles

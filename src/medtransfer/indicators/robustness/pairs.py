"""Distances of every image to its second view and to that of its negative, and their stored arrays."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.indicators.robustness.triplet import robustness
from medtransfer.records import BROKEN_ARRAYS, Score, open_arrays, read_values, write_values
from medtransfer.records.scores import Setting

NAME = "robustness"
METRICS = {False: "robustness", True: "robustness_pooled"}  # by pooling; the pooled one serves training with a frozen encoder
Key = tuple[str, int, bool]  # distance, level counted from the end (-1 is the last), pooled
Distances = NDArray[np.float32]
Groups = NDArray[np.int64]
GROUPS = f"{NAME}/groups"  # array beside the distances


@dataclass(frozen=True)
class Pairs:
    """Distances of every image to its second view and to that of its negative.

    Attributes:
        d_pos: distances to the second views by key, float32 (repeats, images).
        d_neg: distances to the negatives, likewise.
        images: ids, in the order of the columns.
        groups: number of each image's group, such as its patient, (images,).
    """

    d_pos: Mapping[Key, Distances]
    d_neg: Mapping[Key, Distances]
    images: list[str]
    groups: Groups

    @classmethod
    def of(cls, images: list[str], arrays: Mapping[str, NDArray[Any]]) -> "Pairs":
        """Build from stored arrays; those of other indicators are ignored.

        Raises:
            KeyError: the groups are missing.
            ValueError: the distances are incomplete or damaged.
        """
        d_pos: dict[Key, Distances] = {}
        d_neg: dict[Key, Distances] = {}
        for name in (name for name in arrays if name.startswith(f"{NAME}/") and name != GROUPS):
            _, side, distance, level, form = name.split("/")
            {"pos": d_pos, "neg": d_neg}[side][distance, int(level), form == "pooled"] = arrays[name]
        pairs = cls(d_pos, d_neg, images, arrays[GROUPS])
        pairs.check()
        return pairs

    def check(self) -> None:
        """Raise ValueError unless there are finite distances of all images to positives and negatives."""
        if not self.d_pos or self.d_pos.keys() != self.d_neg.keys():
            raise ValueError("it does not hold both distances of every setting")
        if self.groups.shape != (len(self.images),):
            raise ValueError(f"the groups are {self.groups.shape}, of {len(self.images)} images")
        for key in self.d_pos:
            for values in (self.d_pos[key], self.d_neg[key]):
                if values.dtype != np.float32 or values.ndim != 2 or values.shape != (len(self.d_pos[key]), len(self.images)):
                    raise ValueError(f"the distances {key} are {values.dtype} {values.shape}, of {len(self.images)} images")
                if not np.isfinite(values).all():
                    raise ValueError(f"the distances {key} are not all finite")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the distances and the groups by array name."""
        sides = {"pos": self.d_pos, "neg": self.d_neg}
        distances = {pair_name(side, *key): values for side, table in sides.items() for key, values in table.items()}
        return {**distances, GROUPS: self.groups}

    def scores(self, margins: list[float], flags: Mapping[tuple[int, bool], dict[str, int]]) -> list[Score]:
        """Compute the robustness of every key and margin.

        Args:
            margins: margins to compute.
            flags: flags of the scores by (level, pooled).
        """
        rows = []
        for key, d_pos in self.d_pos.items():
            distance, level, pooled = key
            values, errors = robustness(d_pos, self.d_neg[key], margins, self.groups)
            for margin, value, error in zip(margins, values, errors, strict=True):
                setting: Setting = {"distance": distance, "level": level, "pooled": pooled, "margin": margin}
                rows.append(Score(NAME, setting, value, None if math.isnan(error) else error, dict(flags.get((level, pooled), {}))))
        return rows


def pair_name(side: str, distance: str, level: int, pooled: bool) -> str:
    """Return the name of an array of distances; the side is `pos` or `neg`."""
    return f"{NAME}/{side}/{distance}/{level}/{'pooled' if pooled else 'flat'}"


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write distances without the arrays of other indicators."""
    write_values(path, pairs.images, pairs.arrays())


def read_pairs(path: Path) -> Pairs:
    """Read all distances of a score's .npz.

    Raises:
        BROKEN_ARRAYS: one of them, if the file is damaged or incomplete.
    """
    return Pairs.of(*read_values(path))


def read_pair(path: Path, distance: str, level: int, pooled: bool) -> tuple[Distances, Distances, Groups]:
    """Read d_pos and d_neg of one key, float32 (repeats, images) each, and the group of each image; errors as `read_distances`."""
    key = (distance, level, pooled)
    distances, groups = read_distances(path, [key])
    return *distances[key], groups


def read_distances(path: Path, keys: Collection[Key]) -> tuple[dict[Key, tuple[Distances, Distances]], Groups]:
    """Read d_pos and d_neg by key, float32 (repeats, images) each, and the group of each image.

    Raises:
        InputError: the file is damaged or lacks some.
    """
    try:
        with open_arrays(path) as file:
            distances = {key: (file[pair_name("pos", *key)], file[pair_name("neg", *key)]) for key in keys}
            return distances, file[GROUPS]
    except BROKEN_ARRAYS as error:
        wanted = " and ".join(
            f"{distance}, level {level}, {'pooled' if pooled else 'flattened'}" for distance, level, pooled in keys
        )
        raise InputError(
            f"expected the per-image distances {wanted} in {path}, but they cannot be read ({error}); make it with "
            "`medtransfer score`"
        ) from None

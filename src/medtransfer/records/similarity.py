"""Record of a comparison of encoders: linear CKA of every two of their levels on the images of a target."""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medtransfer.errors import InputError
from medtransfer.records.base import REMEDIES, SIMILARITY, Count, Record
from medtransfer.records.checkpoint import Levels

SIMILARITY_FILE = "cka.json"
Value = Annotated[float, Field(ge=-1, le=1)] | None


@dataclass(frozen=True)
class Similarity(Record):
    """Contents of `cka.json`.

    Attributes:
        target: name of the target.
        data: its fingerprint.
        split: its samples that were compared on.
        images: how many of them.
        batch: images of a minibatch; of the linear estimate, of which batches do not matter, all of them.
        estimate: `unbiased` or `linear`.
        features: `flat` or `pooled`.
        level: level at which more than two encoders are shown in one picture, counted from the end.
        encoders: names of the encoders.
        weights: digests of their weights.
        levels: [stride, channels] of the levels of each encoder, from finest to coarsest.
        values: CKA of every two levels, ordered by encoder, then from finest to coarsest; None where it is not defined.
        cell: digest of everything that the values depend on.
    """

    target: str
    data: str
    split: str
    images: Count
    batch: Count
    estimate: Literal["unbiased", "linear"]
    features: Literal["flat", "pooled"]
    level: Annotated[int, Field(le=-1)]
    encoders: Annotated[list[str], Field(min_length=2)]
    weights: list[str]
    levels: list[Levels]
    values: list[list[Value]]
    cell: str

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return SIMILARITY

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the record.

        Raises:
            InputError: as of other records, or the number of values is not that of the levels.
        """
        record = super().read(path)
        count = sum(map(len, record.levels))
        if len(record.levels) != len(record.encoders) or [len(row) for row in record.values] != [count] * count:
            raise InputError(
                f"expected values of every two of {count} levels of {len(record.encoders)} encoders in {path}, but got "
                f"{len(record.values)} rows of {len(record.levels)} encoders; {REMEDIES[SIMILARITY]}"
            )
        return record

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Values of every two of M levels (M, M), NaN where they are not defined."""
        return np.array(self.values, dtype=np.float64)

    def between(self, first: int, second: int) -> NDArray[np.float64]:
        """Return the values of the levels of two encoders, by their indices: one row per level of the first."""
        ends = [0, *accumulate(map(len, self.levels))]
        return self.matrix[ends[first] : ends[first + 1], ends[second] : ends[second + 1]]

    def at(self, level: int) -> NDArray[np.float64]:
        """Return the values of every two of K encoders at a level that all have (K, K)."""
        indices = [end + level for end in accumulate(map(len, self.levels))]
        return self.matrix[np.ix_(indices, indices)]

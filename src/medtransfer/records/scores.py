"""Records of scores, and the per-sample values beside them."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from medtransfer.config import Name
from medtransfer.config.requirements import requirement
from medtransfer.records.arrays import open_arrays
from medtransfer.records.atomic import atomic_path
from medtransfer.records.base import FINISHED_SCORES, SCORE_INDEX, SCORES, Count, Record, Share
from medtransfer.records.json import parse_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

Setting = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class Score:
    """Value of an indicator for one checkpoint at one setting.

    Attributes:
        indicator: name of the indicator.
        setting: parameters of the indicator, by name.
        value: the score; None where it is not defined.
        error: standard error; None if unknown.
        flags: counts of noteworthy events, by name; zero counts are left out.
        replicates: values without each block of groups of images, for paired comparisons; empty if there are none.
    """

    indicator: str
    setting: Setting
    value: float | None
    error: float | None = None
    flags: dict[str, int] = field(default_factory=dict)
    replicates: list[float] = field(default_factory=list)

    @property
    def number(self) -> float:
        """The score, NaN where it is not defined."""
        return math.nan if self.value is None else self.value


class _Row(BaseModel):
    """Schema of a `Score` in a file."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

    indicator: Name
    setting: Setting
    value: float | None
    error: float | None
    flags: dict[str, Count]
    replicates: list[float]


_ROWS = TypeAdapter(list[_Row])


def _check_rows(value: list[Any]) -> list[Any]:
    try:
        _ROWS.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"row {'.'.join(map(str, first['loc']))}: {requirement(first)}") from None
    return value


Rows = Annotated[list[Any], AfterValidator(_check_rows)]


@dataclass(frozen=True)
class Scores(Record):
    """Contents of `epoch-NNN.json` of a score folder: the scores of one checkpoint on one target.

    Attributes:
        settings: parameters that every score depends on, besides the checkpoint and the images.
        rows: one `Score` per indicator and setting; the per-sample values behind them are stored beside the file, as .npz.
        notes: remarks for the reader, by indicator.
    """

    target: Name
    data: str
    encoder: Name
    origin: Name
    source: str
    epoch: Count
    pretraining: str
    weights: str
    source_accuracy: Share | None
    images: Count
    settings: dict[str, Any]
    rows: Rows
    notes: dict[str, list[str]]

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return SCORES

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the record, with `rows` as `Score` objects."""
        record = super().read(path)
        return replace(record, rows=[Score(**row) for row in record.rows])

    @property
    def indicators(self) -> list[str]:
        """Names of the scored indicators."""
        return list(dict.fromkeys(row.indicator for row in self.rows))


@dataclass(frozen=True)
class ScoreIndex(Record):
    """Contents of `scores.json`: the epochs and indicators of a score folder.

    It is written after the last score, so a folder without it, or with fewer scores than it names, is unfinished.
    """

    epochs: list[Count]
    indicators: list[Name]

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return SCORE_INDEX


@dataclass(frozen=True)
class FinishedScores(Record):
    """Contents of `finished.json`, written last: what was asked for, and what was made of it.

    Attributes:
        request: digest of the settings, the target and the checkpoints.
        cell: digest of the run in the tracking store.
        files: SHA-256 of the other files in the folder, by name.
    """

    request: str
    cell: str
    files: dict[str, str]

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return FINISHED_SCORES


IMAGES = "images"  # array of the sample ids, as JSON bytes


def write_values(path: Path, images: list[str], arrays: "Mapping[str, np.ndarray]") -> None:
    """Write the ids of the images and per-sample arrays as .npz, atomically."""
    import numpy as np

    ids = np.frombuffer(json.dumps(images).encode(), np.uint8)
    with atomic_path(path) as partial, partial.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays, **{IMAGES: ids})


def read_values(path: Path, names: "Collection[str] | None" = None) -> "tuple[list[str], dict[str, np.ndarray]]":
    """Read the ids of the images and the named arrays, or all if None; pickles are never loaded.

    Raises:
        BROKEN_ARRAYS: one of them, if the file is damaged or lacks an array.
    """
    with open_arrays(path) as file:
        images = parse_json(file[IMAGES].tobytes())
        arrays = {name: file[name] for name in (file if names is None else names) if name != IMAGES}
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images) or not images:
        raise ValueError("its images are not a list of names")
    return images, arrays

"""Records of scores, and the per-image distances beside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from medtransfer.config import Name
from medtransfer.errors import InputError
from medtransfer.records.arrays import BROKEN_ARRAYS, open_arrays
from medtransfer.records.base import REMEDIES, SCORES, Count, Record, Share

if TYPE_CHECKING:
    import numpy as np


class ScoreLine(BaseModel):
    """A line of a score's table."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

    distance: str
    level: int
    pooled: bool
    margin: float
    robustness: float
    standard_error: float | None


_LINES = TypeAdapter(list[ScoreLine])


def _check_table(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        _LINES.validate_python(value)
    except ValidationError as fault:
        first = fault.errors()[0]
        raise ValueError(f"line {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return value


@dataclass(frozen=True)
class Scores(Record):
    """What `epoch-NNN.json` of a score folder says of one checkpoint on one target.

    `table` has a line a (distance, level, pooled, margin): robustness, standard_error; `counts` the vectors that were
    replaced, by level and pooling; the per-image pairs lie beside it as .npz.
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
    table: Annotated[list[dict[str, Any]], AfterValidator(_check_table)]
    counts: list[dict[str, int | bool]]
    notes: list[str]

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return SCORES


def pair_name(side: str, distance: str, level: int, pooled: bool) -> str:
    """Give the name of an array of per-image distances in a score's .npz; the side is `pos` or `neg`."""
    return f"{side}/{distance}/{level}/{'pooled' if pooled else 'flat'}"


def read_pair(path: Path, distance: str, level: int, pooled: bool) -> "tuple[np.ndarray, np.ndarray]":
    """Read (d_pos, d_neg), float32 (repeats, images) each, of one setting; what is not there is an InputError."""
    try:
        with open_arrays(path) as file:
            return file[pair_name("pos", distance, level, pooled)], file[pair_name("neg", distance, level, pooled)]
    except BROKEN_ARRAYS as fault:
        raise InputError(
            f"expected the per-image distances {distance}, level {level}, {'pooled' if pooled else 'flattened'} in {path}, but "
            f"they cannot be read ({fault}); {REMEDIES[SCORES]}"
        ) from None

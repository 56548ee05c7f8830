"""How raw images become the stored uint8 pictures of a target: the rule by which a new image is treated alike."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

KINDS = ("keep", "window", "percentiles", "z-score")
OVER = ("image", "volume", "group", "dataset")  # what percentiles and z-scores are computed over
AXES = (0, 1, 2)


@dataclass(frozen=True)
class ImageRule:
    """How a raw image becomes stored pictures. Pictures of 8 bits keep their values whatever the kind.

    Attributes:
        kind: `keep`: there are no others | `window`: the raw values `low` and `high` become 0 and 255 | `percentiles`: these
            percentiles do | `z-score`: these numbers of standard deviations from the mean do.
        low: what becomes 0; None for `keep`.
        high: what becomes 255, likewise.
        over: what percentiles and z-scores are computed over, one of OVER; None for other kinds.
        limits: [low, high] of each channel as raw values where `over` is `dataset`; else None.
        group: regular expression whose first group names an image's group where `over` is `group`; else None.
        channels: numbers of the channels of a volume that are taken; None for all.
        axis: axis of a volume that slices are cut along; None for that of the largest spacing.
        keep_aspect: whether pictures are padded to the stored size; otherwise they are squeezed.
        axes: where the axes of the volumes point to, such as LPS for left, posterior, superior, or `LPS,RAS` where they differ;
            None where that is unknown.
        of_channels: number of channels of the volumes, of which `channels` are taken; None where that is unknown.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    over: str | None = None
    limits: list[list[float]] | None = None
    group: str | None = None
    channels: list[int] | None = None
    axis: int | None = None
    keep_aspect: bool = False
    axes: str | None = None
    of_channels: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown kind, and for one that lacks what it needs."""
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}")
        if self.kind != "keep" and not _is_below(self.low, self.high):
            raise ValueError(f"{self.kind} needs the numbers `low` and `high`, the first below the second")
        if (self.over in OVER) != (self.kind in ("percentiles", "z-score")):
            raise ValueError(f"`over` must be one of {', '.join(OVER)} for percentiles and z-score, and null for others")
        if self.over == "dataset" and not (self.limits and all(len(pair) == 2 and _is_below(*pair) for pair in self.limits)):
            raise ValueError("`over` dataset needs `limits`, pairs of raw values")
        if self.over == "group" and not isinstance(self.group, str):
            raise ValueError("`over` group needs `group`, a regular expression")
        if self.axis not in (None, *AXES):
            raise ValueError("`axis` must be 0, 1, 2 or null")
        if self.axes is not None and not (isinstance(self.axes, str) and re.fullmatch("[LRAPSI]{3}(,[LRAPSI]{3})*", self.axes)):
            raise ValueError("`axes` must be three letters such as LPS, several of them such as LPS,RAS, or null")
        if self.of_channels is not None and not (type(self.of_channels) is int and self.of_channels > max(self.channels or [0])):
            raise ValueError("`of_channels` must be a number above all of `channels`, or null")


def _is_below(low: Any, high: Any) -> bool:
    return all(type(limit) in (int, float) and math.isfinite(limit) for limit in (low, high)) and low < high


def _check(value: dict[str, Any]) -> dict[str, Any]:
    try:
        ImageRule(**value)
    except TypeError:
        raise ValueError(f"must have the keys {', '.join(ImageRule.__dataclass_fields__)}") from None
    return value


StoredRule = Annotated[dict[str, Any], AfterValidator(_check)]  # in a record

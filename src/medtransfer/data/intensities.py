"""Rules that turn raw intensities into uint8: a fixed window, percentiles, or standard deviations around the mean."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from medtransfer.errors import InputError

Kind = Literal["window", "percentiles", "z-score"]
Limits = tuple[float, float]
DEVIATIONS = 3.0  # of z-scores, unless the user says otherwise


@dataclass(frozen=True)
class IntensityRule:
    """Which raw intensities become 0 and 255; values outside are clipped.

    Attributes:
        kind: `window`: `low` and `high` are raw values, such as Hounsfield units; `percentiles`: percentiles of the values;
            `z-score`: numbers of standard deviations from their mean.
        low: what becomes 0.
        high: what becomes 255.
    """

    kind: Kind
    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the numbers; raise InputError."""
        numbers = all(type(value) in (int, float) and np.isfinite(value) for value in (self.low, self.high))
        bounded = self.kind != "percentiles" or (numbers and self.low >= 0 and self.high <= 100)
        if self.kind not in get_args(Kind) or not numbers or not self.low < self.high or not bounded:
            raise InputError(
                f"expected an intensity rule {' or '.join(get_args(Kind))} with low < high, but got {self.kind} of {self.low!r} "
                f"and {self.high!r}"
            )

    def limits(self, values: np.ndarray) -> Limits:
        """Return the raw values that become 0 and 255.

        Of values whose two percentiles are equal these are the minimum and the maximum, and equal if the values are constant.

        Args:
            values: finite intensities of any shape, on which a window does not depend.
        """
        if self.kind == "window":
            return self.low, self.high
        if self.kind == "z-score":
            mean, deviation = float(values.mean()), float(values.std())
            return mean + self.low * deviation, mean + self.high * deviation
        low, high = np.percentile(values, (self.low, self.high))
        return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))

    def scale(self, values: np.ndarray, path: Path) -> np.ndarray:
        """Scale intensities to uint8 by their own statistics; a constant array becomes 0 unless the rule is a window.

        Args:
            values: intensities of one channel, any shape; a volume is scaled as a whole.
            path: path of the file, for the message.

        Raises:
            InputError: a value is NaN or infinite.
        """
        values = require_finite(values, path)
        return to_uint8(values, *self.limits(values))

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as JSON: kind, low and high."""
        return asdict(self)

    def __str__(self) -> str:
        """Describe the rule in words."""
        pair = f"{self.low:g} and {self.high:g}"
        if self.kind == "z-score":
            return f"mean {self.low:+g} and {self.high:+g} standard deviations map to 0 and 255, clipped"
        return f"{'percentiles ' * (self.kind == 'percentiles')}{pair} map to 0 and 255, clipped"


PERCENTILES = IntensityRule("percentiles", 0.5, 99.5)


def read_intensity_rule(option: Any) -> IntensityRule:
    """Read a rule from an option: [low, high], {window: [low, high]}, {percentiles: [low, high]} or {z-score: deviations}.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(option, list):
        option = {"window": option}
    if isinstance(option, dict) and len(option) == 1:
        ((kind, value),) = option.items()
        if kind == "z-score" and not isinstance(value, list):
            value = [-value, value] if type(value) in (int, float) else None
        if kind in get_args(Kind) and isinstance(value, list) and len(value) == 2:
            return IntensityRule(kind, *value)
    raise InputError(
        "expected an intensity rule [low, high], {window: [low, high]}, {percentiles: [low, high]} or {z-score: deviations}, "
        f"but got {option!r}"
    )


def require_finite(values: np.ndarray, path: Path) -> np.ndarray:
    """Return intensities as float64, or raise InputError if one is NaN or infinite."""
    values = values.astype(np.float64)
    if bad := int((~np.isfinite(values)).sum()):
        raise InputError(f"expected finite intensities in {path}, but {bad} of {values.size} are NaN or infinite; repair the file")
    return values


def scale_to_window(values: np.ndarray, low: float, high: float, path: Path) -> np.ndarray:
    """Scale intensities to uint8: `low` becomes 0, `high` 255, and values outside are clipped.

    Raises:
        InputError: a value is NaN or infinite.
    """
    return to_uint8(require_finite(values, path), low, high)


def to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale finite intensities to uint8; all become 0 where `low` and `high` are equal."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)

"""What a rule sees of one candidate: a score with its error, and the source accuracy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medtransfer.metrics.jackknife import deviations
from medtransfer.records import Score

FIELDS = ("value", "error", "source_accuracy", "replicates")


@dataclass(frozen=True)
class Observation:
    """One candidate as a rule sees it.

    Attributes:
        value: the score; higher is better.
        error: its standard error; None if unknown.
        source_accuracy: accuracy on the source images, in [0, 1]; None if unknown.
        replicates: scores without each block of images, the same blocks for all candidates, from which the error of a
            difference of two scores follows; empty if there are none.
    """

    value: float
    error: float | None = None
    source_accuracy: float | None = None
    replicates: Sequence[float] = field(default=(), repr=False)

    @classmethod
    def of(cls, seen: "float | Mapping[str, Any] | Score | Observation") -> "Observation":
        """Convert a number, a score with its error, or a mapping with the names of the attributes.

        Raises:
            ValueError: the mapping lacks `value`, or has another name, or something is no number.
        """
        if isinstance(seen, Observation):
            return seen
        if isinstance(seen, Score):
            return cls(seen.number, seen.error, replicates=seen.replicates)
        if not isinstance(seen, Mapping):
            return cls(_number(seen, "the score"))
        if "value" not in seen or not set(seen) <= set(FIELDS):
            raise ValueError(f"expected `value` and, if known, {', '.join(FIELDS[1:])}, but got {', '.join(map(str, seen))}")
        value, replicates = _number(seen["value"], "`value`"), seen.get("replicates")
        known = {name: _number(seen[name], f"`{name}`") for name in FIELDS[1:3] if seen.get(name) is not None}
        return cls(value, **known, replicates=_numbers(() if replicates is None else replicates, "`replicates`"))

    def negated(self) -> "Observation":
        """Return the observation with the opposite score, for scores of which lower ones are better."""
        return replace(self, value=-self.value, replicates=[-value for value in self.replicates])

    def check(self, name: str) -> None:
        """Raise ValueError unless all numbers are finite and the error is not negative.

        Args:
            name: of the candidate, for the message.
        """
        numbers = [number for number in (self.value, self.error, self.source_accuracy) if number is not None]
        if not all(map(math.isfinite, [*numbers, *self.replicates])) or (self.error or 0) < 0:
            raise ValueError(f"expected finite numbers and an error of at least 0 of {name}, but got {self}")


def _number(value: Any, name: str) -> float:
    """Return a number, or the one of an array or tensor, as a plain float."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):  # no number, or several
        got = f"an array of the shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
        raise ValueError(f"expected {name} as a number, but got {got}; pass a single number") from None


def _numbers(values: Any, name: str) -> list[float]:
    try:
        return [_number(value, name) for value in values]
    except TypeError:
        raise ValueError(f"expected {name} as a list of numbers, but got {values!r}") from None


def rise(before: Observation, after: Observation) -> tuple[float, float]:
    """Return the difference of two scores and its standard error.

    With replicates of the same blocks the error is that of the paired differences. Without, the scores count as
    independent, which overstates the error of scores of the same images.

    Raises:
        ValueError: there are neither replicates nor errors.
    """
    gain = after.value - before.value
    if len(before.replicates) > 1 and len(before.replicates) == len(after.replicates):
        gains = np.asarray(after.replicates, dtype=np.float64) - np.asarray(before.replicates, dtype=np.float64)
        return gain, float(np.linalg.norm(deviations(gains)))
    if before.error is None or after.error is None:
        raise ValueError("expected standard errors or replicates of both scores, but got none")
    return gain, math.hypot(before.error, after.error)

"""Result of an evaluation: metrics of a test set, and values of every sample."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a test set by name, and one row per sample: its image, its group and its values.

    Attributes:
        intervals: one row per metric with its interval over patients; empty where they are not computed.
        constant: the primary metric of the best prediction that is the same everywhere; None where that is the metric's chance.
    """

    metrics: dict[str, float]
    per_sample: list[dict[str, Any]]
    intervals: list[dict[str, Any]] = field(default_factory=list)
    constant: float | None = None

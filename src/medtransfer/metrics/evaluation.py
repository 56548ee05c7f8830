"""Result of an evaluation: metrics of a test set, and values of every sample."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a test set by name, and one row per sample: its image, its group and its values.

    Attributes:
        intervals: one row per metric with its interval over patients; empty where they are not computed.
    """

    metrics: dict[str, float]
    per_sample: list[dict[str, Any]]
    intervals: list[dict[str, Any]] = field(default_factory=list)

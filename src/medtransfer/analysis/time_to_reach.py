"""How many optimiser steps fine-tunings take to the same result, and what transferring a decoder gains.

Source: Dippel et al. 2022, figure 4, who show that a pretrained decoder learns faster and ends at the same Dice. All scenarios of a
target must have the same training images, recipe and length.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from medtransfer.metrics.comparison import Interval
from medtransfer.metrics.uncertainty import mean_interval

SHARE = 0.95  # of the way from chance to the highest final mean: what counts as reached
Curve = Mapping[int, float]  # value by step


@dataclass(frozen=True)
class Reached:
    """When the runs of one scenario reach a level.

    Attributes:
        steps: first step of every run whose value is at least the level, in the order of the runs; None where it never is.
        mean: mean of the steps; None unless every run reaches the level, since those that do are the fast ones.
        interval: Student's interval of the mean; None likewise, and of one run.
    """

    steps: tuple[int | None, ...]
    mean: float | None
    interval: Interval | None

    @property
    def count(self) -> int:
        """Runs that reach the level."""
        return sum(step is not None for step in self.steps)


def level_of(finals: Iterable[Sequence[float]], chance: float = 0.0) -> float:
    """Return the level that counts as reached: SHARE of the way from chance to the highest mean of a scenario's final values."""
    return chance + SHARE * (max(fmean(values) for values in finals) - chance)


def time_to_reach(curves: Sequence[Curve], level: float, confidence: float) -> Reached:
    """Return when runs reach a level; between two points of a curve it counts at the later one.

    Args:
        curves: value by step of every run.
        level: the level.
        confidence: coverage of the interval.
    """
    steps = tuple(min((step for step, value in curve.items() if value >= level), default=None) for curve in curves)
    reached = [float(step) for step in steps if step is not None]
    if len(reached) < len(steps) or not steps:
        return Reached(steps, None, None)
    return Reached(steps, fmean(reached), mean_interval(reached, confidence, 0.0) if len(reached) > 1 else None)


@dataclass(frozen=True)
class Gain:
    """What a decoder gains: mean of the differences of runs with and without it, over the seeds of both.

    Attributes:
        mean: the mean difference.
        interval: its Student interval; None of one seed.
        n: seeds of both.
    """

    mean: float
    interval: Interval | None
    n: int


def gain_of(values: Mapping[object, float], others: Mapping[object, float], confidence: float) -> Gain | None:
    """Return the mean difference of values to others by seed; None if they share none."""
    gains = [value - others[seed] for seed, value in values.items() if seed in others]
    if not gains:
        return None
    return Gain(fmean(gains), mean_interval(gains, confidence) if len(gains) > 1 else None, len(gains))

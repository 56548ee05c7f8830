"""How many optimiser steps fine-tunings take to the same result, and what transferring a decoder gains.

Source: Dippel et al. 2022, figure 4, who show that a pretrained decoder learns faster and ends at the same Dice. All scenarios of a
target must have the same training images, recipe and length.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from medtransfer.analysis.by_size import Repeats, paired_gains
from medtransfer.metrics.comparison import Interval
from medtransfer.metrics.uncertainty import mean_interval

SHARE = 0.95  # of the way from chance to the highest final mean: what counts as reached
Curve = Mapping[int, float]  # value by step


@dataclass(frozen=True)
class Reached:
    """When the repetitions of one scenario reach a level.

    Attributes:
        steps: first step of every repetition at which its value is at least the level, the mean over its seeds, in the order of
            the repetitions; None where a seed never reaches it.
        mean: mean of the steps; None unless every repetition reaches the level, since those that do are the fast ones.
        interval: Student's interval of the mean; None likewise, and of one repetition.
    """

    steps: tuple[float | None, ...]
    mean: float | None
    interval: Interval | None

    @property
    def count(self) -> int:
        """Repetitions that reach the level."""
        return sum(step is not None for step in self.steps)


def mean_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """Return the mean of curves at the steps that all have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: fmean(curve[step] for curve in curves) for step in steps}


def level_of(finals: Iterable[Sequence[float]], chance: float = 0.0) -> float:
    """Return the level that counts as reached: SHARE of the way from chance to the highest mean of a scenario's final values."""
    return chance + SHARE * (max(fmean(values) for values in finals) - chance)


def time_to_reach(repetitions: Sequence[Sequence[Curve]], level: float, confidence: float) -> Reached:
    """Return when repetitions reach a level; between two points of a curve it counts at the later one.

    Args:
        repetitions: value by step of every run; the seeds of a fold are one repetition, without folds each seed is.
        level: the level.
        confidence: coverage of the interval, which ends at 0 and at the last step of the curves.
    """
    steps = tuple(_mean_of_all([_first(curve, level) for curve in curves]) for curves in repetitions)
    reached = [step for step in steps if step is not None]
    if len(reached) < len(steps) or not steps:
        return Reached(steps, None, None)
    last = float(max(max(curve) for curves in repetitions for curve in curves))
    return Reached(steps, fmean(reached), mean_interval(reached, confidence, 0.0, last) if len(reached) > 1 else None)


def _first(curve: Curve, level: float) -> int | None:
    return min((step for step, value in curve.items() if value >= level), default=None)


def _mean_of_all(steps: Sequence[int | None]) -> float | None:
    known = [step for step in steps if step is not None]
    return fmean(known) if len(known) == len(steps) else None


@dataclass(frozen=True)
class Gain:
    """What a decoder gains: mean of the differences of runs with and without it, over the seeds and folds of both.

    Attributes:
        mean: the mean difference.
        interval: its Student interval; None of one repetition.
        n: repetitions of both, the folds or else the seeds.
    """

    mean: float
    interval: Interval | None
    n: int


def gain_of(outcomes: Repeats, others: Repeats, confidence: float) -> Gain | None:
    """Return the mean difference of outcomes to others by fold and seed; None if they share none."""
    gains = paired_gains(outcomes, others)
    if not gains:
        return None
    return Gain(fmean(gains), mean_interval(gains, confidence) if len(gains) > 1 else None, len(gains))

"""Steps between neighbouring checkpoints: where robustness and the outcome move in the same direction, and where not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from medtransfer.analysis.model import Interval
from medtransfer.explain.cases import Case
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.metrics.comparison import TIE, holm
from medtransfer.metrics.uncertainty import mean_interval
from medtransfer.progress import track

Relation = Literal["agree", "part", "undecided"]


@dataclass(frozen=True)
class Step:
    """Changes from one checkpoint to the next.

    Attributes:
        configuration: name of the pool.
        level: of the robustness.
        start: epoch before.
        end: epoch after.
        outcome: mean change of the outcome over seeds that both have.
        outcome_interval: Student's interval of it, over these seeds; None of a single seed.
        robustness: change of robustness.
        robustness_interval: interval of it, over groups of images; None without per-image distances.
        outcome_p: p-value that the outcome does not change, by the t test of the interval; None of a single seed. `list_steps`
            corrects it for the number of steps of the level (Holm).
        robustness_p: likewise of robustness; None without per-image distances.
        alpha: p-value below which a change is seen.
    """

    configuration: str
    level: int
    start: int
    end: int
    outcome: float
    outcome_interval: Interval | None
    robustness: float
    robustness_interval: Interval | None
    outcome_p: float | None
    robustness_p: float | None
    alpha: float

    @property
    def same_direction(self) -> bool:
        """Whether both estimates have the same sign; changes that are rounding of equal values have none."""
        return bool(_sign(self.outcome) == _sign(self.robustness))

    @property
    def is_seen(self) -> bool:
        """Whether the outcome's change can be told from chance, corrected for the number of steps."""
        return self.outcome_p is not None and self.outcome_p < self.alpha

    @property
    def relation(self) -> Relation:
        """`agree` or `part` where both changes are seen, `undecided` otherwise.

        Where robustness has no interval, as in replayed results, its change counts as seen.
        """
        robustness_seen = _sign(self.robustness) != 0 if self.robustness_p is None else self.robustness_p < self.alpha
        if not self.is_seen or not robustness_seen:
            return "undecided"
        return "agree" if self.same_direction else "part"


def list_steps(cases: Sequence[Case], confidence: float) -> list[Step]:
    """List the steps of every configuration and level, the last level first.

    Args:
        cases: the configurations.
        confidence: coverage of each interval, and of all changes of a level that are said to be seen, together.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    tracked = track(cases, "explain: steps", len(cases), "configurations")
    steps = [step for case in tracked for level in case.levels for step in _steps(case, level, confidence)]
    outcome: dict[int, Iterator[float]] = {}
    robustness: dict[int, Iterator[float]] = {}
    for level in {step.level for step in steps}:
        same = [step for step in steps if step.level == level]
        outcome[level] = iter(holm([step.outcome_p for step in same if step.outcome_p is not None]))
        robustness[level] = iter(holm([step.robustness_p for step in same if step.robustness_p is not None]))
    return [
        replace(
            step,
            outcome_p=None if step.outcome_p is None else next(outcome[step.level]),
            robustness_p=None if step.robustness_p is None else next(robustness[step.level]),
        )
        for step in steps
    ]


def _steps(case: Case, level: int, confidence: float) -> Iterator[Step]:
    robustness = case.values.get((ROBUSTNESS, level), {})
    epochs = sorted(epoch for epoch in robustness if epoch in case.pool.means)
    for start, end in pairwise(epochs):
        gains = _gains(case, start, end)
        rise = case.rises.get(level, {}).get(end)
        bounds, robustness_p = None, None
        if rise is not None and np.isfinite(rise.error):
            half = float(stats.t.ppf((1 + confidence) / 2, rise.groups - 1)) * rise.error
            bounds = (rise.value - half, rise.value + half)
            robustness_p = _p_value(rise.value, rise.error, rise.groups)
        yield Step(
            case.pool.name, level, start, end, float(np.mean(gains)), mean_interval(gains, confidence) if len(gains) > 1 else None,
            robustness[end] - robustness[start], bounds,
            _p_value(float(np.mean(gains)), float(stats.sem(gains)), len(gains)) if len(gains) > 1 else None, robustness_p,
            round(1 - confidence, 12),
        )  # fmt: skip


def _sign(change: float) -> int:
    return 0 if abs(change) <= TIE else 1 if change > 0 else -1


def _p_value(value: float, error: float, count: int) -> float:
    """Return the two-sided p-value of a t test that a mean of `count` values is 0; 1 where they are all equal.

    Equal values, such as those of all seeds where a head is solved for, say nothing about how others would be.
    """
    return float(2 * stats.t.sf(abs(value) / error, count - 1)) if error > TIE else 1.0


def _gains(case: Case, start: int, end: int) -> list[float]:
    """Return the change of the outcome by seed; that of the means where no seed is common."""
    outcome = case.pool.outcome
    paired = [
        outcome[end, seed] - outcome[start, seed] for seed in case.pool.seeds if {(start, seed), (end, seed)} <= outcome.keys()
    ]
    return paired or [case.pool.means[end] - case.pool.means[start]]

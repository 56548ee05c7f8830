"""Steps between neighbouring checkpoints: where robustness and the outcome move in the same direction, and where not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from medtransfer.analysis.model import Interval
from medtransfer.explain.cases import Case
from medtransfer.explain.quantities import ROBUSTNESS
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
    """

    configuration: str
    level: int
    start: int
    end: int
    outcome: float
    outcome_interval: Interval | None
    robustness: float
    robustness_interval: Interval | None

    @property
    def same_direction(self) -> bool:
        """Whether both estimates have the same sign."""
        return bool(np.sign(self.outcome) == np.sign(self.robustness))

    @property
    def is_seen(self) -> bool:
        """Whether the interval of the outcome's change lies on one side of zero."""
        return _direction(self.outcome_interval) != 0

    @property
    def relation(self) -> Relation:
        """`agree` or `part` where both changes are seen, `undecided` otherwise.

        Where robustness has no interval, as in replayed results, its change counts as seen.
        """
        outcome = _direction(self.outcome_interval)
        robustness = _direction(self.robustness_interval) if self.robustness_interval else int(np.sign(self.robustness))
        if not outcome or not robustness:
            return "undecided"
        return "agree" if outcome == robustness else "part"


def _direction(interval: Interval | None) -> int:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if interval[0] > 0 else -1


def list_steps(cases: Sequence[Case], confidence: float) -> list[Step]:
    """List the steps of every configuration and level, the last level first.

    Args:
        cases: the configurations.
        confidence: coverage of the intervals.
    """
    tracked = track(cases, "explain: steps", len(cases), "configurations")
    return [step for case in tracked for level in case.levels for step in _steps(case, level, confidence)]


def _steps(case: Case, level: int, confidence: float) -> Iterator[Step]:
    robustness = case.values.get((ROBUSTNESS, level), {})
    epochs = sorted(epoch for epoch in robustness if epoch in case.pool.means)
    for start, end in pairwise(epochs):
        gains = _gains(case, start, end)
        rise = case.rises.get(level, {}).get(end)
        bounds = None
        if rise is not None and np.isfinite(rise.error):
            half = float(stats.t.ppf((1 + confidence) / 2, rise.groups - 1)) * rise.error
            bounds = (rise.value - half, rise.value + half)
        yield Step(
            case.pool.name, level, start, end, float(np.mean(gains)), mean_interval(gains, confidence) if len(gains) > 1 else None,
            robustness[end] - robustness[start], bounds,
        )  # fmt: skip


def _gains(case: Case, start: int, end: int) -> list[float]:
    """Return the change of the outcome by seed; that of the means where no seed is common."""
    outcome = case.pool.outcome
    paired = [
        outcome[end, seed] - outcome[start, seed] for seed in case.pool.seeds if {(start, seed), (end, seed)} <= outcome.keys()
    ]
    return paired or [case.pool.means[end] - case.pool.means[start]]

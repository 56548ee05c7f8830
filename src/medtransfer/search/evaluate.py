"""Scores and Dice of configurations go in; what a setting of robustness would choose in each, and its TIS, come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.selectors.rules import Best, FirstDrop

Key = tuple[str, int, bool]  # distance, level counted from the end, pooled


@dataclass(frozen=True, order=True)
class Setting:
    """A way to compute robustness; `pooling` is `frozen` (pooled where the encoder is frozen downstream), `always` or `never`."""

    distance: str
    margin: float
    level: int
    pooling: str

    def key(self, mode: str) -> Key:
        """Give which distances serve a mode of fine-tuning."""
        return self.distance, self.level, POOLED[self.pooling][mode]

    def __str__(self) -> str:
        return f"{self.distance}, margin {self.margin:.4g}, level {self.level}, pooling {self.pooling}"


class Curve(Protocol):
    """Robustness of one checkpoint by margin."""

    def robustness(self, margin: float) -> float:
        """Give the robustness at a margin."""


class SortedGaps:
    """The gaps d_pos - d_neg of a checkpoint's images, in order and summed from the end: any margin is one binary search."""

    def __init__(self, d_pos: ArrayLike, d_neg: ArrayLike) -> None:
        """Sort the gaps of distances (N,) or (R, N)."""
        self.gaps = np.sort((np.asarray(d_pos, np.float64) - np.asarray(d_neg, np.float64)).ravel())  # (R * N,)
        self.sums = np.append(np.cumsum(self.gaps[::-1])[::-1], 0.0)  # sums[i] = gaps[i] + gaps[i + 1] + ...

    def robustness(self, margin: float) -> float:
        """Compute 1 - mean max(0, gap + margin), Eq. 3: only the gaps above -margin have a loss."""
        first = int(self.gaps.searchsorted(-margin, side="right"))
        total = len(self.gaps)
        return 1.0 - float(self.sums[first] + margin * (total - first)) / total


@dataclass(frozen=True)
class Listed:
    """Robustness that is known at some margins only."""

    by_margin: Mapping[float, float]

    def robustness(self, margin: float) -> float:
        """Give the robustness at a listed margin."""
        return self.by_margin[margin]


@dataclass(frozen=True)
class Outcome:
    """TIS of the checkpoints that robustness chooses offline and online in one configuration."""

    offline: float
    online: float


@dataclass(frozen=True)
class Case:
    """One configuration, ready to be judged at any setting.

    Attributes:
        name: readable.
        encoder: family of its checkpoints.
        target: what it was fine-tuned on.
        mode: of transfer, a key of MODES.
        tis: of every checkpoint, by epoch.
        scores: robustness by key and epoch; epoch 0 takes part where it has a score.
        fingerprint: digest of the Dice and scores that the search looks at.
    """

    name: str
    encoder: str
    target: str
    mode: str
    tis: Mapping[int, float]
    scores: Mapping[Key, Mapping[int, Curve]]
    fingerprint: str

    @property
    def full(self) -> float:
        """Give the TIS of the last checkpoint."""
        return self.tis[max(self.tis)]

    @property
    def none(self) -> float | None:
        """Give the TIS of the random initialisation, None where it was not fine-tuned."""
        return self.tis.get(0)

    def judge(self, setting: Setting) -> Outcome:
        """Choose by the setting's robustness, offline and online; a KeyError where it was not measured."""
        curves = self.scores[setting.key(self.mode)]
        scores = {epoch: curve.robustness(setting.margin) for epoch, curve in curves.items()}
        return Outcome(self.tis[Best.choose(scores).candidate], self.tis[FirstDrop.choose(scores).candidate])


class Evaluator:
    """Judges all cases at a setting, each setting once."""

    def __init__(self, cases: Sequence[Case]) -> None:
        """Take the cases; all answers keep their order."""
        self.cases = tuple(cases)
        self._known: dict[Setting, tuple[Outcome, ...]] = {}

    def outcomes(self, setting: Setting) -> tuple[Outcome, ...]:
        """Give the outcome of every case."""
        if setting not in self._known:
            self._known[setting] = tuple(case.judge(setting) for case in self.cases)
        return self._known[setting]

    def mean_tis(self, setting: Setting, places: Sequence[int], rule: str = "offline") -> float:
        """Average the TIS of the rule, `offline` or `online`, over the cases at the given places."""
        outcomes = self.outcomes(setting)
        return sum(getattr(outcomes[place], rule) for place in places) / len(places)

    def __reduce__(self) -> "tuple[type[Evaluator], tuple[tuple[Case, ...]]]":
        """Go to another process without what is known."""
        return Evaluator, (self.cases,)

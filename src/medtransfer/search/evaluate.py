"""Scores and Dice of configurations go in; what a setting of robustness would choose in each, and its TIS, come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medtransfer.indicators.robustness.setting import RobustnessSetting as Setting
from medtransfer.selectors.rules import Best, FirstDrop
from medtransfer.tasks.modes import MODES

Key = tuple[str, int, bool]  # distance, level counted from the end, pooled


class Curve(Protocol):
    """Robustness of one checkpoint by margin."""

    def robustness(self, margin: float) -> float:
        """Give the robustness at a margin."""


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
        curves = self.scores[setting.key(MODES[self.mode].encoder_frozen)]
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

"""TIS of the checkpoints that a score chooses, for every configuration and setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.progress import track
from medtransfer.search.settings import IndicatorSetting, Tried
from medtransfer.selectors.rules import RULES
from medtransfer.tasks.contract import Metric

Key = tuple[str, int, bool]  # distance, level counted from the end, pooled
Values = NDArray[np.float64]

OBJECTIVE = "best"  # the rule whose mean TIS a search maximises
JUDGED = {name: RULES[name] for name in (OBJECTIVE, "first-drop", "keep-stop")}  # those that need scores alone and no parameter


class Curve(Protocol):
    """Robustness of one checkpoint by margin."""

    def robustness(self, margins: Values) -> Values:
        """Return the robustness at margins (M,)."""


@dataclass(frozen=True)
class Measured:
    """Settings at which stored scores exist.

    Attributes:
        pairs: (distance, level) at which every epoch was scored, pooled and flattened.
        margins: scored margins; None if every margin can be computed.
    """

    pairs: frozenset[tuple[str, int]]
    margins: frozenset[float] | None = None

    def covers(self, setting: RobustnessSetting) -> bool:
        """Return whether a setting can be judged."""
        return (setting.distance, setting.level) in self.pairs and (self.margins is None or setting.margin in self.margins)

    @property
    def distances(self) -> list[str]:
        """Names of the distances."""
        return sorted({distance for distance, _ in self.pairs})

    @property
    def levels(self) -> list[int]:
        """Levels, the last first."""
        return sorted({level for _, level in self.pairs}, reverse=True)


@dataclass(frozen=True)
class Case:
    """One configuration with all that judging it at a setting needs.

    Attributes:
        name: readable name.
        encoder: name of the encoder.
        target: name of the target.
        mode: mode of transfer, a key of MODES.
        weights: what configurations of the same pretraining share.
        tis: TIS of every checkpoint, by epoch.
        scores: robustness by key and epoch; epoch 0 can be chosen only if it has a score.
        measured: settings at which there is robustness.
        metric: label of the metric that TIS compares.
        indicators: scores of other indicators by setting and epoch, likewise.
    """

    name: str
    encoder: str
    target: str
    mode: str
    weights: str
    tis: Mapping[int, float]
    scores: Mapping[Key, Mapping[int, Curve]]
    measured: Measured
    metric: Metric
    indicators: Mapping[IndicatorSetting, Mapping[int, float]] = field(default_factory=dict)

    @property
    def full(self) -> float:
        """TIS of the last checkpoint."""
        return self.tis[max(self.tis)]

    @property
    def none(self) -> float | None:
        """TIS of the random initialisation; None if it was not fine-tuned."""
        return self.tis.get(0)

    def judge(self, key: Key, margins: Values) -> dict[str, Values]:
        """Choose a checkpoint by robustness at each margin.

        Args:
            key: distance, level and pooling of the robustness.
            margins: (M,).

        Returns:
            TIS (M,) of the chosen checkpoints, by rule.
        """
        curves = self.scores[key]
        epochs = sorted(curves)
        return self._choose(np.stack([curves[epoch].robustness(margins) for epoch in epochs], axis=-1), epochs)

    def judge_indicator(self, setting: IndicatorSetting) -> dict[str, Values]:
        """Choose a checkpoint by another indicator.

        Returns:
            TIS (1,) of the chosen checkpoint, by rule.
        """
        scores = self.indicators[setting]
        epochs = sorted(scores)
        return self._choose(setting.sign * np.array([[scores[epoch] for epoch in epochs]]), epochs)

    def _choose(self, scores: Values, epochs: Sequence[int]) -> dict[str, Values]:
        """Return the TIS (M,) of the choices by scores (M, E), by rule."""
        tis = np.array([self.tis[epoch] for epoch in epochs])
        return {name: tis[rule.choose_many(scores, epochs)] for name, rule in JUDGED.items()}


@dataclass(frozen=True)
class Table:
    """TIS of every case at every setting.

    Attributes:
        cases: C configurations.
        settings: S settings of robustness or other indicators.
        tis: (S, C) by rule.
    """

    cases: tuple[Case, ...]
    settings: tuple[Tried, ...]
    tis: Mapping[str, Values]

    def mean(self, cases: Sequence[int], rule: str = OBJECTIVE) -> Values:
        """Average a rule's TIS over some cases, (S,), adding them one by one so that equal columns give equal bits."""
        return np.asarray(sum(self.tis[rule][:, case] for case in cases) / len(cases))

    def cases_by_target(self) -> dict[str, list[int]]:
        """Positions of the cases of each target, targets in alphabetical order."""
        targets = sorted({case.target for case in self.cases})
        return {target: [i for i, case in enumerate(self.cases) if case.target == target] for target in targets}


def tabulate(cases: Sequence[Case], settings: Sequence[Tried]) -> Table:
    """Judge every case at every setting.

    Raises:
        KeyError: a score was not measured at a setting.
    """
    tis = {rule: np.empty((len(settings), len(cases))) for rule in JUDGED}
    rows: dict[tuple[str, int, str] | IndicatorSetting, list[int]] = {}  # settings that differ in the margin are judged together
    for row, setting in enumerate(settings):
        same = setting if isinstance(setting, IndicatorSetting) else (setting.distance, setting.level, setting.pooling)
        rows.setdefault(same, []).append(row)
    for together in track(rows.values(), "search: trying settings", len(rows), "distances, levels and poolings"):
        for column, case in enumerate(cases):
            for rule, values in _judge(case, [settings[row] for row in together]).items():
                tis[rule][together, column] = values
    return Table(tuple(cases), tuple(settings), tis)


def _judge(case: Case, settings: Sequence[Tried]) -> dict[str, Values]:
    first = settings[0]
    if isinstance(first, IndicatorSetting):
        return case.judge_indicator(first)
    margins = [setting.margin for setting in settings if isinstance(setting, RobustnessSetting)]
    return case.judge(first.key(case.mode), np.array(margins))

"""TIS of the checkpoints that robustness chooses, for every configuration at every setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.robustness.setting import RobustnessSetting as Setting
from medtransfer.selectors.rules import RULES
from medtransfer.tasks.contract import Metric

Key = tuple[str, int, bool]  # distance, level counted from the end, pooled
Values = NDArray[np.float64]

OBJECTIVE = "best"  # the rule whose mean TIS a search maximises


class Curve(Protocol):
    """Robustness of one checkpoint by margin."""

    def robustness(self, margins: Values) -> Values:
        """Return the robustness at margins (M,)."""


@dataclass(frozen=True)
class Measured:
    """What stored scores allow.

    Attributes:
        pairs: (distance, level) at which every epoch was scored, pooled and flattened.
        margins: the only ones; None where every margin can be computed.
    """

    pairs: frozenset[tuple[str, int]]
    margins: frozenset[float] | None = None

    def covers(self, setting: Setting) -> bool:
        """Whether a setting can be judged."""
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
    """One configuration, ready to be judged at any setting.

    Attributes:
        name: readable.
        encoder: family of its checkpoints.
        target: what it was fine-tuned on.
        mode: of transfer, a key of MODES.
        tis: of every checkpoint, by epoch.
        scores: robustness by key and epoch; epoch 0 takes part where it has a score.
        measured: at which settings there are scores.
        metric: that TIS compares.
    """

    name: str
    encoder: str
    target: str
    mode: str
    tis: Mapping[int, float]
    scores: Mapping[Key, Mapping[int, Curve]]
    measured: Measured
    metric: Metric

    @property
    def full(self) -> float:
        """TIS of the last checkpoint."""
        return self.tis[max(self.tis)]

    @property
    def none(self) -> float | None:
        """TIS of the random initialisation, None where it was not fine-tuned."""
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
        scores = np.stack([curves[epoch].robustness(margins) for epoch in epochs], axis=-1)  # (M, E)
        tis = np.array([self.tis[epoch] for epoch in epochs])
        return {name: tis[rule.choose_many(scores, epochs)] for name, rule in RULES.items()}


@dataclass(frozen=True)
class Table:
    """TIS of every case at every setting: all that a search has to know.

    Attributes:
        cases: C configurations.
        settings: S ways to compute robustness.
        tis: (S, C) by rule.
    """

    cases: tuple[Case, ...]
    settings: tuple[Setting, ...]
    tis: Mapping[str, Values]

    def mean(self, cases: Sequence[int], rule: str = OBJECTIVE) -> Values:
        """Average a rule's TIS over some cases, (S,); they are added one by one, so equal columns give equal bits."""
        return np.asarray(sum(self.tis[rule][:, case] for case in cases) / len(cases))

    def cases_by_target(self) -> dict[str, list[int]]:
        """Positions of the cases of each target, targets in alphabetical order."""
        targets = sorted({case.target for case in self.cases})
        return {target: [i for i, case in enumerate(self.cases) if case.target == target] for target in targets}


def tabulate(cases: Sequence[Case], settings: Sequence[Setting]) -> Table:
    """Judge every case at every setting; a KeyError where robustness was not measured."""
    tis = {rule: np.empty((len(settings), len(cases))) for rule in RULES}
    rows: dict[tuple[str, int, str], list[int]] = {}
    for row, setting in enumerate(settings):
        rows.setdefault((setting.distance, setting.level, setting.pooling), []).append(row)
    for same in rows.values():
        margins = np.array([settings[row].margin for row in same])
        for column, case in enumerate(cases):
            for rule, values in case.judge(settings[same[0]].key(case.mode), margins).items():
                tis[rule][same, column] = values
    return Table(tuple(cases), tuple(settings), tis)

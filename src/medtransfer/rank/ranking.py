"""The ranking of measured candidates by every indicator, with what they have in common and the baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from medtransfer.analysis.history import History
from medtransfer.analysis.ranking import Array, Standing, agreement, null_spread, stand
from medtransfer.hashing import canonical_json
from medtransfer.indicators.registry import INDICATORS
from medtransfer.rank.candidates import RANDOM, architecture_key
from medtransfer.records.feature_map import FeatureMap
from medtransfer.records.ranked import RankedCandidate
from medtransfer.records.scores import Score
from medtransfer.seeds import derive_seed


def reliable(row: Score) -> float:
    """Return the value of a score, NaN where it is undefined or measured on broken embeddings."""
    return math.nan if row.flags.get("nonfinite") else row.number


@dataclass(frozen=True)
class Ranking:
    """Candidates by indicator.

    Attributes:
        target: name of the target.
        mode: mode of transfer that is predicted.
        candidates: what was measured.
        by: indicator that the verdict rests on; None where the target has no labels for it.
        confidence: coverage of intervals and sets.
        draws: draws of P(best).
        seed: seed of the draws.
        eta: factor of the race that would prune by the ranking.
        left_out: why a candidate could not be measured, by name.
        histories: what other targets say about each candidate; empty if that was not looked up.
        outcomes: mean outcome of fine-tuning each candidate on this target, NaN where unknown; empty if none is known.
        seeds: least number of seeds of an outcome.
        other_recipe: whether the outcomes are those of another recipe than the params'.
        metric: name in texts of the metric that outcomes are of; empty if that was not looked up.
        least: outcome up to which models learned nothing.
        maps: features of the images in the plane, by candidate; empty where images have no label of their own.
        labelled: whether the target's labels are those of whole images.
        prepared: whether the target can be fine-tuned on as it is, unlike a folder of images.
    """

    target: str
    mode: str
    candidates: Sequence[RankedCandidate]
    by: str | None
    confidence: float
    draws: int
    seed: int
    eta: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    histories: Sequence[History] = ()
    outcomes: Sequence[float] = ()
    seeds: int = 0
    other_recipe: bool = False
    metric: str = ""
    least: float = 0.0
    maps: Mapping[str, FeatureMap] = field(default_factory=dict)
    labelled: bool = False
    prepared: bool = True

    @property
    def indicators(self) -> list[str]:
        """Names of the measured indicators."""
        return [row.indicator for row in self.candidates[0].rows]

    @cached_property
    def rows(self) -> dict[str, list[Score]]:
        """Scores of the candidates, by indicator."""
        return {name: [_row(candidate, name) for candidate in self.candidates] for name in self.indicators}

    def values(self, name: str) -> Array:
        """Return the values of the candidates, (C,), NaN where undefined or measured on broken embeddings."""
        return self._values[name]

    @cached_property
    def _values(self) -> dict[str, Array]:
        return {name: np.array([reliable(row) for row in self.rows[name]]) for name in self.indicators}

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """How the candidates stand, by indicator; one that compares only within a width ranks each width apart."""
        return {name: self._stand(name) for name in self.indicators}

    def _stand(self, name: str) -> Standing:
        sign = 1 if INDICATORS[name].higher_is_better else -1
        values, parts = sign * self.values(name), self.widths(name)
        replicates = [row.replicates for row in self.rows[name]]
        blocks = max(map(len, replicates))
        full = np.array([r if len(r) == blocks else [np.nan] * blocks for r in replicates]).reshape(len(values), blocks)
        low, high, ranks, best = (np.full(len(values), np.nan) for _ in range(4))
        kept = np.zeros(len(values), dtype=bool)
        for width in np.unique(parts):
            chosen = np.flatnonzero(parts == width)
            rng = np.random.default_rng(derive_seed("rank", self.seed, name, int(width)))
            part = stand(values[chosen], sign * full[chosen], self.confidence, self.draws, rng)
            bounds = (part.low, part.high) if sign > 0 else (-part.high, -part.low)
            low[chosen], high[chosen] = np.clip(bounds, *INDICATORS[name].bounds)
            ranks[chosen], best[chosen], kept[chosen] = part.ranks, part.best, part.kept
        return Standing(low, high, ranks, best, kept)

    def widths(self, name: str) -> np.ndarray:
        """Return which candidates an indicator compares with each other, (C,): their widths, or 0 for all."""
        return self._widths if INDICATORS[name].within_width else np.zeros_like(self._widths)

    @cached_property
    def _widths(self) -> np.ndarray:
        return np.array([candidate.width for candidate in self.candidates])

    def is_comparable(self, name: str) -> bool:
        """Return whether an indicator compares all candidates with each other."""
        return len(np.unique(self.widths(name))) == 1

    @cached_property
    def agreements(self) -> dict[tuple[str, str], tuple[float, int]]:
        """Kendall's tau between indicators and the number of candidates that it rests on, by pair.

        An indicator that compares only within a width is left out where the candidates have several.
        """
        comparable = [name for name in self.indicators if self.is_comparable(name)]
        signed = {name: (1 if INDICATORS[name].higher_is_better else -1) * self.values(name) for name in comparable}
        return {
            (first, second): agreement(signed[first], signed[second])
            for index, first in enumerate(comparable) for second in comparable[index + 1 :]
        }  # fmt: skip

    @property
    def null_spread(self) -> float:
        """Standard deviation of Kendall's tau between unrelated rankings of the candidates."""
        return null_spread(len(self.candidates))

    @cached_property
    def order(self) -> list[int]:
        """Candidates in the order of the verdict's indicator, best first; as given where there is none."""
        if self.by is None:
            return list(range(len(self.candidates)))
        return np.argsort(self.standings[self.by].ranks, kind="stable").tolist()  # NaN last

    @property
    def kept(self) -> list[int]:
        """Candidates that cannot be distinguished from the best, best first; all where the verdict has no indicator."""
        return [index for index in self.order if not self.decides or self.standings[str(self.by)].kept[index]]

    @property
    def decides(self) -> bool:
        """Whether the verdict's indicator is defined for a candidate."""
        return self.by is not None and bool(np.isfinite(self.values(self.by)).any())

    def is_random(self, index: int) -> bool:
        """Return whether a candidate has random weights."""
        candidate = self.candidates[index]
        return candidate.kind == RANDOM or (candidate.epoch == 0 and not candidate.continues)

    @property
    def architectures(self) -> int:
        """Number of different architectures."""
        return len({architecture_key(candidate.build, canonical_json(candidate.arguments)) for candidate in self.candidates})

    @property
    def baselines(self) -> dict[str, list[int]]:
        """Candidates that ways of choosing without an indicator take, by way."""
        chosen: dict[str, list[int]] = {"last checkpoint": self._last()}
        accuracies = {i: c.source_accuracy for i, c in enumerate(self.candidates) if c.source_accuracy is not None}
        one_source = len({self.candidates[index].source for index in accuracies}) == 1  # else they do not compare
        highest = [index for index, accuracy in accuracies.items() if accuracy == max(accuracies.values())]
        chosen["source accuracy"] = highest if one_source and len(accuracies) > 1 else []
        past = {index: found.value for index, found in enumerate(self.histories) if found.value is not None}
        chosen["history"] = [index for index, value in past.items() if value == max(past.values())]
        chosen["random weights"] = [index for index in range(len(self.candidates)) if self.is_random(index)]
        return chosen

    def _last(self) -> list[int]:
        last: dict[str, int] = {}
        for index, candidate in enumerate(self.candidates):
            if candidate.series and (candidate.epoch or 0) >= (self.candidates[last.get(candidate.series, index)].epoch or 0):
                last[candidate.series] = index
        return list(last.values())


def _row(candidate: RankedCandidate, name: str) -> Score:
    return next(row for row in candidate.rows if row.indicator == name)

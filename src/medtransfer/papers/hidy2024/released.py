"""Recompute any printed cell from the released results, in any alignment of scores and Dice."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medtransfer.analysis.model import Sampling
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.metrics.uncertainty import estimate
from medtransfer.papers.hidy2024.printed import ROWS, Printed, Row
from medtransfer.papers.hidy2024.store import Released, rotated
from medtransfer.selectors.rules import RULES, Best

Key = tuple[str, str, str, str]  # encoder, target, mode, scheme
# Pooling rules for rows that do not specify pooling, in the order of trial: the first of equally good alignments wins.
INVERTED = {mode: not pooled for mode, pooled in POOLED["frozen"].items()}
POOLING = {"frozen": POOLED["frozen"], "inverted": INVERTED, **POOLED}
RULE = {"offline": "best", "online": "first-drop"}  # the paper's names


@dataclass(frozen=True)
class Alignment:
    """How scores and Dice are joined; by key unless a field says otherwise.

    Attributes:
        rotation: by scheme, how many positions the list of Dice is rotated to the left against that of the epochs.
        labels: by target, the target whose scores are used for it.
        pooling: rule of POOLING.
        copies: whether the copied scores of length 0 are used.
    """

    rotation: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    pooling: str = "frozen"
    copies: bool = False


KEYED = Alignment()


@dataclass(frozen=True)
class Value:
    """A recomputed cell.

    Attributes:
        value: the value at full precision.
        noise: its standard deviation over seeds with fixed choices, by target.
        ties: value if a tied epoch were chosen instead, by that epoch.
    """

    value: float
    noise: Mapping[str, float]
    ties: Mapping[int, float] = field(default_factory=dict)


class Missing(Exception):
    """A cell cannot be recomputed; the message says what the files lack."""


class Recomputed:
    """Recomputes the printed numbers from the results in the store."""

    def __init__(self, released: Released, sampling: Sampling) -> None:
        """Set up from the results in the store, and how intervals are drawn."""
        self.released, self.sampling = released, sampling
        self._cache: dict[tuple[object, ...], Value] = {}

    @cached_property
    def epochs(self) -> list[int]:
        """All pretraining lengths."""
        return sorted(int(epoch) for epoch in self.released.dice["epoch"].unique())

    @cached_property
    def _dice(self) -> dict[Key, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Mean Dice (E,) and its draws (draws, E) by complete configuration, in the order of the epochs."""
        complete = {}
        for key in self.released.keys:
            groups = self.released.tuned(*key).groupby("epoch")["dice"]
            values = {int(epoch): list(group) for epoch, group in groups}
            if sorted(values) == self.epochs and min(map(len, values.values())) > 1:
                known = estimate(values, apart={0})
                drawn = self.sampling.generator("/".join(key)).standard_normal((self.sampling.draws, len(values)))
                complete[key] = known.means, known.means + known.errors * drawn
        return complete

    @cached_property
    def _scores(self) -> dict[tuple[object, ...], dict[int, tuple[float, bool]]]:
        """(robustness, whether it is a copy) by epoch for each setting of each group."""
        columns = ["encoder", "scheme", "target", "distance", "margin", "level", "pooled"]
        return {
            key: {int(e): (float(r), bool(c)) for e, r, c in zip(table["epoch"], table["robustness"], table["copied"], strict=True)}
            for key, table in self.released.scores.groupby(columns)
        }

    def scores(self, key: Key, row: Row, alignment: Alignment) -> dict[int, float]:
        """Return a configuration's robustness by epoch at the setting of a row."""
        encoder, target, mode, scheme = key
        pooled = POOLING[alignment.pooling][mode] if row.pooled is None else row.pooled
        label = alignment.labels.get(target, target)
        table = self._scores.get((encoder, scheme, label, row.distance, row.margin, row.level, pooled), {})
        if missing := [str(epoch) for epoch in self.epochs if epoch not in table]:
            setting = f"{row.distance}, margin {row.margin}, level {row.level}, {'pooled' if pooled else 'flattened'}"
            raise Missing(f"no robustness of {encoder} {scheme} on {label} ({setting}) at length {', '.join(missing)}")
        return {epoch: value for epoch, (value, copy) in table.items() if alignment.copies or not copy}

    def dice(self, key: Key, alignment: Alignment) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean Dice (E,) and its draws (draws, E) in the order of an alignment."""
        if key not in self._dice:
            raise Missing(f"not every length of {' '.join(key)} has the Dice of two seeds")
        places = alignment.rotation.get(key[3], 0)
        if not places:
            return self._dice[key]
        moved_to = rotated(self.epochs, places)
        order = [self.epochs.index(epoch) for epoch in sorted(moved_to, key=lambda epoch: moved_to[epoch])]
        means, draws = self._dice[key]
        return means[order], draws[:, order]

    def cell(self, printed: Printed, alignment: Alignment) -> Value:
        """Recompute a printed cell.

        Raises:
            Missing: the files lack results that the cell needs.
        """
        row = ROWS[printed.row]
        keys = [key for key in self.released.keys if printed.covers(*key)]
        if not keys:
            names = (printed.encoder, printed.dataset, printed.mode, printed.scheme)
            raise Missing(f"no fine-tuning of {' '.join(name for name in names if name)}")
        if row.kind in {"best", "ratio"}:
            return self._dice_cell(row.kind, keys)
        values = [self._tis(key, row, alignment) for key in keys]
        tied = sorted({epoch for tis in values for epoch in tis.ties})
        ties = {epoch: sum(tis.ties.get(epoch, tis.value) for tis in values) / len(values) for epoch in tied}
        squares: dict[str, float] = defaultdict(float)  # configurations are trained independently
        for target, deviation in (part for tis in values for part in tis.noise.items()):
            squares[target] += deviation**2
        noise = {target: float(np.sqrt(square)) / len(values) for target, square in squares.items()}
        return Value(sum(tis.value for tis in values) / len(values), noise, ties)

    def _dice_cell(self, kind: str, keys: list[Key]) -> Value:
        dice = [self.dice(key, KEYED) for key in keys]
        means, draws = np.concatenate([mean for mean, _ in dice]), np.concatenate([drawn for _, drawn in dice], axis=1)
        best = draws.max(axis=1)
        if kind == "best":
            return Value(float(means.max()), {keys[0][1]: float(best.std())})
        return Value(float(means.min() / means.max()), {keys[0][1]: float((draws.min(axis=1) / best).std())})

    def _tis(self, key: Key, row: Row, alignment: Alignment) -> Value:
        pooled = None if row.kind in {"accuracy", "none"} else self._score_key(key, row, alignment)
        entry = (key, row.kind, pooled, alignment.rotation.get(key[3], 0), alignment.copies)
        if entry not in self._cache:
            self._cache[entry] = self._compute_tis(key, row, alignment)
        return self._cache[entry]

    def _score_key(self, key: Key, row: Row, alignment: Alignment) -> tuple[object, ...]:
        pooled = POOLING[alignment.pooling][key[2]] if row.pooled is None else row.pooled
        return alignment.labels.get(key[1], key[1]), row.distance, row.margin, row.level, pooled

    def _compute_tis(self, key: Key, row: Row, alignment: Alignment) -> Value:
        means, draws = self.dice(key, alignment)
        epoch, tied = self.choose(key, row, alignment)
        index = self.epochs.index(epoch)
        noise = float((draws[:, index] / draws.max(axis=1)).std())
        ties = {other: float(means[self.epochs.index(other)] / means.max()) for other in tied}
        return Value(float(means[index] / means.max()), {key[1]: noise}, ties)

    def choose(self, key: Key, row: Row, alignment: Alignment) -> tuple[int, tuple[int, ...]]:
        """Return the epoch that a row's selector chooses, and those tied with it."""
        if row.kind == "none":
            return self.epochs[0], ()
        if row.kind == "accuracy":
            tuned = self.released.tuned(*key)
            choice = Best.choose(dict(zip(tuned["epoch"].astype(int), tuned["source_accuracy"], strict=True)))
        else:
            choice = RULES[RULE[row.kind]].choose(self.scores(key, row, alignment))
        return choice.candidate, choice.tied

"""Find values that equal, bit for bit, those of another length, group or metric."""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtransfer.papers.hidy2024.audit.findings import (
    CONFIGURATION,
    DOWNSTREAM,
    ERROR,
    INFO,
    ROBUSTNESS,
    ROUNDING,
    Finding,
    Tables,
    name_group,
)
from medtransfer.papers.hidy2024.importing import SETTING
from medtransfer.papers.hidy2024.store import GROUP, KEY


@dataclass(frozen=True)
class _Agreement:
    """Scores of two lengths of a group that agree to the last bit in some settings, `unbounded` of which are not at a bound."""

    group: tuple[Hashable, ...]
    epochs: tuple[int, int]
    settings: int
    same: NDArray[np.bool_]
    unbounded: int

    @property
    def copied(self) -> bool:
        return self.unbounded > 0 or bool(self.same.sum() == self.settings)


def _agreements(tables: Tables) -> list[_Agreement]:
    agreements = []
    for group, wide in tables.series.groupby(level=GROUP):
        margin = wide.index.get_level_values("margin").to_numpy()
        for pair in combinations(wide.columns, 2):
            first, second = (wide[epoch].to_numpy() for epoch in pair)
            same = first == second
            at_bound = (first == 0) | (np.abs(first - margin) <= ROUNDING)
            if same.any():
                settings = int((~np.isnan(first) & ~np.isnan(second)).sum())
                agreements.append(_Agreement(group, pair, settings, same, int((same & ~at_bound).sum())))
    return agreements


def copied_scores(tables: Tables) -> list[Finding]:
    """Find lengths whose scores agree to the last bit although they are not at a bound."""
    return [
        Finding(
            "copied-scores", ROBUSTNESS, ERROR, int(pair.same.sum()), name_group(GROUP, pair.group, epoch=pair.epochs),
            f"{int(pair.same.sum())} of {pair.settings} settings score the same at both lengths, to the last bit: one is a copy "
            "of the other, not a measurement",
        )
        for pair in _agreements(tables) if pair.copied
    ]  # fmt: skip


def saturated_scores(tables: Tables) -> list[Finding]:
    """Find groups in which lengths tie at a bound, so that they cannot be distinguished."""
    groups: dict[tuple[Hashable, ...], list[_Agreement]] = {}
    for pair in _agreements(tables):
        if not pair.copied:
            groups.setdefault(pair.group, []).append(pair)
    findings = []
    for group, pairs in groups.items():
        settings = int(np.logical_or.reduce([pair.same for pair in pairs]).sum())
        most = max(pairs, key=lambda pair: (pair.same.sum(), pair.epochs))
        meaning = (
            f"in {settings} of {most.settings} settings some lengths tie at the bounds 1 or 1 - margin, so that they cannot be "
            f"distinguished; most often {most.epochs[0]} and {most.epochs[1]}, in {int(most.same.sum())}"
        )
        epochs = {epoch for pair in pairs for epoch in pair.epochs}
        findings.append(Finding("saturated-scores", ROBUSTNESS, INFO, settings, name_group(GROUP, group, epoch=epochs), meaning))
    return findings


def duplicated_column(tables: Tables) -> list[Finding]:
    """Find groups with the same list of scores over the lengths, and metrics with the same values."""
    pairs: dict[tuple[str, str], list[tuple[Any, Any]]] = {}
    for first, second in _equal_rows(tables.series):
        named = len(GROUP) if first[len(GROUP) :] == second[len(GROUP) :] else None  # a shared setting is not named
        columns = [*GROUP, *SETTING][:named]
        pairs.setdefault((name_group(columns, first[:named]), name_group(columns, second[:named])), []).append((first, second))
    meaning = "the whole list of scores over the lengths is the same in both, to the last bit, in as many settings as counted"
    findings = [
        Finding("duplicated-column", ROBUSTNESS, ERROR, len(settings), f"{first} | {second}", meaning)
        for (first, second), settings in pairs.items()
    ]
    return findings + _duplicated_metrics(tables.runs)


def _duplicated_metrics(runs: pd.DataFrame) -> list[Finding]:
    metrics = [name for name in runs.columns if name not in KEY]
    return [
        Finding(
            "duplicated-column", DOWNSTREAM, ERROR, len(rows), name_group(["target", "columns"], [target, pair]),
            "both metrics have the same values in every line, to the last bit",
        )
        for target, rows in runs.groupby("target")
        for pair in combinations(metrics, 2)
        if rows[pair[0]].nunique() > 1 and rows[pair[0]].equals(rows[pair[1]].rename(pair[0]))
    ]  # fmt: skip


def _equal_rows(wide: pd.DataFrame) -> list[tuple[Any, Any]]:
    """Return pairs of keys of equal rows (N, E) that are complete and have more than two values, the earlier key first."""
    first: dict[bytes, Any] = {}
    equal = []
    for key, row in informative_rows(wide):
        earlier = first.setdefault(row.tobytes(), key)
        if earlier != key:
            equal.append((earlier, key))
    return equal


def informative_rows(wide: pd.DataFrame) -> list[tuple[Any, NDArray[np.float64]]]:
    """Return the keys and values of rows (N, E) that are complete and have more than two values."""
    values = wide.to_numpy()
    return [(key, row) for key, row in zip(wide.index, values, strict=True) if not np.isnan(row).any() and len(np.unique(row)) > 2]


def duplicated_dice(tables: Tables) -> list[Finding]:
    """Find configurations whose Dice equal those of another for every seed."""
    group = [*CONFIGURATION, "epoch"]
    first: dict[tuple[float, ...], Any] = {}
    findings = []
    for values, dice in tables.runs.groupby(group)["dice"].agg(tuple).items():
        if len(set(dice)) < 2:
            continue
        earlier = first.setdefault(dice, values)
        if earlier != values:
            keys = f"{name_group(group, earlier)} | {name_group(group, values)}"
            meaning = "the Dice of every seed are the same in both, to the last bit: one is a copy of the other"
            findings.append(Finding("duplicated-dice", DOWNSTREAM, ERROR, len(dice), keys, meaning))
    return findings

"""Find lists that seem shifted, and datasets that seem exchanged."""

from collections import Counter
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtransfer.papers.hidy2024.audit.copies import informative_rows
from medtransfer.papers.hidy2024.audit.findings import (
    CONFIGURATION,
    DOWNSTREAM,
    ERROR,
    ROBUSTNESS,
    WARNING,
    Finding,
    Tables,
    name_group,
)
from medtransfer.papers.hidy2024.importing import SETTING
from medtransfer.papers.hidy2024.store import GROUP, KEY

BETTER = 0.8  # labels count as swapped if swapping them back reduces the difference of ranks below this share
CLEARER = 0.1  # a list counts as shifted if shifting it back raises its correlation by this much


def shifted_list(tables: Tables) -> list[Finding]:
    """Find lists over the lengths that fit others only if they are shifted."""
    findings = []
    for file, wide, group in ((DOWNSTREAM, tables.dice, CONFIGURATION), (ROBUSTNESS, tables.series, GROUP)):
        findings += [*_rotated_copies(file, wide, group), *_out_of_step(file, wide, group)]
    return findings


def _rotated_copies(file: str, wide: pd.DataFrame, group: list[str]) -> list[Finding]:
    rows = informative_rows(wide)
    lists = {row.tobytes(): key for key, row in rows}
    pairs: Counter[tuple[str, str, int]] = Counter()
    for key, row in rows:
        for places in range(1, len(row)):
            other = lists.get(np.roll(row, places).tobytes())
            if other is not None and key < other:
                pairs[name_group(group, key[: len(group)]), name_group(group, other[: len(group)]), places] += 1
    return [
        Finding(
            "shifted-list", file, ERROR, count, f"{first} | {second}",
            f"the list over the lengths is the same in both, to the last bit, but shifted by {places} places",
        )
        for (first, second, places), count in pairs.items()
    ]  # fmt: skip


def _out_of_step(file: str, wide: pd.DataFrame, group: list[str]) -> list[Finding]:
    """Compare the lists over the lengths between the schemes of the same encoder and target."""
    z = wide.sub(wide.mean(axis=1), axis=0).div(wide.std(axis=1).replace(0, np.nan), axis=0)
    rest = [name for name in group if name != "scheme"]
    findings = []
    for values, both in z.groupby(level=rest):
        schemes = {scheme: table.droplevel("scheme") for scheme, table in both.groupby(level="scheme")}
        for pair in combinations(schemes, 2):
            first, second = schemes[pair[0]].align(schemes[pair[1]], join="inner")
            complete = first.notna().all(axis=1) & second.notna().all(axis=1)
            places = _better_shift(first[complete].to_numpy(), second[complete].to_numpy())
            if places:
                meaning = f"the lists over the lengths resemble each other most when one is shifted by {places} places"
                findings.append(Finding("shifted-list", file, WARNING, places, name_group(rest, values, scheme=pair), meaning))
    return findings


def _better_shift(first: NDArray[np.float64], second: NDArray[np.float64]) -> int:
    """Return the rotation of `first` (N, E), rows of mean 0 and deviation 1, that clearly fits `second` better, or 0."""
    if first.size == 0:
        return 0
    rolled = np.stack([np.roll(first, -places, axis=1) for places in range(first.shape[1])])  # (E, N, E)
    correlation = (rolled * second).sum(axis=2).mean(axis=1) / (first.shape[1] - 1)
    best = int(correlation.argmax())
    return best if correlation[best] > correlation[0] + CLEARER else 0


def swapped_dataset(tables: Tables) -> list[Finding]:
    """Find groups in which the targets rank as elsewhere only if their labels are exchanged."""
    metrics = [name for name in tables.runs.columns if name not in [*KEY, "source_accuracy"]]
    dice = tables.runs.groupby([*CONFIGURATION, "epoch"])[metrics].mean().stack().rename_axis([*CONFIGURATION, "epoch", "metric"])
    unit = [name for name in CONFIGURATION if name != "target"]
    return [
        *_swapped(DOWNSTREAM, dice.unstack("target"), unit, ["metric"]),
        *_swapped(ROBUSTNESS, tables.series.stack().unstack("target"), ["encoder", "scheme"], SETTING),
    ]


def _swapped(file: str, wide: pd.DataFrame, unit: list[str], measure: list[str]) -> list[Finding]:
    """Compare the ranks of the targets, in every unit and length, with their ranks in the other units.

    Args:
        file: file of the findings.
        wide: one column per target, one row per unit, length and measure.
        unit: index names that identify a group with common labels.
        measure: index names that identify a measure.
    """
    ranks = wide.rank(axis=1)
    alike = ranks.groupby(level=["epoch", *measure])
    others = (alike.transform("sum") - ranks.fillna(0)) / (alike.transform("count") - ranks.notna())
    moved: dict[tuple[Any, ...], set[int]] = {}
    for key, rows in ranks.groupby(level=[*unit, "epoch"]).indices.items():
        if labels := _better_labels(ranks.to_numpy()[rows], others.to_numpy()[rows]):
            targets = tuple(wide.columns[label] for label in labels)
            moved.setdefault((*key[:-1], targets), set()).add(int(key[-1]))
    meaning = "at these lengths the targets rank among each other as elsewhere only with these labels exchanged"
    return [
        Finding("swapped-dataset", file, WARNING, len(epochs), name_group([*unit, "target"], values, epoch=epochs), meaning)
        for values, epochs in moved.items()
    ]


def _better_labels(ranks: NDArray[np.float64], others: NDArray[np.float64]) -> list[int]:
    """Return the columns of `ranks` (N, T) that must be exchanged to fit `others` (N, T); none if they fit already."""
    both = ranks[:, None, :] - others[:, :, None]  # (N, T of others, T of ranks)
    known = ~np.isnan(both)
    if not known.any(axis=0).all():
        return []
    cost = np.where(known, np.abs(both), 0).sum(axis=0) / known.sum(axis=0)
    own = range(len(cost))
    best = min(permutations(own), key=lambda order: (cost[own, order].sum(), order))
    if cost[own, best].sum() >= BETTER * cost[own, own].sum():
        return []
    return [column for column in own if best[column] != column]

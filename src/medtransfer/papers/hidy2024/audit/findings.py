"""Findings of the audit, and views of the two released tables that its checks share."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.papers.hidy2024.importing import SETTING
from medtransfer.papers.hidy2024.store import GROUP, KEY

DOWNSTREAM, ROBUSTNESS = "downstream", "robustness"
INFO, WARNING, ERROR = "info", "warning", "error"
CONFIGURATION = ["encoder", "target", "mode", "scheme"]
SCORE = [*GROUP, *SETTING, "epoch"]
ROUNDING = 1e-6  # error of a mean of single-precision losses, relative above 1


@dataclass(frozen=True)
class Finding:
    """One affected group of the files.

    Attributes:
        check: name in CHECKS.
        file: `downstream` or `robustness`.
        severity: `error`: the affected numbers cannot be trusted or recomputed; `warning`: they may be wrong; `info`.
        count: number of affected lines, lengths, settings or positions; `meaning` says which.
        keys: the group, as `name=value` separated by spaces; two groups are separated by ` | `.
        meaning: explanation, one sentence.
    """

    check: str
    file: str
    severity: str
    count: int
    keys: str
    meaning: str


class Tables:
    """Both tables, sorted, and views of them that several checks need."""

    def __init__(self, downstream: pd.DataFrame, robustness: pd.DataFrame) -> None:
        """Sort the tables of `read_downstream` and `read_robustness` and drop their line numbers."""
        self.downstream, self.robustness = _sorted(downstream, KEY), _sorted(robustness, SCORE)
        self.by_file = {DOWNSTREAM: (self.downstream, KEY), ROBUSTNESS: (self.robustness, SCORE)}
        self.runs, self.scores = self.downstream.drop_duplicates(KEY), self.robustness.drop_duplicates(SCORE)

    @cached_property
    def series(self) -> pd.DataFrame:
        """Finite losses: one row per group and setting, one column per length."""
        wide = self.scores.pivot(index=[*GROUP, *SETTING], columns="epoch", values="loss")
        return wide.where(np.isfinite(wide))

    @cached_property
    def dice(self) -> pd.DataFrame:
        """Mean Dice: one row per configuration, one column per length; length 0 belongs to every scheme."""
        wide = self.runs.groupby([*CONFIGURATION, "epoch"])["dice"].mean().unstack()
        if 0 in wide:
            wide[0] = wide[0].groupby(CONFIGURATION[:3]).transform("first")
        return wide

    @cached_property
    def lengths(self) -> dict[str, dict[tuple[Hashable, ...], set[int]]]:
        """Lengths of every group of each file; a fine-tuned random initialisation belongs to every scheme."""
        downstream, robustness = _lengths(self.runs, CONFIGURATION), _lengths(self.scores, GROUP)
        for key in downstream:
            if any(0 in epochs for other, epochs in downstream.items() if other[:3] == key[:3]):
                downstream[key].add(0)
        return {DOWNSTREAM: downstream, ROBUSTNESS: robustness}


def _sorted(table: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    table = table.drop(columns="line")
    return table.sort_values([*key, *(name for name in table.columns if name not in key)], ignore_index=True)


def _lengths(table: pd.DataFrame, group: list[str]) -> dict[tuple[Hashable, ...], set[int]]:
    """Return the lengths of every combination of the values in the group's columns, also of those without any."""
    lengths = table.groupby(group)["epoch"].agg(set).to_dict()
    return {key: lengths.get(key, set()) for key in product(*(sorted(table[name].unique()) for name in group))}


def name_group(columns: Sequence[str], values: Iterable[Any], **more: Any) -> str:
    """Format a group as `name=value` separated by spaces."""
    named = {**dict(zip(columns, values, strict=True)), **more}
    return " ".join(f"{name}={plain(value)}" for name, value in named.items())


def plain(value: Any) -> str:
    """Format a value, or several in ascending order."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if isinstance(value, Iterable):
        return ",".join(plain(item) for item in sorted(value))
    return str(value)

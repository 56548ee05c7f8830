"""Read the two released CSV files into tables with this project's names.

Source: https://github.com/aielte-research/MedSegPretrainImageNet, the repository of arXiv:2410.18677.

downstream_scores.csv, one line per fine-tuning (columns omitted):
    model,dataset,pretraining length,ImageNet accuracy,freeze encoder,pretraining scheme,seed,…,mean dice index,…
    ResNet50 Attention U-Net,ACDC,1,0.008,False,advanced,123124,…,0.8967881697623016,…
robustness_scores.csv, one line per score; its column `robustness` is the mean triplet loss, so robustness is 1 minus it:
    dataset,metric,margin,encoder,pretraining_scheme,pooled,level,pretraining_length,robustness
    ACDC,cosine_distance,0.0,resnet50,advanced_training,False,1,0,0.017631620168685913
"""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medtransfer.errors import InputError
from medtransfer.papers.hidy2024 import names
from medtransfer.papers.hidy2024.named_files import REMEDY
from medtransfer.records import read_table

LARGEST = 10**9  # largest plausible epoch, seed or level
INTEGERS = {"epoch", "seed", "level"}


def read_files(downstream: Path, robustness: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read both files, as `read_downstream` and `read_robustness` do; errors as theirs."""
    return read_downstream(downstream), read_robustness(robustness)


def read_downstream(path: Path) -> pd.DataFrame:
    """Read the fine-tunings.

    Returns:
        Columns encoder, target, mode, scheme, epoch, seed, dice, jaccard, the other metrics, and `line`, the line number in
        the file; NaN if a dataset has no such metric.

    Raises:
        InputError: the file is missing, not of the released form, or holds an unknown name or a text for a number.
    """
    raw = _read(path, [*names.DOWNSTREAM, *names.METRICS, *(column for pair in names.OVERLAP.values() for column in pair)])
    table = _named(raw, names.DOWNSTREAM, path)
    for ours, (mean_over_classes, single_class) in names.OVERLAP.items():
        table[ours] = _numbers(raw, mean_over_classes, path).fillna(_numbers(raw, single_class, path))
    for column, ours in names.METRICS.items():
        table[ours] = _numbers(raw, column, path)
    return table.assign(line=raw.index).reset_index(drop=True)


def read_robustness(path: Path) -> pd.DataFrame:
    """Read the scores.

    Returns:
        Columns encoder, scheme, target, distance, margin, level (-1 is the last), pooled, epoch, loss, robustness = 1 - loss,
        and `line`.

    Raises:
        InputError: as `read_downstream`.
    """
    raw = _read(path, list(names.ROBUSTNESS))
    table = _named(raw, names.ROBUSTNESS, path)
    _refuse(raw, "level", path, table["level"] < 1, "a level of at least 1")
    levels = table.groupby("encoder")["level"].transform("max")  # counted from the first in the file
    return table.assign(level=table["level"] - levels - 1, robustness=1.0 - table["loss"], line=raw.index).reset_index(drop=True)


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    table = read_table(path, REMEDY)
    raw = pd.DataFrame(table.rows, columns=list(table.columns), index=table.lines, dtype=str)
    if missing := [column for column in columns if column not in raw]:
        hint = "; the two files may be swapped" if "pretraining_length" in raw or "pretraining length" in raw else ""
        raise InputError(f"expected the column {missing[0]!r} in {path}, but got {', '.join(raw.columns)[:200]}{hint}; {REMEDY}")
    if raw.empty:
        raise InputError(f"expected lines below the header of {path}, but there are none; {REMEDY}")
    return raw


def _named(raw: pd.DataFrame, columns: Mapping[str, tuple[str, Mapping[str, object] | None]], path: Path) -> pd.DataFrame:
    named = {}
    for column, (ours, spellings) in columns.items():
        if spellings is None:
            values = _numbers(raw, column, path)
            _refuse(raw, column, path, values.isna(), "a number")
            if ours in INTEGERS:
                whole = (values % 1 == 0) & values.between(0, LARGEST)
                _refuse(raw, column, path, ~whole, f"a whole number from 0 to {LARGEST}")
                values = values.astype("int64")
            named[ours] = values
        else:
            _refuse(raw, column, path, ~raw[column].isin(list(spellings)), f"one of {', '.join(spellings)}")
            named[ours] = raw[column].map(spellings)
    return pd.DataFrame(named)


def _numbers(raw: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """Parse a column to the nearest float64; an empty field is NaN."""
    _refuse(raw, column, path, raw[column].map(lambda value: bool(value) and not _is_number(value)), "a number")
    return raw[column].map(lambda value: float(value) if value else float("nan")).astype("float64")


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _refuse(raw: pd.DataFrame, column: str, path: Path, bad: "pd.Series[bool]", expected: str) -> None:
    if bad.any():
        index = int(bad.to_numpy().argmax())
        raise InputError(
            f"expected {expected} in the column {column!r} of {path}, but got {raw[column].iloc[index]!r} in line "
            f"{raw.index[index]}; {REMEDY}"
        )

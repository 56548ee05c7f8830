"""Spread of results over repetitions: given, measured, printed or published; and the difference that it lets a study see."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import stdev

from medtransfer import study
from medtransfer.metrics.power import detectable_gap
from medtransfer.papers.hidy2024.spread import RELATIVE_SPREADS
from medtransfer.studies.finished import repetitions
from medtransfer.studies.printed import Tables
from medtransfer.studies.rows import Row


@dataclass(frozen=True)
class Spread:
    """A standard deviation over seeds, or over folds.

    Attributes:
        value: the deviation, in units of the metric, or relative to the best mean.
        source: where it is from.
        relative: whether it is relative.
    """

    value: float
    source: str
    relative: bool = False


def spread_of(row: Row, given: float | None, tables: dict[str, Tables]) -> Spread | None:
    """Return the spread of a row's results: given, measured on them, printed, or published of the reader; None if unknown.

    Args:
        row: the row.
        given: the deviation, in units of the metric.
        tables: printed tables of parts by name.
    """
    if given is not None:
        return Spread(given, "given")
    several = [values for values in repetitions(row.finished).values() if len(values) > 1]
    if several:
        value = pooled([(stdev(values), len(values)) for values in several])
        return Spread(value, f"{len(several)} of {row.starts} initialisations here")
    if printed := _printed(row, tables):
        return Spread(pooled(printed), "the printed tables")
    target = row.params.prepare.targets[row.key.target]
    if target.reader in RELATIVE_SPREADS and not study.is_sample(row.params, Path(target.root)):
        return Spread(RELATIVE_SPREADS[target.reader], "released results of arXiv:2410.18677", relative=True)
    return None


def _printed(row: Row, tables: dict[str, Tables]) -> list[tuple[float, int]]:
    """Return the printed deviations of a row's initialisations, each with its number of runs."""
    starts = {one.start: one.part.name for one in row.cells}
    numbers = [
        tables[part].find(row.key.target, *start, row.key.mode, row.key.size) for start, part in starts.items() if part in tables
    ]
    return [(number.std, number.n) for number in numbers if number and number.std is not None and number.n and number.n > 1]


def pooled(deviations: Sequence[tuple[float, int]]) -> float:
    """Return the deviation that groups share: the root of their mean variance, by degrees of freedom.

    Args:
        deviations: standard deviation (ddof 1) and number of values of each group, at least 2.
    """
    return sqrt(sum((n - 1) * value**2 for value, n in deviations) / sum(n - 1 for _, n in deviations))


def visible_gaps(spread: float, number: int, comparisons: int, confidence: float) -> tuple[float, float] | None:
    """Return the smallest difference of two initialisations that is seen, alone and among several comparisons.

    Args:
        spread: standard deviation over repetitions, of both.
        number: repetitions of each; below 2 nothing is seen.
        comparisons: comparisons that Bonferroni's correction is for.
        confidence: 1 minus the level of the two-sided t test.
    """
    if number < 2:
        return None
    corrected = 1 - (1 - confidence) / max(1, comparisons)
    return detectable_gap(spread, number, confidence), detectable_gap(spread, number, corrected)

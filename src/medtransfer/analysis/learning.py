"""How fast fine-tunings learn: curves on the validation samples, or the test samples, and the epochs that they say."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from medtransfer import tracking
from medtransfer.analysis.starts import Start, StartComparison
from medtransfer.analysis.time_to_reach import Curve, level_of, mean_curve
from medtransfer.metrics.ties import rounded

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class Learning:
    """The fine-tunings of one initialisation.

    Attributes:
        start: the initialisation.
        curves: value of the metric on the samples by epoch, for every run that has one.
        folds: fold of each of these; empty without folds.
        best: epoch of the best value of every run, the earliest of a tie.
        last: last epoch of every run, where early stopping ended it.
        reached: first epoch of every run whose value is at least `level`; None where it never is.
        level: `SHARE` of the way from chance to the highest final mean of all initialisations of the target.
        samples: samples of the curves, `validation` or, without any, `test`.
    """

    start: Start
    curves: tuple[Curve, ...]
    folds: tuple[str, ...]
    best: tuple[int, ...]
    last: tuple[int, ...]
    reached: tuple[int | None, ...]
    level: float
    samples: str = VALIDATION

    @property
    def mean(self) -> dict[int, float]:
        """Mean value by epoch, over folds or over runs without folds, as far as every run has one."""
        return mean_curve([mean_curve(own) for own in by_fold(self.curves, self.folds)])


def read_learning(comparisons: Sequence[StartComparison]) -> tuple[tuple[Learning, ...], ...]:
    """Read the validation curves of every comparison's runs from the store, or else the test curves; empty for one without any.

    Args:
        comparisons: initialisations by target.

    Returns:
        For each comparison its initialisations with curves, in the same order.
    """
    runs: dict[str, list[str]] = {}
    for comparison in comparisons:
        ids = [run for row in comparison.rows for run in row.start.runs]
        runs.setdefault(comparison.metric.name, []).extend(ids)
    curves = {
        (samples, name): tracking.read_curves(ids, f"{samples}_{name}")
        for name, ids in runs.items() if ids for samples in (VALIDATION, TEST)
    }  # fmt: skip
    return tuple(
        learning(comparison, curves.get((VALIDATION, comparison.metric.name), {}))
        or learning(comparison, curves.get((TEST, comparison.metric.name), {}), TEST)
        for comparison in comparisons
    )


def learning(comparison: StartComparison, curves: Mapping[str, Curve], samples: str = VALIDATION) -> tuple[Learning, ...]:
    """Summarise the curves of a comparison's initialisations; a single point, as of a head that is solved for, is none.

    Args:
        comparison: initialisations of one target.
        curves: curve by run.
        samples: samples of the curves.
    """
    starts = {row.start.name: row.start for row in comparison.rows}
    found = {
        name: {run: curves[run] for run in start.runs if len(curves.get(run, ())) > 1} for name, start in starts.items()
    }  # fmt: skip
    drawn = {name: (list(own.values()), tuple(starts[name].runs[run] for run in own)) for name, own in found.items() if own}
    if not drawn:
        return ()
    finals = [[fmean(curve[max(curve)] for curve in fold) for fold in by_fold(*own)] for own in drawn.values()]
    level = level_of(finals, comparison.metric.chance)
    return tuple(
        Learning(
            starts[name], tuple(own), folds, tuple(max(curve, key=lambda epoch: (rounded(curve[epoch]), -epoch)) for curve in own),
            tuple(max(curve) for curve in own),
            tuple(min((epoch for epoch, value in curve.items() if value >= level), default=None) for curve in own), level,
            samples,
        )
        for name, (own, folds) in drawn.items()
    )  # fmt: skip


def by_fold(curves: Sequence[Curve], folds: Sequence[str]) -> list[list[Curve]]:
    """Return the curves of each fold; each alone without folds."""
    groups: dict[object, list[Curve]] = defaultdict(list)
    for index, (curve, fold) in enumerate(zip(curves, folds, strict=True)):
        groups[fold or index].append(curve)
    return list(groups.values())

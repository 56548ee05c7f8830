"""Claims in the paper's text, tested on the released data in both alignments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtransfer.analysis.judge import Sampling
from medtransfer.analysis.model import Analysis, Interval
from medtransfer.metrics.comparison import bootstrap_mean
from medtransfer.papers.hidy2024.cells import Cell
from medtransfer.papers.hidy2024.released import Missing

Holds = Literal["holds", "does not hold", "open", "not recomputable"]
YES: Holds = "holds"
NO: Holds = "does not hold"
OPEN: Holds = "open"
LOST: Holds = "not recomputable"
METRICS = ("dice", "jaccard", "mcc", "average_precision", "-hd95")


@dataclass(frozen=True)
class Evidence:
    """A measured value, its interval if it has one, and whether it supports a claim."""

    value: float | None
    interval: Interval | None
    holds: Holds


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        section: section of the paper.
        statement: the claim, close to the paper's words.
        measure: name of the computed measure.
        as_published: evidence in the alignment of the printed tables.
        keyed: evidence joined by key.
    """

    section: str
    statement: str
    measure: str
    as_published: Evidence
    keyed: Evidence


@dataclass(frozen=True)
class Side:
    """Results in one alignment: the analysis, and the TIS of the appendix's cells by row."""

    analysis: Analysis
    rows: dict[str, dict[tuple[str, ...], float]]
    sampling: Sampling

    @classmethod
    def of(cls, analysis: Analysis, cells: Sequence[Cell], keyed: bool, sampling: Sampling) -> "Side":
        """Collect the appendix's cells of one alignment, by row and (dataset, scheme, encoder, mode)."""
        rows: dict[str, dict[tuple[str, ...], float]] = {}
        for cell in cells:
            value, printed = (cell.keyed if keyed else cell.as_published), cell.printed
            if printed.table.startswith("B") and value is not None:
                key = printed.dataset, printed.scheme, printed.encoder, printed.mode
                rows.setdefault(printed.row, {})[key] = value
        return cls(analysis, rows, sampling)

    def values(self, selector: str, field: str = "tis") -> dict[str, float]:
        """Return a field of a selector's verdicts by configuration.

        Raises:
            Missing: there are none.
        """
        judged = [case for case in self.analysis.judged if selector in case.by_selector]
        values = {case.name: getattr(case.by_selector[selector], field) for case in judged}
        if not values:
            raise Missing(f"no configuration has the choice {selector}")
        return values

    def tis(self, selector: str) -> np.ndarray:
        """Return the TIS of a selector by configuration."""
        return np.array(list(self.values(selector).values()))

    def difference(self, first: str, second: str, field: str = "tis") -> np.ndarray:
        """Return the difference of two selectors on the configurations that have both."""
        minuend, subtrahend = self.values(first, field), self.values(second, field)
        return np.array([minuend[name] - subtrahend[name] for name in minuend if name in subtrahend])

    def row_difference(self, first: str, second: str, mode: str = "") -> np.ndarray:
        """Return the difference of two rows of the appendix on their common cells, of one mode or all."""
        minuend, subtrahend = self.rows.get(first, {}), self.rows.get(second, {})
        differences = [minuend[key] - subtrahend[key] for key in minuend if key in subtrahend and mode in {"", key[3]}]
        if not differences:
            raise Missing(f"no cell of the rows {first!r} and {second!r} can be recomputed")
        return np.array(differences)

    def mean(self, values: np.ndarray) -> Interval | None:
        """Return the bootstrap interval over configurations of a mean; None for a single value."""
        if len(values) < 2:
            return None
        return bootstrap_mean(values, self.sampling.draws, self.sampling.confidence, self.sampling.generator("configurations"))


def _above(side: Side, values: np.ndarray, threshold: float) -> Evidence:
    """Claim that a mean is above a threshold; open if its interval contains the threshold."""
    mean, interval = float(values.mean()), side.mean(values)
    if interval and interval[0] <= threshold <= interval[1]:
        return Evidence(mean, interval, OPEN)
    return Evidence(mean, interval, YES if mean > threshold else NO)


def _mean_above(selector: str, threshold: float) -> Callable[[Side], Evidence]:
    return lambda side: _above(side, side.tis(selector), threshold)


def _worst_above(selector: str, threshold: float) -> Callable[[Side], Evidence]:
    return lambda side: _plain(float(side.tis(selector).min()), lambda worst: worst > threshold)


def _worst_below(selector: str, threshold: float) -> Callable[[Side], Evidence]:
    return lambda side: _plain(float(side.tis(selector).min()), lambda worst: worst < threshold)


def _plain(value: float, holds: Callable[[float], bool]) -> Evidence:
    return Evidence(value, None, YES if holds(value) else NO)


def _difference(first: str, second: str) -> Callable[[Side], Evidence]:
    """Claim that the first selector's TIS is above the second's on average."""
    return lambda side: _above(side, side.difference(first, second), 0.0)


def _largest_loss(side: Side) -> Evidence:
    loss = side.difference("full", "offline", "mean")
    return _plain(float(loss.max()), lambda worst: round(worst, 3) <= 0.006)


def _share_above_none(side: Side) -> Evidence:
    share = (side.difference("online", "none") > 0).mean()
    return _plain(float(share), lambda value: value >= 0.9)


def _longest(side: Side) -> Evidence:
    return _plain(float(max(side.values("online", "candidate").values())), lambda longest: longest <= 150)


def _only_one(side: Side) -> Evidence:
    chosen = list(side.values("online", "candidate").values())
    return _plain(chosen.count(1) / len(chosen), lambda share: share > 0.5)


def _rows_differ(first: str, second: str, mode: str = "") -> Callable[[Side], Evidence]:
    """Claim that the first row's mean TIS over the appendix's cells, of one mode or all, is above the second's."""
    return lambda side: _above(side, side.row_difference(first, second, mode), 0.0)


def _no_effect(side: Side) -> Evidence:
    change = np.abs(side.row_difference("cosine, margin 0.25", "cosine, margin 0.50"))
    return _plain(float(change.mean()), lambda value: value < 0.001)


def _cosine_best(side: Side) -> Evidence:
    """Claim that cosine has the highest mean TIS of the distances on each dataset; the value is the smallest lead."""
    leads = []
    for row in ("pearson, margin 0.50", "l2, margin 0.50"):
        cosine, other = side.rows.get("cosine, margin 0.50", {}), side.rows.get(row, {})
        for dataset in sorted({key[0] for key in cosine}):
            both = [cosine[key] - other[key] for key in cosine if key in other and key[0] == dataset]
            leads += [float(np.mean(both))] if both else []
    if not leads:
        raise Missing("no cell of the distances can be recomputed")
    return _plain(min(leads), lambda lead: lead >= 0)


CLAIMS: tuple[tuple[str, str, str, Callable[[Side], Evidence]], ...] = (
    ("abstract", "pretraining timed by robustness leads to better downstream performance than training from scratch",
     "mean TIS, offline - none", _difference("offline", "none")),
    ("abstract", "… and than full pretraining", "mean TIS, offline - full", _difference("offline", "full")),
    ("abstract", "the online variant still performs marginally better than full pretraining", "mean TIS, online - full",
     _difference("online", "full")),
    ("6", "over 98 % TIS on average, offline", "mean TIS, offline", _mean_above("offline", 0.98)),
    ("6", "over 97 % TIS on average, online", "mean TIS, online", _mean_above("online", 0.97)),
    ("6", "worst case over 95 %, offline", "lowest TIS, offline", _worst_above("offline", 0.95)),
    ("6", "worst case over 91 %, online", "lowest TIS, online", _worst_above("online", 0.91)),
    ("6", "no pretraining can give under 75 % TIS", "lowest TIS, none", _worst_below("none", 0.75)),
    ("6", "full pretraining can give under 75 % TIS", "lowest TIS, full", _worst_below("full", 0.75)),
    ("6", "at its worst, offline loses 0.006 Dice against full pretraining", "largest loss of Dice, full - offline", _largest_loss),
    ("6", "online is almost always better than no pretraining", "share of configurations", _share_above_none),
    ("6", "no online choice is longer than 150 epochs", "longest online choice, epochs", _longest),
    ("6", "most online choices are one epoch", "share of online choices that are epoch 1", _only_one),
    ("7.1", "cosine is best on every dataset", "smallest lead of cosine in mean TIS", _cosine_best),
    ("7.1", "Pearson is better than full pretraining", "mean TIS, Pearson - full",
     _rows_differ("pearson, margin 0.50", "ImageNet accuracy")),
    ("7.1", "L2 is better than full pretraining", "mean TIS, L2 - full",
     _rows_differ("l2, margin 0.50", "ImageNet accuracy")),
    ("7.2", "a margin of 0.25 instead of 0.5 has practically no effect", "mean absolute change of TIS", _no_effect),
    ("7.2", "a margin above 0.5 leads to a slight average decrease", "mean TIS, margin 0.50 - margin 1.00",
     _rows_differ("cosine, margin 0.50", "cosine, margin 1.00")),
    ("7.3", "the last level is worse on average than the second to last (full training, flattened)",
     "mean TIS, level -2 - level -1",
     _rows_differ("level -2, flattened", "level -1, flattened", "full")),
    ("7.3", "the last level is worse on average than the second to last (decoder only, pooled)",
     "mean TIS, level -2 - level -1",
     _rows_differ("level -2, pooled", "level -1, pooled", "decoder")),
    ("7.3", "for full training, no pooling is slightly better", "mean TIS, flattened - pooled",
     _rows_differ("level -2, flattened", "level -2, pooled", "full")),
)  # fmt: skip


def judge_claims(keyed: Side, published: Side) -> list[Claim]:
    """Test every claim about TIS in both alignments."""
    return [
        Claim(section, text, measure, _measured(judge, published), _measured(judge, keyed))
        for section, text, measure, judge in CLAIMS
    ]


def _measured(judge: Callable[[Side], Evidence], side: Side) -> Evidence:
    try:
        return judge(side)
    except Missing:
        return Evidence(None, None, LOST)


def metric_claim(lowest_pooled: float | None, lowest_by_dataset: float | None) -> list[Claim]:
    """Test the claim that five evaluation metrics rank models alike (A.5); it needs no alignment."""
    pooled, apart = (
        Evidence(None, None, LOST) if value is None else _plain(value, lambda value: value > 0.96)
        for value in (lowest_pooled, lowest_by_dataset)
    )
    text = "-HD95, average precision, MCC, Jaccard and Dice all correlate over 96 %"
    return [
        Claim("A.5", text, "lowest Spearman correlation over the models of COVID-QU and IDRiD together", pooled, pooled),
        Claim("A.5", text + " (within a dataset)", "lowest Spearman correlation within one dataset", apart, apart),
    ]


def claim_rows(claims: Sequence[Claim]) -> list[dict[str, object]]:
    """Return the rows of claims.csv."""
    return [
        {
            "section": claim.section, "claim": claim.statement, "measure": claim.measure,
            "as_published": claim.as_published.value, "holds_as_published": claim.as_published.holds,
            "keyed": claim.keyed.value, "keyed_low": claim.keyed.interval[0] if claim.keyed.interval else None,
            "keyed_high": claim.keyed.interval[1] if claim.keyed.interval else None, "holds_keyed": claim.keyed.holds,
        }
        for claim in claims
    ]  # fmt: skip

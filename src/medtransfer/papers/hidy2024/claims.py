"""Claims in the paper's text, tested on the released data in both alignments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from medtransfer.analysis.model import Analysis, Judged, Sampling
from medtransfer.analysis.summary import mean_over, summary_of
from medtransfer.metrics.comparison import ClusterMean, Interval, cluster_mean
from medtransfer.papers.hidy2024.cells import Cell
from medtransfer.papers.hidy2024.released import Missing

Holds = Literal["holds", "does not hold", "open", "not recomputable"]
YES: Holds = "holds"
NO: Holds = "does not hold"
OPEN: Holds = "open"
LOST: Holds = "not recomputable"
ALMOST_ALWAYS = 0.9  # share; the paper has no number
NO_EFFECT = 0.001  # mean absolute change of TIS; the paper has no number
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

    def judged(self, *selectors: str) -> list[Judged]:
        """Return the configurations in which all selectors can choose.

        Raises:
            Missing: there are none.
        """
        found = [case for case in self.analysis.judged if set(selectors) <= case.by_selector.keys()]
        if not found:
            raise Missing(f"no configuration has the choice {' and '.join(selectors)}")
        return found

    def values(self, selector: str, field: str = "tis") -> list[float]:
        """Return a field of a selector's verdicts, by configuration."""
        return [getattr(case.by_selector[selector], field) for case in self.judged(selector)]

    def difference(self, first: str, second: str, field: str = "tis") -> tuple[list[Judged], list[float]]:
        """Return the configurations that have both selectors, and the difference of a field in each."""
        cases = self.judged(first, second)
        return cases, [getattr(c.by_selector[first], field) - getattr(c.by_selector[second], field) for c in cases]

    def row_difference(
        self, first: str, second: str, mode: str = "", dataset: str = ""
    ) -> tuple[list[float], dict[str, list[str]]]:
        """Return the differences of two rows of the appendix on their common cells, and the levels of the cells' factors.

        Args:
            first: minuend.
            second: subtrahend.
            mode: of the cells; empty for all.
            dataset: of the cells; empty for all.

        Raises:
            Missing: there are no such cells.
        """
        minuend, subtrahend = self.rows.get(first, {}), self.rows.get(second, {})
        keys = [k for k in minuend if k in subtrahend and mode in {"", k[3]} and dataset in {"", k[0]}]
        if not keys:
            raise Missing(f"no cell of the rows {first!r} and {second!r} can be recomputed")
        factors = {"pretraining": [f"{scheme} {encoder}" for _, scheme, encoder, _ in keys], "target": [key[0] for key in keys]}
        return [minuend[key] - subtrahend[key] for key in keys], factors

    def compare(self, mean: ClusterMean, threshold: float, interval: Interval | None = None) -> Evidence:
        """Claim that a mean is above a threshold, 0 of a difference; open if its interval contains it, or if there is none."""
        interval = interval or (mean.interval if threshold else mean.difference_interval)(self.sampling.confidence)
        if interval is None or interval[0] <= threshold <= interval[1]:
            return Evidence(mean.value, interval, OPEN)
        return Evidence(mean.value, interval, YES if mean.value > threshold else NO)


def _mean_above(selector: str, threshold: float) -> Callable[[Side], Evidence]:
    """Claim that a selector's mean TIS is above a threshold."""

    def judge(side: Side) -> Evidence:
        cases = side.judged(selector)
        summary = summary_of(cases[0].by_selector[selector].selector, cases, side.sampling)
        return side.compare(mean_over(cases, side.values(selector)), threshold, summary.interval)

    return judge


def _worst(selector: str, threshold: float, above: bool) -> Callable[[Side], Evidence]:
    """Claim that the lowest TIS is above or below a threshold; open if its interval over seeds contains the threshold."""

    def judge(side: Side) -> Evidence:
        worst = min((case.by_selector[selector] for case in side.judged(selector)), key=lambda verdict: verdict.tis)
        if worst.interval is None or worst.interval[0] <= threshold <= worst.interval[1]:
            return Evidence(worst.tis, worst.interval, OPEN)
        return Evidence(worst.tis, worst.interval, YES if (worst.tis > threshold) == above else NO)

    return judge


def _plain(value: float, holds: Callable[[float], bool]) -> Evidence:
    return Evidence(value, None, YES if holds(value) else NO)


def _difference(first: str, second: str) -> Callable[[Side], Evidence]:
    """Claim that the first selector's TIS is above the second's on average."""
    return lambda side: side.compare(mean_over(*side.difference(first, second)), 0.0)


def _largest_loss(side: Side) -> Evidence:
    _, losses = side.difference("full", "offline", "mean")
    return _plain(max(losses), lambda worst: round(worst, 3) <= 0.006)


def _share_above_none(side: Side) -> Evidence:
    cases, gains = side.difference("online", "none")
    return side.compare(mean_over(cases, [float(gain > 0) for gain in gains]), ALMOST_ALWAYS)


def _longest(side: Side) -> Evidence:
    return _plain(float(max(side.values("online", "candidate"))), lambda longest: longest <= 150)


def _only_one(side: Side) -> Evidence:
    return side.compare(mean_over(side.judged("online"), [float(e == 1) for e in side.values("online", "candidate")]), 0.5)


def _rows_differ(first: str, second: str, mode: str = "") -> Callable[[Side], Evidence]:
    """Claim that the first row's mean TIS over the appendix's cells, of one mode or all, is above the second's."""
    return lambda side: side.compare(cluster_mean(*side.row_difference(first, second, mode)), 0.0)


def _no_effect(side: Side) -> Evidence:
    changes, factors = side.row_difference("cosine, margin 0.25", "cosine, margin 0.50")
    found = side.compare(cluster_mean([-abs(change) for change in changes], factors), -NO_EFFECT)
    assert found.value is not None
    return Evidence(-found.value, found.interval and (-found.interval[1], -found.interval[0]), found.holds)


def _cosine_best(side: Side) -> Evidence:
    """Claim that cosine has the highest mean TIS of the distances on each dataset; the value is the smallest lead."""
    leads = []
    for row in ("pearson, margin 0.50", "l2, margin 0.50"):
        for dataset in sorted({key[0] for key in side.rows.get("cosine, margin 0.50", {})}):
            leads.append(cluster_mean(*side.row_difference("cosine, margin 0.50", row, dataset=dataset)))
    if not leads:
        raise Missing("no cell of the distances can be recomputed")
    return side.compare(min(leads, key=lambda lead: lead.value), 0.0)


CLAIMS: tuple[tuple[str, str, str, Callable[[Side], Evidence]], ...] = (
    ("abstract", "pretraining timed by robustness leads to better downstream performance than training from scratch",
     "mean TIS, offline - none", _difference("offline", "none")),
    ("abstract", "… and than full pretraining", "mean TIS, offline - full", _difference("offline", "full")),
    ("abstract", "the online variant still performs marginally better than full pretraining", "mean TIS, online - full",
     _difference("online", "full")),
    ("6", "over 98 % TIS on average, offline", "mean TIS, offline", _mean_above("offline", 0.98)),
    ("6", "over 97 % TIS on average, online", "mean TIS, online", _mean_above("online", 0.97)),
    ("6", "worst case over 95 %, offline", "lowest TIS, offline", _worst("offline", 0.95, above=True)),
    ("6", "worst case over 91 %, online", "lowest TIS, online", _worst("online", 0.91, above=True)),
    ("6", "no pretraining can give under 75 % TIS", "lowest TIS, none", _worst("none", 0.75, above=False)),
    ("6", "full pretraining can give under 75 % TIS", "lowest TIS, full", _worst("full", 0.75, above=False)),
    ("6", "at its worst, offline loses 0.006 Dice against full pretraining", "largest loss of Dice, full - offline", _largest_loss),
    ("6", "online is almost always better than no pretraining",
     f"share of configurations, above {ALMOST_ALWAYS} (our threshold)", _share_above_none),
    ("6", "no online choice is longer than 150 epochs", "longest online choice, epochs", _longest),
    ("6", "most online choices are one epoch", "share of online choices that are epoch 1", _only_one),
    ("7.1", "cosine is best on every dataset", "smallest lead of cosine in mean TIS, on the data it was chosen on", _cosine_best),
    ("7.1", "Pearson is better than full pretraining", "mean TIS, Pearson - full",
     _rows_differ("pearson, margin 0.50", "ImageNet accuracy")),
    ("7.1", "L2 is better than full pretraining", "mean TIS, L2 - full",
     _rows_differ("l2, margin 0.50", "ImageNet accuracy")),
    ("7.2", "a margin of 0.25 instead of 0.5 has practically no effect",
     f"mean absolute change of TIS, below {NO_EFFECT} (our threshold)", _no_effect),
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


def metric_claim(lowest: float | None) -> Claim:
    """Test the claim that five evaluation metrics rank models alike (A.5); it needs no alignment."""
    evidence = Evidence(None, None, LOST) if lowest is None else _plain(lowest, lambda value: value > 0.96)
    text = "-HD95, average precision, MCC, Jaccard and Dice all correlate over 96 %"
    return Claim("A.5", text, "lowest Spearman correlation over the models of COVID-QU and IDRiD together", evidence, evidence)


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

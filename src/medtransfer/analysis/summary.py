"""Configurations go in; the whole analysis, each way of choosing summed up and compared over all of them, comes out."""

from collections.abc import Sequence

from medtransfer.analysis.judge import Sampling, judge
from medtransfer.analysis.model import Analysis, Contrast, Summary, Verdict
from medtransfer.analysis.pools import Configuration
from medtransfer.metrics.comparison import bootstrap_mean, compare_paired, holm
from medtransfer.metrics.transfer import interpolate_fixed
from medtransfer.progress import track

LEADING = ("offline", "online", "source-accuracy", "none", "full", "random", "oracle")
EQUAL_COST = "fixed at equal cost"
CONTRASTS = {"offline": ("none", "full", "random", EQUAL_COST), "online": ("none", "full", "random", EQUAL_COST)}


def analyse(
    configurations: Sequence[Configuration], left: Sequence[str], sampling: Sampling, warnings: Sequence[str] = ()
) -> Analysis:
    """Compute every number of the report.

    Args:
        configurations: complete or not.
        left: in words, what was left out.
        sampling: of the intervals.
        warnings: in words, what weakens all of it.
    """
    judged = [
        judge(configuration, sampling) for configuration in track(configurations, "report", len(configurations), "configurations")
    ]
    notes = [note for one in judged for note in one.notes]
    by_name = {one.name: {verdict.selector: verdict for verdict in one.verdicts} for one in judged if one.verdicts}
    return Analysis(
        tuple(judged), tuple(_summaries(by_name, sampling)), tuple(_contrasts(by_name, sampling)), (*left, *notes),
        sampling.confidence, sampling.draws, sampling.seed, tuple(warnings),
    )  # fmt: skip


Table = dict[str, dict[str, Verdict]]  # verdicts by configuration and selector


def _summaries(table: Table, sampling: Sampling) -> list[Summary]:
    names = {selector for found in table.values() for selector in found}
    fixed = sorted((name for name in names if name.startswith("fixed-")), key=lambda name: int(name.split("-")[1]))
    return [_summary(name, table, sampling) for name in (*(one for one in LEADING if one in names), *fixed)]


def _summary(selector: str, table: Table, sampling: Sampling) -> Summary:
    rows = {name: found for name, found in sorted(table.items()) if selector in found}
    chosen = [found[selector] for found in rows.values()]
    tis = [verdict.tis for verdict in chosen]
    drawn = bootstrap_mean(tis, sampling.draws, sampling.confidence, sampling.generator("configurations"))
    near = [verdict.within_noise for verdict in chosen if verdict.within_noise is not None]
    cost = sum(verdict.spent for verdict in chosen) / len(chosen)
    at_cost = _at_cost(list(rows.values()), cost)
    return Summary(
        selector=selector, configurations=len(chosen), mean_tis=sum(tis) / len(tis),
        interval=drawn if len(chosen) > 1 else None, min_tis=min(tis),
        mean_regret=sum(verdict.regret for verdict in chosen) / len(chosen), mean_epochs=cost,
        within_noise=sum(near) / len(near) if near else None, fixed_at_cost=sum(at_cost) / len(at_cost) if at_cost else None,
    )  # fmt: skip


def _at_cost(rows: Sequence[dict[str, Verdict]], cost: float) -> list[float]:
    """Give what fixed lengths of the same mean cost bring on each configuration; empty where a row has none of that cost."""
    curves = [
        {int(verdict.spent): verdict.tis for name, verdict in found.items() if name == "none" or name.startswith("fixed-")}
        for found in rows
    ]
    if not all(curve and min(curve) <= cost <= max(curve) for curve in curves):
        return []
    return [interpolate_fixed(curve, cost) for curve in curves]


def _contrasts(table: Table, sampling: Sampling) -> list[Contrast]:
    pairs = [(first, second) for first, others in CONTRASTS.items() for second in others]
    found = [(first, second, _tis(table, first, second)) for first, second in pairs]
    compared = [
        (first, second, compare_paired(*both, sampling.draws, sampling.confidence, sampling.generator("configurations")))
        for first, second, both in found if both[0]
    ]  # fmt: skip
    corrected = holm([one.p_value for _, _, one in compared])
    return [
        Contrast(first, second, one.n, one.difference, one.interval, one.p_value, p_holm, one.wins, one.losses)
        for (first, second, one), p_holm in zip(compared, corrected, strict=True)
    ]


def _tis(table: Table, first: str, second: str) -> tuple[list[float], list[float]]:
    """Give the TIS of both on the configurations that have both."""
    rows = [found for _, found in sorted(table.items()) if first in found and (second in found or second == EQUAL_COST)]
    left = [found[first].tis for found in rows]
    if second != EQUAL_COST:
        return left, [found[second].tis for found in rows]
    cost = sum(found[first].spent for found in rows) / len(rows) if rows else 0.0
    at_cost = _at_cost(rows, cost)
    return (left, at_cost) if at_cost else ([], [])

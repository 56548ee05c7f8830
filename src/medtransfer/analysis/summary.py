"""Summarise the selectors over all pools, and compare them in the same pools."""

from collections.abc import Mapping, Sequence

from medtransfer.analysis.judge import Sampling, judge
from medtransfer.analysis.model import Analysis, Contrast, Judged, Summary, Verdict
from medtransfer.analysis.pools import Pool
from medtransfer.metrics.comparison import bootstrap_mean, compare_paired, holm
from medtransfer.metrics.transfer import interpolate_fixed
from medtransfer.progress import track
from medtransfer.selectors.selectors import CONTRASTED, EQUAL_COST, SELECTORS, Selector


def analyse(pools: Sequence[Pool], left: Sequence[str], sampling: Sampling, warnings: Sequence[str] = ()) -> Analysis:
    """Compute every number of the report.

    Args:
        pools: pools, complete or not.
        left: lines on what was left out.
        sampling: how intervals are drawn.
        warnings: sentences on what weakens all of it.
    """
    judged = [judge(pool, sampling) for pool in track(pools, "report", len(pools), "configurations")]
    notes = [note for pool in judged for note in pool.notes]
    summaries, contrasts = summarise(judged, sampling)
    return Analysis(
        tuple(judged), summaries, contrasts, (*left, *notes), sampling.confidence, sampling.draws, sampling.seed, tuple(warnings)
    )


def summarise(judged: Sequence[Judged], sampling: Sampling) -> tuple[tuple[Summary, ...], tuple[Contrast, ...]]:
    """Summarise and contrast the selectors over judged pools, independent of the order of the pools."""
    rows = [pool.by_selector for pool in sorted(judged, key=lambda pool: pool.name) if pool.verdicts]
    selectors = {verdict.selector.name: verdict.selector for row in rows for verdict in row.values()}
    lengths = sorted((s for s in selectors.values() if s.name not in SELECTORS), key=lambda selector: selector.length or 0)
    ordered = [*(selector for name, selector in SELECTORS.items() if name in selectors), *lengths]
    return tuple(_summary(selector, rows, sampling) for selector in ordered), tuple(_contrasts(rows, sampling))


Row = Mapping[str, Verdict]  # the verdicts of a pool by name of the selector


def _summary(selector: Selector, rows: Sequence[Row], sampling: Sampling) -> Summary:
    rows = [row for row in rows if selector.name in row]
    verdicts = [row[selector.name] for row in rows]
    tis = [verdict.tis for verdict in verdicts]
    bounds = bootstrap_mean(tis, sampling.draws, sampling.confidence, sampling.generator("configurations"))
    near = [verdict.within_noise for verdict in verdicts if verdict.within_noise is not None]
    cost = sum(verdict.spent for verdict in verdicts) / len(verdicts)
    at_cost = _at_cost(rows, cost)
    return Summary(
        selector=selector, pools=len(verdicts), mean_tis=sum(tis) / len(tis),
        interval=bounds if len(verdicts) > 1 else None, min_tis=min(tis),
        mean_regret=sum(verdict.regret for verdict in verdicts) / len(verdicts), mean_epochs=cost,
        within_noise=sum(near) / len(near) if near else None, fixed_at_cost=sum(at_cost) / len(at_cost) if at_cost else None,
    )  # fmt: skip


def _at_cost(rows: Sequence[Row], cost: float) -> list[float]:
    """Return the TIS of fixed lengths of the same mean cost in each pool; empty if a pool has none of that cost."""
    curves = [{v.selector.length: v.tis for v in row.values() if v.selector.length is not None} for row in rows]
    if not all(curve and min(curve) <= cost <= max(curve) for curve in curves):
        return []
    return [interpolate_fixed(curve, cost) for curve in curves]


def _contrasts(rows: Sequence[Row], sampling: Sampling) -> list[Contrast]:
    pairs = [(first, second) for first in CONTRASTED for second in first.against]
    values = [(first, second, _tis(rows, first, second)) for first, second in pairs]
    compared = [
        (first, second, compare_paired(*tis, sampling.draws, sampling.confidence, sampling.generator("configurations")))
        for first, second, tis in values if tis[0]
    ]  # fmt: skip
    corrected = holm([comparison.p_value for _, _, comparison in compared])
    return [
        Contrast(first, second, c.n, c.difference, c.interval, c.p_value, p_holm, c.wins, c.losses)
        for (first, second, c), p_holm in zip(compared, corrected, strict=True)
    ]


def _tis(rows: Sequence[Row], first: Selector, second: Selector) -> tuple[list[float], list[float]]:
    """Return the TIS of both selectors in the pools in which both can choose."""
    at_cost = second is EQUAL_COST
    shared = [row for row in rows if first.name in row and (second.name in row or at_cost)]
    tis = [row[first.name].tis for row in shared]
    if not at_cost:
        return tis, [row[second.name].tis for row in shared]
    cost = sum(row[first.name].spent for row in shared) / len(shared) if shared else 0.0
    fixed = _at_cost(shared, cost)
    return (tis, fixed) if fixed else ([], [])

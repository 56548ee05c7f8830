"""Summarise the selectors over all pools, and compare them in the same pools."""

from collections.abc import Sequence

from medtransfer.analysis.evidence import gather
from medtransfer.analysis.history import with_history
from medtransfer.analysis.judge import judge_all
from medtransfer.analysis.model import Analysis, Contrast, Judged, Sampling, Summary
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pruning import Pruning, cuts_of, over_pools
from medtransfer.analysis.trials import highest_tis
from medtransfer.metrics.comparison import ClusterMean, cluster_mean, coarsest, differences, holm, mean_tis_interval
from medtransfer.metrics.transfer import interpolate_fixed
from medtransfer.progress import track
from medtransfer.selectors.selectors import CONTRASTED, EQUAL_COST, OUTCOME, SELECTORS, Selector
from medtransfer.tasks.contract import lowest_tis


def analyse(
    pools: Sequence[Pool], left: Sequence[str], sampling: Sampling, warnings: Sequence[str] = (), eta: int = 0
) -> Analysis:  # fmt: skip
    """Compute every number of the report.

    Args:
        pools: pools, complete or not.
        left: lines on what was left out.
        sampling: how intervals are drawn.
        warnings: sentences on what weakens all of it.
        eta: factor of the race that pruning is judged for; 0 for none.
    """
    pools = with_history(pools, sampling.least)
    judged = list(track(judge_all(pools, sampling), "report", len(pools), "configurations"))
    notes = [note for pool in judged for note in pool.notes]
    summaries, contrasts = summarise(judged, sampling)
    evidence = gather(sorted(judged, key=lambda pool: pool.name), sampling, mean_over)
    return Analysis(
        tuple(judged), summaries, contrasts, evidence, (*left, *notes, *evidence.notes), sampling, tuple(warnings),
        eta, prune(judged, eta, sampling.confidence),
    )  # fmt: skip


def prune(judged: Sequence[Judged], eta: int, confidence: float) -> tuple[Pruning, ...]:
    """Judge what pruning by each score would have done to the judged pools, independent of their order; nothing for eta 0."""
    pools = [pool.pool for pool in sorted(judged, key=lambda pool: pool.name) if pool.verdicts] if eta else []
    return over_pools([cuts_of(pool, eta) for pool in pools], factors_of(pools), confidence)


def summarise(judged: Sequence[Judged], sampling: Sampling) -> tuple[tuple[Summary, ...], tuple[Contrast, ...]]:
    """Summarise and contrast the selectors over judged pools, independent of the order of the pools."""
    pools = [pool for pool in sorted(judged, key=lambda pool: pool.name) if pool.verdicts]
    selectors = {verdict.selector.name: verdict.selector for pool in pools for verdict in pool.verdicts}
    lengths = sorted((s for s in selectors.values() if s.name not in SELECTORS), key=lambda selector: selector.length or 0)
    ordered = [*(selector for name, selector in SELECTORS.items() if name in selectors), *lengths]
    return tuple(summary_of(selector, pools, sampling) for selector in ordered), tuple(_contrasts(pools, sampling))


def mean_over(pools: Sequence[Judged], values: Sequence[float]) -> ClusterMean:
    """Return the mean of one value for each judged pool (`mean_over_pools`)."""
    return mean_over_pools([pool.pool for pool in pools], values)


def mean_over_pools(pools: Sequence[Pool], values: Sequence[float]) -> ClusterMean:
    """Return the mean of one value for each pool, with the clusters of `factors_of`."""
    return cluster_mean(values, factors_of(pools))


def factors_of(pools: Sequence[Pool]) -> dict[str, Sequence[str]]:
    """Return pretraining and target of each pool: those that share either are a cluster.

    Pretrainings that differ in their seed alone are one cluster too, where there are enough others.
    """
    weights = [pool.weights for pool in pools]
    first: dict[str, str] = {}
    recipes = [first.setdefault(pool.recipe or name, name) for pool, name in zip(pools, weights, strict=True)]
    return {"pretraining": coarsest(weights, recipes), "target": [pool.fields["target"] for pool in pools]}


def summary_of(selector: Selector, pools: Sequence[Judged], sampling: Sampling) -> Summary:
    """Summarise a selector over the pools in which it can choose."""
    pools = [pool for pool in pools if selector.name in pool.by_selector]
    verdicts = [pool.by_selector[selector.name] for pool in pools]
    mean = mean_over(pools, [verdict.tis for verdict in verdicts])
    near = [
        verdict.within_noise
        for pool, verdict in zip(pools, verdicts, strict=True) if pool.has_seeds and verdict.within_noise is not None
    ]  # fmt: skip
    cost, shared = sum(verdict.spent for verdict in verdicts) / len(verdicts), shared_cost(pools, selector)
    fixed, fixed_shared = at_cost(pools, cost), at_cost(pools, shared)
    lowest = lowest_tis(judged.pool.metric for judged in pools)
    worst = min(min(judged.pool.means.values()) / max(judged.pool.means.values()) for judged in pools)
    highest = highest_tis((judged.pool for judged in pools), selector)
    return Summary(
        selector=selector, pools=len(verdicts), clusters=mean.clusters, mean_tis=mean.value,
        interval=None if selector.needs == OUTCOME else mean_tis_interval(mean, sampling.confidence, lowest, highest, worst),
        min_tis=min(verdict.tis for verdict in verdicts),
        mean_regret=sum(verdict.regret for verdict in verdicts) / len(verdicts), mean_epochs=cost, shared_epochs=shared,
        within_noise=sum(near) / len(near) if near else None, fixed_at_cost=sum(fixed) / len(fixed) if fixed else None,
        fixed_at_shared=sum(fixed_shared) / len(fixed_shared) if fixed_shared else None,
        mean_fine_tunings=sum(verdict.fine_tunings for verdict in verdicts) / len(verdicts),
    )  # fmt: skip


def shared_cost(pools: Sequence[Judged], selector: Selector) -> float:
    """Return the mean epochs of the pretrainings when each runs to the longest stop of the pools that it serves."""
    longest: dict[str, float] = {}
    for pool in pools:
        longest[pool.pool.weights] = max(longest.get(pool.pool.weights, 0.0), pool.by_selector[selector.name].spent)
    return sum(longest.values()) / len(longest)


def at_cost(pools: Sequence[Judged], cost: float) -> list[float]:
    """Return the TIS of fixed lengths of the same mean cost in each pool; empty if a pool has none of that cost."""
    curves = [pool.fixed for pool in pools]
    if not all(curve and min(curve) <= cost <= max(curve) for curve in curves):
        return []
    return [interpolate_fixed(curve, cost) for curve in curves]


def _contrasts(pools: Sequence[Judged], sampling: Sampling) -> list[Contrast]:
    pairs = [(first, second, _paired(pools, first, second)) for first in CONTRASTED for second in first.against]
    compared = [(first, second, shared, gaps, mean_over(shared, gaps)) for first, second, (shared, gaps) in pairs if gaps]
    corrected = iter(holm([mean.p_value for *_, mean in compared if mean.p_value is not None]))
    return [
        Contrast(
            first, second, len(gaps), mean.clusters, mean.value,
            mean.difference_interval(sampling.confidence), mean.p_value,
            None if mean.p_value is None else next(corrected), sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps),
            mean.outcome(sampling.confidence, sampling.margin), mean.detectable(sampling.confidence),
        )
        for first, second, shared, gaps, mean in compared
    ]  # fmt: skip


def _paired(pools: Sequence[Judged], first: Selector, second: Selector) -> tuple[list[Judged], list[float]]:
    """Return the pools in which both selectors can choose, and the differences of their TIS."""
    equal = second is EQUAL_COST
    shared = [pool for pool in pools if first.name in pool.by_selector and (second.name in pool.by_selector or equal)]
    if not shared:
        return [], []
    tis = [pool.by_selector[first.name].tis for pool in shared]
    if not equal:
        return shared, differences(tis, [pool.by_selector[second.name].tis for pool in shared])
    fixed = at_cost(shared, sum(pool.by_selector[first.name].spent for pool in shared) / len(shared))
    return (shared, differences(tis, fixed)) if fixed else ([], [])

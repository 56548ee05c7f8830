"""Further evidence on the selectors: association given epoch, permutation null, power, and fine-tuning candidates first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.analysis.model import Association, BetweenSeeds, Evidence, Judged, Patients, Power, Sampling
from medtransfer.analysis.patients import resample_patients, runs_to_resample
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.trials import seed_table
from medtransfer.errors import InputError
from medtransfer.metrics.comparison import ClusterMean, differences
from medtransfer.metrics.power import detectable_gap, seeds_needed
from medtransfer.progress import Tally
from medtransfer.selectors.selectors import CONTRASTED, SELECTORS

Array = NDArray[np.float64]


MeanOver = Callable[[Sequence[Judged], Sequence[float]], ClusterMean]


def gather(judged: Sequence[Judged], sampling: Sampling, mean_over: MeanOver) -> Evidence:
    """Gather all evidence that the judged pools allow.

    Args:
        judged: all pools.
        sampling: how draws are made.
        mean_over: mean of one value for each pool, with its clusters.
    """
    pools = [pool for pool in judged if pool.verdicts and pool.pool.is_series]
    patients, notes = _patients(pools, sampling)
    permuted = {s.name: share for s in CONTRASTED if (share := _permuted(pools, s.name, sampling)) is not None}
    return Evidence(
        _association(pools, mean_over), permuted, _power(pools, sampling), _trials(pools, mean_over), patients,
        between_seeds(pools), tuple(notes),
    )  # fmt: skip


def _association(pools: Sequence[Judged], mean_over: MeanOver) -> Association | None:
    found = [(pool, row) for pool in pools if (row := correlate_ranks(pool.pool.robustness, pool.pool.means)) is not None]
    if not found:
        return None
    given = [(pool, partial) for pool, (_, _, partial) in found if partial is not None]
    measured = [pool for pool, _ in found]
    return Association(
        mean_over(measured, [of_score for _, (of_score, _, _) in found]),
        mean_over(measured, [of_epoch for _, (_, of_epoch, _) in found]),
        mean_over([pool for pool, _ in given], [partial for _, partial in given]) if given else None,
        len(found),
        len(given),
    )


def correlate_ranks(scores: Mapping[Any, float], means: Mapping[Any, float]) -> tuple[float, float, float | None] | None:
    """Return Spearman's correlation of score and outcome, of epoch and outcome, and of score and outcome given the epoch.

    The random initialisation, epoch 0, is left out. The last is None where one side follows the epoch exactly, all are None with
    fewer than four epochs or where one side is constant.

    Source: Kendall, Partial rank correlation, Biometrika 32, 1942, with Spearman's coefficients.
    """
    epochs = [epoch for epoch in sorted(scores) if epoch and epoch in means]
    if len(epochs) < 4:
        return None
    from scipy import stats  # takes a second to load

    ranks = stats.rankdata([[scores[epoch] for epoch in epochs], [means[epoch] for epoch in epochs], epochs], axis=1)  # (3, E)
    if any(np.ptp(ranks, axis=1) == 0):
        return None
    (_, xy, xz), (_, _, yz), _ = np.corrcoef(ranks)
    left = (1 - xz**2) * (1 - yz**2)
    return float(xy), float(yz), float((xy - xz * yz) / np.sqrt(left)) if left > 1e-9 else None


def _permuted(pools: Sequence[Judged], name: str, sampling: Sampling) -> float | None:
    """Return the share of draws in which choices that change places within encoder and mode bring at least as much TIS.

    None where no two pools of an encoder and a mode have the same candidates.
    """
    groups: dict[tuple[object, ...], list[Judged]] = {}
    for pool in (pool for pool in pools if name in pool.by_selector):
        fields = pool.pool.fields
        groups.setdefault((fields["encoder"], fields["mode"], pool.pool.portion, tuple(pool.pool.means)), []).append(pool)
    tables = [_tis_of_choices(members, name) for members in groups.values() if len(members) > 1]
    if not tables:
        return None
    rng = sampling.generator("permutations", name)
    chosen = sum(float(np.trace(table)) for table in tables)
    drawn = np.zeros(sampling.draws)
    for table in tables:
        orders = rng.permuted(np.tile(np.arange(len(table)), (sampling.draws, 1)), axis=1)
        drawn += table[np.arange(len(table)), orders].sum(axis=1)
    return float((1 + (drawn >= chosen - 1e-12).sum()) / (1 + sampling.draws))


def _tis_of_choices(members: Sequence[Judged], name: str) -> Array:
    """Return the TIS (pools, pools) in the pool of the row of the choice made in the pool of the column."""
    choices = [pool.by_selector[name].candidate for pool in members]
    return np.array([[pool.pool.means[c] / max(pool.pool.means.values()) for c in choices if c is not None] for pool in members])


def _power(pools: Sequence[Judged], sampling: Sampling) -> Power | None:
    """Return what a comparison of two candidates of a pool could see, at the spread of its trained candidates."""
    seeded = [(pool, spread) for pool in pools if pool.has_seeds and (spread := relative_spread(pool.pool)) is not None]
    if not seeded:
        return None
    spreads: dict[str, list[float]] = {}
    gaps = []
    for pool, spread in seeded:
        gaps.append(detectable_gap(spread, min(c.seeds for c in pool.candidates), sampling.confidence))
        spreads.setdefault(pool.pool.fields["target"], []).append(spread)
    needed = {
        target: seeds_needed(float(np.median(values)), sampling.margin, sampling.confidence)
        for target, values in sorted(spreads.items())
    }
    return Power(float(np.median(gaps)), needed)


def relative_spread(pool: Pool) -> float | None:
    """Return the standard deviation over seeds of the trained candidates' outcomes, pooled and relative to the best mean.

    A median of standard deviations would be too low: with two seeds it is two thirds of the true one. None with one seed.
    """
    repeated = [values for key, values in pool.values.items() if key != 0 and len(values) > 1]
    return pooled_spread(repeated) / max(pool.means.values()) if repeated else None


def _patients(pools: Sequence[Judged], sampling: Sampling) -> tuple[Patients | None, list[str]]:
    count = sum(len(pool.pool.fine_tunings) for pool in pools)
    if not sampling.patients or not count:
        return None, []
    if count > sampling.patients:
        return None, [f"Test patients were not resampled, since {count} fine-tunings are more than report.patients"]
    drawn, notes = [], []
    with Tally("report: resampling patients", sum(len(runs_to_resample(pool.pool)) for pool in pools), "fine-tunings") as tally:
        for pool in pools:
            try:
                if (draws := resample_patients(pool.pool, sampling, tally.count)) is not None:
                    drawn.append((pool, draws))
            except InputError as error:
                notes.append(f"{pool.name}: test patients were not resampled: {error}")
    if not drawn:
        return None, notes
    same, deviations = [], []
    for pool, (keys, values, _) in drawn:
        best = values.max(axis=1)
        same.append(float((values[:, int(np.argmax([pool.pool.means[key] for key in keys]))] >= best).mean()))
        chosen = pool.by_selector.get(CONTRASTED[0].name)
        defined = best > 0  # else there is no TIS, as where no model learned anything about the patients drawn
        if chosen is not None and chosen.candidate is not None and defined.sum() > 1:
            deviations.append(float((values[defined, keys.index(chosen.candidate)] / best[defined]).std(ddof=1)))
    fewest = min(patients for _, (_, _, patients) in drawn)
    return Patients(len(drawn), fewest, float(np.mean(same)), float(np.mean(deviations)) if deviations else None), notes


def between_seeds(pools: Sequence[Judged]) -> BetweenSeeds | None:
    """Return the spread between pretrainings that differ in their seed alone; None where no configuration has two."""
    groups: dict[tuple[str, ...], dict[str, Judged]] = {}
    for pool in pools:
        fields, digests = pool.pool.fields, pool.pool.digests
        shared = (fields["target"], fields["mode"], *pool.pool.portion, digests["data"], digests["protocol"])
        if pool.pool.recipe:
            groups.setdefault((pool.pool.recipe, *shared), {})[pool.pool.pretraining_seed] = pool
    repeated = [list(by_seed.values()) for by_seed in groups.values() if len(by_seed) > 1]
    if not repeated:
        return None
    best = [[max(pool.pool.means.values()) for pool in group] for group in repeated]
    tis = [[pool.by_selector["offline"].tis for pool in group if "offline" in pool.by_selector] for group in repeated]
    chosen = [values for values in tis if len(values) > 1]
    return BetweenSeeds(len(repeated), min(map(len, repeated)), pooled_spread(best), pooled_spread(chosen) if chosen else None)


def pooled_spread(groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation within groups of at least two values, from the mean of their variances."""
    return float(np.sqrt(np.mean([np.var(values, ddof=1) for values in groups])))


def _trials(pools: Sequence[Judged], mean_over: MeanOver) -> dict[str, ClusterMean]:
    """Return the difference of every selector with a trial to the last candidate, on the seeds that the candidates share."""
    found = {}
    for name in (selector.name for selector in SELECTORS.values() if selector.trial):
        if tried := [pool for pool in pools if name in pool.by_selector]:
            means = [seed_table(pool.pool, pool.pool.outcome).mean(axis=1) for pool in tried]
            last = [float(values[-1] / values.max()) for values in means]
            found[name] = mean_over(tried, differences([pool.by_selector[name].tis for pool in tried], last))
    return found

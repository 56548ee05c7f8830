"""Cases of a search, from the finished runs of the tracking store."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtransfer import tracking
from medtransfer.analysis.described import Described
from medtransfer.analysis.judge import unjudged
from medtransfer.analysis.no_results import no_fine_tunings
from medtransfer.analysis.planned import compare_with_plan
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pools import collect
from medtransfer.config.loaded_files import make_missing
from medtransfer.errors import InputError
from medtransfer.indicators.contract import ViewSettings
from medtransfer.indicators.registry import ALL
from medtransfer.indicators.robustness.pairs import Pairs, read_pairs
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.robustness.triplet import SortedGaps
from medtransfer.metrics.transfer import transferability_indicator_score
from medtransfer.progress import status, track
from medtransfer.records import BROKEN_ARRAYS, checkpoint_path, in_one_line
from medtransfer.search.evaluate import Case, Curve, Key, Measured
from medtransfer.search.indicator_scores import complete_only, read_scores
from medtransfer.search.settings import ROBUSTNESS, IndicatorSetting
from medtransfer.tasks.contract import shared_label


@dataclass(frozen=True)
class Results:
    """Cases of a search, and sentences on what was left out and how they differ from what the section `study` plans."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """Scores of one pretraining on one target: robustness by key and epoch, and the settings at which it exists."""

    curves: Mapping[Key, Mapping[int, Curve]]
    measured: Measured


UNSCORED = Scored({}, Measured(frozenset()))


def read_own(
    default: RobustnessSetting,
    tried: Collection[tuple[str, int]],
    views: ViewSettings | None = None,
    least: float = 0.0,
    described: Described | None = None,
    indicators: Collection[str] = (ROBUSTNESS,),
) -> Results:
    """Read the user's own fine-tunings, per-image distances and scores of indicators.

    Args:
        default: setting that the search is compared with; score runs at it are preferred if there are several.
        tried: (distance, level) pairs that the search may try.
        views: view settings of the score runs to prefer; None for any.
        least: mean outcome up to which models learned nothing.
        described: the study to search on; None for everything in the store.
        indicators: names of the indicators that the search may try; with ALL every one that was scored.

    Raises:
        InputError: there are no results, none is complete, or stored distances or scores cannot be read.
    """
    with status("search: reading the tracking store"):
        pools, left_out = collect(default, views, described)
    if not pools:
        raise no_fine_tunings()
    robust = ROBUSTNESS in indicators or (ALL in indicators and any(pool.robustness for pool in pools))
    usable, notes = select_usable(pools, least, robust)
    scored = _read_robustness([pool for pool in usable if pool.robustness], {*tried, (default.distance, default.level)})
    others = _read_others(usable) if set(indicators) - {ROBUSTNESS} else {}
    cases = [
        make_case(pool, scored.get(pool.score_run, UNSCORED), complete_only(others.get(pool.score_runs, {}), pool))
        for pool in usable
    ]
    return Results(tuple(cases), (*compare_with_plan(described, pools), *left_out, *notes))


def _read_robustness(pools: Sequence[Pool], kept: Collection[tuple[str, int]]) -> dict[str, Scored]:
    runs = {pool.score_run: pool for pool in pools}  # modes of transfer share a run
    reading = track(runs.items(), "search: reading distances", len(runs), "score runs")
    return {run: read_distances(pool, kept) for run, pool in reading}


def _read_others(pools: Sequence[Pool]) -> dict[tuple[str, ...], dict[IndicatorSetting, dict[int, float | None]]]:
    groups = list(dict.fromkeys(pool.score_runs for pool in pools))
    return {runs: read_scores(runs) for runs in track(groups, "search: reading scores", len(groups), "pretrainings")}


def select_usable(pools: Sequence[Pool], least: float = 0.0, robust: bool = True) -> tuple[list[Pool], list[str]]:
    """Select the configurations that can be judged, with notes on why the others cannot.

    Args:
        pools: all configurations.
        least: mean outcome up to which models learned nothing.
        robust: whether they must have the robustness of every checkpoint.

    Raises:
        InputError: none can be judged.
    """
    reasons = {pool.name: unjudged(pool, least) or _unscored(pool, robust) for pool in pools}
    usable = [pool for pool in pools if not reasons[pool.name]]
    if not usable:
        name, reason = next(iter(reasons.items()))
        metric = shared_label(pool.metric for pool in pools)
        lacking = any(not pool.complete or _unscored(pool, robust) for pool in pools)
        raise InputError(
            f"expected a configuration with the {metric} and the score of every checkpoint, but none of {len(reasons)} has them "
            f"({name}: {reason}){make_missing() if lacking else ''}"
        )
    return usable, [f"{name}: left out, {reason}" for name, reason in reasons.items() if reason]


def _unscored(pool: Pool, robust: bool) -> str:
    later = set(pool.candidates) - {0}
    missing = sorted(later - set(pool.robustness)) if robust else sorted(later if not pool.score_run else ())
    if missing:
        return f"no score of epochs {', '.join(map(str, missing))}"
    return "" if later else "no checkpoint after epoch 0 to choose"


def make_case(pool: Pool, scored: Scored, others: Mapping[IndicatorSetting, Mapping[int, float]] | None = None) -> Case:
    """Join a configuration's outcomes with its scores."""
    tis = {int(epoch): transferability_indicator_score(pool.means, epoch) for epoch in pool.means}
    encoder, target, mode = (pool.fields[name] for name in ("encoder", "target", "mode"))
    return Case(pool.name, encoder, target, mode, pool.weights, tis, scored.curves, scored.measured, pool.metric, others or {})


def read_distances(pool: Pool, kept: Collection[tuple[str, int]]) -> Scored:
    """Read the per-image distances of a configuration's score run.

    Args:
        pool: configuration whose scored epochs are read.
        kept: (distance, level) pairs whose distances are kept.

    Raises:
        InputError: a file is missing or broken.
    """
    gaps: dict[Key, dict[int, SortedGaps]] = defaultdict(dict)
    stored: list[set[Key]] = []
    with tracking.artifact_folder(pool.score_run, "scores") as folder:
        for epoch in map(int, sorted(pool.robustness)):
            pairs = _read_epoch(folder, epoch, pool)
            stored.append(set(pairs.d_pos))
            for key in (key for key in pairs.d_pos if key[:2] in kept):
                gaps[key][epoch] = SortedGaps(pairs.d_pos[key], pairs.d_neg[key])
    return Scored(dict(gaps), Measured(both_poolings(set.intersection(*stored))))


def _read_epoch(folder: Path, epoch: int, pool: Pool) -> Pairs:
    path = checkpoint_path(folder, epoch).with_suffix(".npz")
    try:
        return read_pairs(path)
    except BROKEN_ARRAYS as error:
        raise InputError(
            f"expected the per-image distances of {pool.name}, epoch {epoch}, as the artifact scores/{path.name} of the "
            f"run {pool.score_run}, but they cannot be read ({in_one_line(error)}); "
            "make them again with `medtransfer score --force`"
        ) from None


def both_poolings(keys: Collection[Key]) -> frozenset[tuple[str, int]]:
    """Return the (distance, level) pairs that exist pooled and flattened."""
    return frozenset((distance, level) for distance, level, pooled in keys if (distance, level, not pooled) in keys)

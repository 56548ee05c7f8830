"""What a study takes and what it could distinguish, said before anything runs."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from medtransfer import study, tracking
from medtransfer.analysis.evidence import relative_spread
from medtransfer.analysis.pool import PORTION, Pool, portion_of
from medtransfer.analysis.pools import collect
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid.estimate import Durations, Kind, read_earlier
from medtransfer.grid.jobs import Job, check_inputs, check_models, plan
from medtransfer.grid.kept import disk_use
from medtransfer.grid.launcher import LauncherKind
from medtransfer.grid.progress import describe_end
from medtransfer.grid.reuse import describe_reuse, find_reused
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.metrics.comparison import LEAST_CLUSTERS, POWER, coarsest
from medtransfer.metrics.power import MOST_SEEDS, detectable_gap, seeds_needed
from medtransfer.papers.hidy2024.spread import RELATIVE_SPREADS
from medtransfer.records import IMAGE_TASKS, TARGET_FILE, CellName, TargetInfo
from medtransfer.records.tables import as_markdown
from medtransfer.report.verdict_text import counted
from medtransfer.score.options import robustness_of, views_of


def forecast(params: Params) -> str:
    """Describe the jobs of a study, and what its seeds, pretrainings and targets could distinguish.

    Raises:
        InputError: the tracking store cannot be reached, or a job takes more than the launcher has.
    """
    tracking.require_experiments(())  # a store that cannot be reached is an error before any work
    jobs, pools = plan(params), _results(params)
    reused = find_reused(params, jobs)
    to_do = [job for job in jobs if job not in reused]
    _check(params, jobs, to_do)
    done, counts = Counter(job.kind for job in reused), Counter(job.kind for job in jobs)
    table = as_markdown([{"job": kind, "planned": count, "reused": done[kind]} for kind, count in counts.items()])
    reuse = f"{describe_reuse(jobs, reused)}{_describe_known(jobs, reused, pools)}"
    parts = [table, _series(params), reuse, *_end(params, to_do), disk_use(params, jobs)]
    return "\n\n".join([*parts, *_scripts(params, to_do), _clusters(params), _gaps(params, pools)])


def _check(params: Params, jobs: Sequence[Job], to_do: Sequence[Job]) -> None:
    """Refuse jobs that would fail, or that the launcher would refuse."""
    if to_do:
        check_models(params, jobs, to_do, check_inputs(params, jobs, to_do))
        kind: LauncherKind = LAUNCHERS[params.grid.launcher]
        kind.check(params, to_do, params.finetune.accelerator)


def _end(params: Params, to_do: Sequence[Job]) -> list[str]:
    """Say when the study would end on this machine, as far as the durations of earlier fine-tunings tell."""
    kind: LauncherKind = LAUNCHERS[params.grid.launcher]
    at_once = kind.at_once(params, params.grid.workers, to_do, params.finetune.accelerator)
    if not at_once:
        return []
    left = Durations(read_earlier(params, to_do)).remaining(Counter(map(Kind.of, to_do)), at_once, begun=False)
    workers = counted(int(max(at_once.values())), f"{params.grid.launcher} worker")
    return [f"Started now on {workers}: {describe_end(left, datetime.now())}."]


def _scripts(params: Params, to_do: Sequence[Job]) -> list[str]:
    """Write the scripts that the launcher would submit, and name them."""
    kind: LauncherKind = LAUNCHERS[params.grid.launcher]
    scripts = kind.write_scripts(params, to_do, Path(params.grid.out))
    return ["\n".join(["Scripts for sbatch, in their order:", *map(str, scripts)])] if scripts else []


def _results(params: Params) -> list[Pool]:
    """Read the results of the study from the store; a store may hold none but those of other studies."""
    try:
        pools, _ = collect(robustness_of(params.score), views_of(params.score), study.described(params))
    except InputError:
        return []
    return pools


def _describe_known(jobs: Sequence[Job], reused: Collection[Job], pools: Sequence[Pool]) -> str:
    """Say how many fine-tunings that are to do have results in the store."""
    known = sum(any(_holds(pool, job.cell) for pool in pools) for job in jobs if job.cell and job not in reused)
    if not known:
        return ""
    return (
        f"; the store has results of {counted(known, 'fine-tuning')} to do, which are made again: these, or what they need, are of "
        "other settings or not complete on disk"
    )


def _holds(pool: Pool, cell: CellName) -> bool:
    same = all(pool.fields[name] == getattr(cell, name) for name in ("target", "encoder", "origin", "mode"))
    same &= pool.portion == portion_of({name: str(getattr(cell, name)) for name in PORTION})
    return same and (cell.epoch, cell.seed) in pool.outcome


def _series(params: Params) -> str:
    names = [f"{encoder}-{origin}" for encoder, origin in study.study_series(params, {})]
    targets = list(dict.fromkeys(params.study.targets))
    text = f"{counted(len(names), 'pretraining')}: {', '.join(names)}. {counted(len(targets), 'target')}: {', '.join(targets)}."
    if params.pretrain.stop_on is not None:
        text += " A pretraining that stops early leaves fewer fine-tunings."
    return text


def _clusters(params: Params) -> str:
    """Say whether means over configurations can have intervals."""
    encoders, origins = dict.fromkeys(params.study.encoders), dict.fromkeys(params.study.origins)
    recipes = [f"{encoder} {origin}" for encoder in encoders for origin in origins for _ in study.origin_names(params, origin)]
    names = [" ".join(series) for series in study.study_series(params, {})]
    counts = {"pretraining": len(set(coarsest(names, recipes))), "target": len(set(params.study.targets))}
    enough = [counted(count, name) for name, count in counts.items() if count >= LEAST_CLUSTERS]
    if not enough:
        have = " and ".join(counted(count, name) for name, count in counts.items())
        return (
            f"Means over configurations will have no intervals, and no way of choosing can be called better than another: that "
            f"takes at least {LEAST_CLUSTERS} pretrainings or targets, and there are {have}."
        )
    text = f"Means over configurations will have intervals, from {' and '.join(enough)}."
    if len(set(recipes)) < LEAST_CLUSTERS <= counts["pretraining"]:
        text += " They hold for other pretraining seeds of these encoders and origins only."
    return text


def _gaps(params: Params, pools: Sequence[Pool]) -> str:
    """Say which gaps of TIS between two checkpoints the seeds of the study can see."""
    seeds, section = len(set(params.study.seeds)), params.report
    rows = [_row(target, pools, seeds, params) for target in dict.fromkeys(params.study.targets)]
    level = f"{100 * (1 - section.confidence):g} %"
    if seeds > 1:
        text = (
            f"With {seeds} seeds, two checkpoints of a configuration are distinguished with a probability of {100 * POWER:g} % "
            f"(two-sided t test at {level}) if their TIS differs by at least the gap seen:"
        )
    else:
        text = (
            "With one seed no two checkpoints can be distinguished. Seeds needed for a probability of "
            f"{100 * POWER:g} % (two-sided t test at {level}):"
        )
    return (
        f"{text}\n\n{as_markdown(rows)}\n\nThe spread is the standard deviation over seeds of a checkpoint's test metric, relative "
        "to the best checkpoint's. Where the store has no results of the study it is that of the paper (Hidy et al., "
        "arXiv:2410.18677, released results) on the dataset of the same reader, or its median over three datasets, which says "
        "nothing about labels of whole images. Fewer images "
        "and shorter trainings spread more: fine-tune one pretraining with a few seeds, then plan again."
    )


def _row(target: str, pools: Sequence[Pool], seeds: int, params: Params) -> dict[str, Any]:
    confidence, margin = params.report.confidence, params.report.margin
    learned = [
        pool
        for pool in pools
        if pool.fields["target"] == target and max(pool.means.values()) > pool.metric.floor(params.report.least)
    ]
    measured = [spread for pool in learned if (spread := relative_spread(pool)) is not None]
    reader = params.prepare.targets[target].reader
    source, spread = "the paper", median(RELATIVE_SPREADS.values())
    if measured:
        source, spread = counted(len(measured), "configuration"), median(measured)
    elif reader in RELATIVE_SPREADS:
        source, spread = f"the paper, {reader}", RELATIVE_SPREADS[reader]
    elif _is_of_labels(params, target):
        return {"target": target, "spread": "unknown", "known from": "–", "gap seen": "–", f"seeds for a gap of {margin:g}": "–"}
    gap = detectable_gap(spread, seeds, confidence) if seeds > 1 else math.inf
    needed = int(seeds_needed(spread, margin, confidence))
    return {
        "target": target, "spread": f"{spread:.4f}", "known from": source,
        "gap seen": f"{gap:.4f}" if gap < 1 else "none",  # TIS has no larger one
        f"seeds for a gap of {margin:g}": f"more than {MOST_SEEDS}" if needed >= MOST_SEEDS else str(needed),
    }  # fmt: skip


def _is_of_labels(params: Params, target: str) -> bool:
    """Return whether a target that is prepared already has labels of whole images, whose metric is not the paper's Dice."""
    try:
        return TargetInfo.read(Path(params.prepare.out) / target / TARGET_FILE).task in IMAGE_TASKS
    except InputError:  # it is not prepared yet
        return False

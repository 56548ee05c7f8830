"""Notes of the report: the data behind the tables, and missing results."""

from collections.abc import Sequence

from medtransfer.analysis.model import Analysis, Judged
from medtransfer.report.format import number
from medtransfer.report.size_text import FOLDS

NAMES = {"spearman": "Spearman", "kendall": "Kendall", "weighted_kendall": "weighted Kendall"}


def facts(judged: Judged) -> list[str]:
    """Return the notes on one pool: robustness setting, protocol, seeds and correlations."""
    pool = judged.pool
    shared = bool(pool.common_seeds) and not pool.every_seed
    seeds = f"{_numbers(pool.common_seeds if shared else pool.seeds) or 'none'}{', which all epochs share' if shared else ''}"
    lines = [
        f"Robustness: {pool.setting or 'not measured'}. Recipe: protocol {pool.digests['protocol']}. "
        f"Seeds of the {pool.metric.label}: {seeds}."
    ]
    if pool.loaded:
        lines.append(f"The weights were loaded in part only: {pool.loaded}; the others are random.")
    if pool.other_targets:
        count = f"{pool.other_targets} other target{'' if pool.other_targets == 1 else 's'}"
        lines.append(f"History: mean TIS of the same checkpoints on {count}.")
    if judged.correlations:
        values = ", ".join(f"{NAMES.get(name, name)} {number(value)}" for name, value in judged.correlations.items())
        lines.append(f"Correlation of robustness with {pool.metric.label} over the checkpoints: {values}.")
    return [*lines, *judged.notes]


def missing(analysis: Analysis) -> dict[str, list[str]]:
    """Return what the store lacks and what was left out, by heading; empty if nothing."""
    lines = {
        "Not judged": [f"{judged.name}: {judged.reason}" for judged in analysis.judged if judged.reason],
        "Beside the section study": list(analysis.plan),
        "Missing": [line for judged in analysis.judged for line in judged.pool.missing],
        "Left out or without intervals": list(analysis.left),
    }
    return {heading: entries for heading, entries in lines.items() if entries}


def settings(analysis: Analysis) -> list[str]:
    """Return the numbers of pools, runs and seeds behind the report, and how intervals were drawn."""
    runs = {run for judged in analysis.judged for run in judged.pool.runs}
    seeds = sorted({seed for judged in analysis.judged for seed in judged.pool.seeds})
    return [
        f"Configurations: {len(analysis.judged)}; read from {len(runs)} runs of the store. Seeds: {_numbers(seeds) or 'none'}.",
        f"Intervals: {100 * analysis.confidence:g} %. Draws of images, patients and permutations: {analysis.sampling.draws}, seed "
        f"{analysis.sampling.seed}. Equivalent: within ±{analysis.sampling.margin:g} TIS.",
        *_portions(analysis),
    ]


def _portions(analysis: Analysis) -> list[str]:
    """Say how subsets and folds are counted, where there are some and the section on sizes does not."""
    portions = [judged.pool.portion for judged in analysis.judged]
    if not any(map(any, portions)):
        return []
    text = "Each size and fold of the training images is a configuration of its own."
    several = analysis.sizes
    return [f"{text} {FOLDS}" if any(fold for _, fold in portions) and not several else text]


def _numbers(values: Sequence[int]) -> str:
    if len(values) > 12:
        return f"{values[0]} to {values[-1]} ({len(values)})"
    return ", ".join(map(str, values))

"""An analysis goes in; what it rests on and what it lacks, in lines, comes out."""

from medtransfer.analysis.model import Analysis, Judged

NAMES = {"spearman": "Spearman", "kendall": "Kendall", "weighted_kendall": "weighted Kendall"}


def facts(judged: Judged) -> list[str]:
    """Give what a reader of one configuration must know beside its tables."""
    one = judged.configuration
    shared = bool(one.common_seeds) and not one.every_seed
    seeds = f"{_numbers(one.common_seeds if shared else one.seeds) or 'none'}{', which all epochs share' if shared else ''}"
    said = [f"Robustness: {one.setting or 'not measured'}. Recipe: protocol {one.digests['protocol']}. Seeds of the Dice: {seeds}."]
    if judged.correlations:
        found = ", ".join(f"{NAMES.get(name, name)} {value:.3f}" for name, value in judged.correlations.items())
        said.append(f"Correlation of robustness with Dice over the checkpoints: {found}.")
    return said + list(judged.notes)


def missing(analysis: Analysis) -> dict[str, list[str]]:
    """Give by heading what the store lacks and what was left out; empty when nothing."""
    lines = {
        "Not judged": [f"{one.name}: {one.reason}" for one in analysis.judged if one.reason],
        "Missing": [line for one in analysis.judged for line in one.configuration.missing],
        "Left out or without intervals": list(analysis.left),
    }
    return {heading: found for heading, found in lines.items() if found}


def settings(analysis: Analysis) -> list[str]:
    """Give what the numbers rest on."""
    runs = {run for one in analysis.judged for run in one.configuration.runs}
    seeds = sorted({seed for one in analysis.judged for seed in one.configuration.seeds})
    return [
        f"Configurations: {len(analysis.judged)}; read from {len(runs)} runs of the store. Seeds: {_numbers(seeds) or 'none'}.",
        f"Intervals: {analysis.draws} bootstrap draws at a confidence of {100 * analysis.confidence:g} %, seed {analysis.seed}.",
    ]


def _numbers(values: tuple[int, ...] | list[int]) -> str:
    if len(values) > 12:
        return f"{values[0]} to {values[-1]} ({len(values)})"
    return ", ".join(map(str, values))

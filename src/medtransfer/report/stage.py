"""The tracking store goes in; TIS tables (terminal, CSV, Markdown), one figure and a run of `medtransfer/report` come out."""

import logging
from collections.abc import Mapping
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Report
from medtransfer.errors import InputError
from medtransfer.records import write_json, write_text
from medtransfer.report.collect import Configuration, collect
from medtransfer.report.figure import draw
from medtransfer.report.tables import as_csv, as_markdown, dice_rows, dice_table, tis_rows, tis_table
from medtransfer.report.verdicts import Verdict, judge, leaves_a_choice, mean_tis
from medtransfer.runtime import digest

log = logging.getLogger("medtransfer")


def run(section: Report, setting: Mapping[str, object]) -> str:
    """Compute everything from the store and write it below `report.out`.

    Args:
        section: validated params.
        setting: params of the score runs to prefer where a target was scored in several ways.

    Returns:
        What a person reads on the terminal.

    Raises:
        InputError: the store holds no finished fine-tuning.
    """
    configurations, left = collect(setting)
    if not configurations:
        raise InputError(
            "expected finished fine-tunings in the tracking store, but there are none; run `medtransfer finetune` first, or "
            "set MLFLOW_TRACKING_URI to the store that has them"
        )
    verdicts = {configuration.name: judge(configuration) for configuration in configurations}
    out = Path(section.out)
    write_text(out / "dice.csv", as_csv(dice_rows(configurations)))
    write_text(out / "tis.csv", as_csv(tis_rows(configurations, verdicts)))
    selectors = mean_tis(verdicts)
    write_text(out / "selectors.csv", as_csv(selectors))
    text = _markdown(configurations, verdicts, left)
    write_text(out / "report.md", text)
    draw(out / "dice_by_epoch.png", configurations, verdicts)
    metrics = {f"tis_{row['selector']}".replace("-", "_"): float(row["mean_tis"]) for row in selectors}
    write_json(out / "metrics.json", metrics)
    _publish(out, configurations, metrics)
    return text


def _publish(out: Path, configurations: list[Configuration], metrics: dict[str, float]) -> None:
    """Log the report as one run; the same inputs make the same run, once."""
    inputs = sorted({run for configuration in configurations for run in configuration.runs})
    cell = digest([inputs, metrics], 16)
    if finished := tracking.find_finished("report", cell):
        tracking.note_reuse("report", finished.id)
        return
    params = {"configurations": len(configurations), "runs": len(inputs)}
    with tracking.open_run("report", "report", cell, params, {}) as handle:
        handle.log_metrics(metrics)
        for name in ("report.md", "dice.csv", "tis.csv", "selectors.csv", "dice_by_epoch.png"):
            handle.log_artifact(out / name)


def _markdown(configurations: list[Configuration], verdicts: dict[str, list[Verdict]], left: list[str]) -> str:
    parts = ["# Which checkpoint to start from", _headline(verdicts)]
    parts += ["## TIS by way of choosing", as_markdown(tis_table(configurations, verdicts)), _LEGEND]
    parts += ["## Mean over the configurations", as_markdown(mean_tis(verdicts))] if any(verdicts.values()) else []
    for configuration in configurations:
        facts = f"Robustness: {configuration.setting or 'not measured'}. Recipe: protocol {configuration.digests['protocol']}."
        parts += [f"## {configuration.name}", facts, as_markdown(dice_table(configuration))]
    equal = [c.name for c in configurations if c.complete and not leaves_a_choice(c)]
    said = "\n".join(f"- {name}: every checkpoint has the same mean Dice, so there is nothing to choose" for name in equal)
    parts += ["## Not judged", said] if equal else []
    missing = [line for configuration in configurations for line in configuration.missing]
    parts += ["## Missing", "\n".join(f"- {line}" for line in missing)] if missing else []
    parts += ["## Left out: incomplete beside a complete configuration", "\n".join(f"- {line}" for line in left)] if left else []
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    "TIS: mean test Dice of the chosen checkpoint over the seeds that all epochs share, relative to the best checkpoint of the "
    "configuration (1 = the best). In parentheses the chosen epoch. `none` is no pretraining, `full` the last checkpoint, `random` "
    "the expected value of a random checkpoint, `oracle` the best in hindsight."
)


def _headline(verdicts: dict[str, list[Verdict]]) -> str:
    """Say what was measured: robustness against the plain choices, on the same configurations, no more than that."""
    scored = {name: found for name, found in verdicts.items() if any(v.selector == "offline" for v in found)}
    means = {str(row["selector"]): float(row["mean_tis"]) for row in mean_tis(scored)}
    count = len(scored)
    if not scored:
        return "No configuration is complete, so robustness cannot be judged; what is missing is named below."
    baselines = {name: means[name] for name in ("none", "full", "random") if name in means}
    against = ", ".join(f"{value:.3f} for {name}" for name, value in baselines.items())
    walked = f" and {means['online']:.3f} online" if "online" in means else ""
    number = f"{count} configuration{'s' if count > 1 else ''}"
    return f"Over {number}, choosing by robustness has a mean TIS of {means['offline']:.3f} offline{walked}; against {against}."

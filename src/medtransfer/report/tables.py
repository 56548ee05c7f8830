"""An analysis goes in; the rows of every table, as CSV and as Markdown, come out."""

from collections.abc import Sequence
from typing import Any

from medtransfer.analysis.model import Analysis, Judged, Verdict
from medtransfer.records.tables import as_markdown
from medtransfer.report import data_notes, glossary, verdict_text
from medtransfer.report.format import Interval, between, probability, spread

Row = dict[str, Any]


def dice_rows(analysis: Analysis) -> list[Row]:
    """Give a row a configuration and epoch: Dice over seeds, robustness and source accuracy, with what is known of their spread."""
    return [
        {
            **one.configuration.fields, "configuration": one.name, "epoch": point.epoch, "dice_mean": point.dice,
            "dice_std": point.std, "seeds": point.seeds, **_bounds("dice", point.dice_interval), "p_best": point.p_best,
            "within_noise": point.within_noise, "robustness": point.robustness,
            **_bounds("robustness", point.robustness_interval), "source_accuracy": point.accuracy,
        }
        for one in analysis.judged for point in one.checkpoints
    ]  # fmt: skip


def tis_rows(analysis: Analysis) -> list[Row]:
    """Give a row a configuration and selector: chosen epoch, Dice, TIS, regret, epochs spent and ties."""
    return [
        {
            **one.configuration.fields, "configuration": one.name, "selector": v.selector, "epoch": v.epoch, "dice": v.dice,
            "tis": v.tis, **_bounds("tis", v.interval), "regret": v.regret, "epochs_spent": v.spent,
            "within_noise": v.within_noise, "tied": " ".join(map(str, v.tied)),
        }
        for one in analysis.judged for v in one.verdicts
    ]  # fmt: skip


def selector_rows(analysis: Analysis) -> list[Row]:
    """Give a row a selector: what it brings and costs over all configurations in which it could choose."""
    return [
        {
            "selector": one.selector, "configurations": one.configurations, "mean_tis": one.mean_tis,
            **_bounds("tis", one.interval), "min_tis": one.min_tis, "mean_regret": one.mean_regret, "mean_epochs": one.mean_epochs,
            "within_noise": one.within_noise, "fixed_at_equal_cost": one.fixed_at_cost,
        }
        for one in analysis.summaries
    ]  # fmt: skip


def contrast_rows(analysis: Analysis) -> list[Row]:
    """Give a row a pair of selectors compared over configurations; `outcome` tells of the first."""
    return [
        {
            "first": one.first, "second": one.second, "configurations": one.configurations, "difference": one.difference,
            **_bounds("difference", one.interval), "p": one.p_value, "p_holm": one.p_holm, "wins": one.wins, "losses": one.losses,
            "outcome": verdict_text.outcome(one, analysis.confidence),
        }
        for one in analysis.contrasts
    ]  # fmt: skip


def tis_table(analysis: Analysis) -> list[Row]:
    """Give a row a judged configuration and a column a selector: TIS and chosen epoch in each."""
    columns = [one.selector for one in analysis.summaries]
    rows = []
    for one in (one for one in analysis.judged if one.verdicts):
        by_name = {v.selector: v for v in one.verdicts}
        rows.append({"configuration": one.name, **{name: _chosen(by_name.get(name)) for name in columns}})
    return rows


def dice_table(judged: Judged) -> list[Row]:
    """Give a row an epoch of one configuration, for people."""
    return [
        {
            "epoch": one.epoch, "Dice": spread(one.dice, one.std), "seeds": one.seeds, "interval": between(one.dice_interval),
            "P(best)": probability(one.p_best), "within noise": ("yes" if one.within_noise else "no") if one.dice_interval else "–",
            "robustness": one.robustness, "robustness interval": between(one.robustness_interval), "source accuracy": one.accuracy,
        }
        for one in judged.checkpoints
    ]  # fmt: skip


def markdown(analysis: Analysis, title: str) -> str:
    """Write the whole report as Markdown, in the order of the page."""
    parts = [brief(analysis, title)]
    for one in analysis.judged:
        parts += [f"## {one.name}", *_configuration(one)]
    for heading, lines in data_notes.missing(analysis).items():
        parts += [f"## {heading}", *_bullets(lines)]
    parts += ["## Data and settings", *_bullets(data_notes.settings(analysis))]
    parts += ["## What the words mean", *_bullets([f"**{term}**: {said}" for term, said in glossary.definitions(analysis).items()])]
    return "\n\n".join(parts) + "\n"


def brief(analysis: Analysis, title: str) -> str:
    """Write what comes first: the verdict and the tables over all configurations."""
    parts = [f"# {title}", f"**{verdict_text.verdict(analysis)}**", glossary.TIS, *_bullets(verdict_text.particulars(analysis))]
    if analysis.summaries:
        parts += ["## Ways of choosing", as_markdown(selector_rows(analysis))]
    if said := verdict_text.cost(analysis):
        parts.append(said)
    if analysis.contrasts:
        parts += ["## Compared on the same configurations", as_markdown([_readable(row) for row in contrast_rows(analysis)])]
    if rows := tis_table(analysis):
        parts += ["## TIS by configuration, with the chosen epoch", as_markdown(rows)]
    return "\n\n".join(parts)


def _configuration(judged: Judged) -> list[str]:
    rows = dice_table(judged)
    said = [f"Not judged: {judged.reason}."] if judged.reason else []
    return [*said, *data_notes.facts(judged), *([as_markdown(rows)] if rows else [])]


def _readable(row: Row) -> Row:
    return {**row, "p": probability(row["p"]), "p_holm": probability(row["p_holm"])}


def _bullets(lines: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _bounds(name: str, interval: Interval | None) -> Row:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _chosen(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    place = "" if verdict.epoch is None else f" (e{verdict.epoch}{', tied' if verdict.tied else ''})"
    return f"{verdict.tis:.3f}{place}"

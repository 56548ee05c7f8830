"""Configurations and verdicts go in; the rows of every table, as CSV and as Markdown, come out."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from medtransfer.report.collect import Configuration
from medtransfer.report.verdicts import Verdict, seed_means

Row = dict[str, Any]
LEADING = ("offline", "online", "none", "full", "random", "source-accuracy", "oracle")


def dice_rows(configurations: Sequence[Configuration]) -> list[Row]:
    """Give a row a configuration and epoch: mean ± std Dice over seeds, robustness and source accuracy."""
    return [
        {
            **configuration.fields, "epoch": epoch, "dice_mean": found.mean, "dice_std": found.std, "seeds": found.n,
            "robustness": configuration.robustness.get(epoch), "source_accuracy": configuration.accuracy.get(epoch),
        }
        for configuration in configurations for epoch, found in seed_means(configuration).items()
    ]  # fmt: skip


def tis_rows(configurations: Sequence[Configuration], verdicts: dict[str, list[Verdict]]) -> list[Row]:
    """Give a row a configuration and selector: chosen epoch, Dice, TIS, epochs spent and ties."""
    return [
        {
            **configuration.fields, "selector": v.selector, "epoch": v.epoch, "dice": v.dice, "tis": v.tis,
            "epochs_spent": v.spent, "tied": " ".join(map(str, v.tied)),
        }
        for configuration in configurations for v in verdicts[configuration.name]
    ]  # fmt: skip


def as_csv(rows: Sequence[Row]) -> str:
    """Write rows of the same keys as CSV; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["empty"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """Write rows of the same keys as an aligned Markdown table; floats with three decimals, numbers to the right."""
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    right = [all(isinstance(row[column], int | float | None) for row in rows) for column in columns]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(columns), rule, *(line(values) for values in cells)])


def tis_table(configurations: Sequence[Configuration], verdicts: dict[str, list[Verdict]]) -> list[Row]:
    """Give the table people read first: a row a configuration, a column a selector, TIS and chosen epoch in each."""
    used = {v.selector for found in verdicts.values() for v in found}
    fixed = sorted((name for name in used if name.startswith("fixed-")), key=lambda name: int(name.split("-")[1]))
    columns = [name for name in LEADING if name in used] + fixed
    rows = []
    for configuration in configurations:
        by_name = {v.selector: v for v in verdicts[configuration.name]}
        rows.append({"configuration": configuration.name, **{name: _verdict(by_name.get(name)) for name in columns}})
    return rows


def dice_table(configuration: Configuration) -> list[Row]:
    """Give a row an epoch of one configuration."""
    return [
        {
            "epoch": epoch, "Dice": f"{found.mean:.3f} ± {found.std:.3f}" if found.n > 1 else f"{found.mean:.3f}",
            "seeds": found.n, "robustness": configuration.robustness.get(epoch),
            "source accuracy": configuration.accuracy.get(epoch),
        }
        for epoch, found in seed_means(configuration).items()
    ]  # fmt: skip


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    place = "" if verdict.epoch is None else f" (e{verdict.epoch}{', tied' if verdict.tied else ''})"
    return f"{verdict.tis:.3f}{place}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

"""Write a search's files, and log it as one parent run whose children are the best settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medtransfer import tracking
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records import write_text
from medtransfer.records.tables import as_csv
from medtransfer.search.evaluate import OBJECTIVE
from medtransfer.search.held_out import JOINT, Family, Searched, column, rank
from medtransfer.search.settings import ROBUSTNESS, columns

STAGE = "search"
TRIALS, TEXT = "trials.csv", "search.md"
FIELDS = ("study", "trial", "indicator", "distance", "margin", "level", "pooling", "options")


def trial_rows(families: Sequence[Family]) -> list[dict[str, Any]]:
    """Return one row per family and setting: its mean TIS by rule, and that of the rule `best` by target."""
    targets = sorted({case.target for family in families for case in family.table.cases})
    return [row for family in families for row in _family_rows(family, targets)]


def _family_rows(family: Family, targets: Sequence[str]) -> list[dict[str, Any]]:
    table, cases = family.table, family.table.cases_by_target()
    means = {column(rule): table.mean(range(len(table.cases)), rule).tolist() for rule in table.tis}
    means |= {f"tis_{target}": table.mean(cases[target]).tolist() if target in cases else None for target in targets}
    return [
        {
            "study": family.best.study, "trial": trial, **columns(setting),
            **{name: values and values[trial] for name, values in means.items()},
        }
        for trial, setting in enumerate(table.settings)
    ]  # fmt: skip


def write_files(out: Path, searched: Sequence[Searched], rows: Sequence[dict[str, Any]], text: str) -> list[str]:
    """Write all settings, the text, and one file per winner of robustness that overrides params.yaml; return their names."""
    write_text(out / TRIALS, as_csv(rows))
    write_text(out / TEXT, text)
    winners = {
        f"winner{f'-{family.encoder}' if family.encoder else ''}.yaml": family.best.setting
        for one in searched if one.name == ROBUSTNESS for family in one.families
    }  # fmt: skip
    for name, setting in winners.items():
        write_text(out / name, yaml.safe_dump({"score": vars(setting)}, sort_keys=False))
    return [TRIALS, TEXT, *winners]


def log_search(
    kind: str, searched: Sequence[Searched], rows: Sequence[Mapping[str, Any]], default: RobustnessSetting, files: Sequence[Path]
) -> str:
    """Log the search: a parent run with the result, and one child per setting, of robustness only those at their best margin.

    The parent is in the experiment of its children, so that the UI nests them; a run that `mlflow run` opened elsewhere only
    refers to it.

    Args:
        kind: `own` or `replay` results.
        searched: the indicators, the first of which gives the parent its metrics; robustness, if searched, gives it its setting.
        rows: one row per family and setting.
        default: setting that the search is compared with.
        files: artifacts of the parent.

    Returns:
        The digest of the parent.
    """
    first, metrics = searched[0], metrics_of(searched)
    cell = digest([kind, rows, metrics], 16)
    winner = next((one for one in searched if one.name == ROBUSTNESS), first)  # a later report asks whether it won here
    best = columns(winner.families[0].best.setting) if len(winner.families) == 1 else {}
    params = {
        "results": kind, "trials": len(rows), "configurations": first.totals.configurations,
        **{name: value for name, value in best.items() if value is not None},
    }  # fmt: skip
    shown = best_margins([family for one in searched if one.name not in JOINT for family in one.families], default)
    children = [row for row in rows if (row["study"], row["trial"]) in shown]
    with tracking.once(STAGE, STAGE, cell, params, adopt=False) as handle:
        if handle:
            _log_children(handle, [_record(row, cell, handle.id) for row in children])
            handle.log_metrics(metrics)
            for file in files:
                handle.log_artifact(file)
    return cell


def metrics_of(searched: Sequence[Searched]) -> dict[str, float]:
    """Return the numbers of the first indicator by metric name, and the mean TIS of the others."""
    metrics = searched[0].totals.metrics()
    for one in searched[1:]:
        means = {"in_sample": one.totals.in_sample, "held_out": one.totals.held_out}
        metrics |= {f"tis_{name}_{one.name}": scores.chosen[OBJECTIVE] for name, scores in means.items() if scores}
    return metrics


def best_margins(families: Sequence[Family], default: RobustnessSetting) -> set[tuple[str, int]]:
    """Return (study, trial) of every setting, of robustness at its best margin; ties go to the nearest to the default."""
    best: dict[tuple[Any, ...], int] = {}
    for family in families:
        table = family.table
        for trial in rank(table, table.mean(range(len(table.cases))).tolist(), default):
            but_margin = (value for name, value in columns(table.settings[trial]).items() if name != "margin")
            best.setdefault((family.best.study, *but_margin), trial)
    return {(study, trial) for (study, *_), trial in best.items()}


def _record(row: Mapping[str, Any], search: str, parent: str) -> tracking.RunRecord:
    return tracking.RunRecord(
        name=f"{row['study']}-{row['trial']:05d}",
        cell=digest([search, row["study"], row["trial"]], 16),
        params={name: row[name] for name in FIELDS if row[name] is not None},
        metrics={name: value for name, value in row.items() if name not in FIELDS and value is not None},
        tags={tracking.PARENT: parent},
    )


def _log_children(parent: tracking.Run, records: Sequence[tracking.RunRecord]) -> None:
    """Write the children that the store lacks, and move those of an interrupted attempt to this parent."""
    if tracking.write_runs(STAGE, records, "search: best settings to the store") == len(records):
        return
    cells = {record.cell for record in records}
    orphans = [
        run.id for run in tracking.read_runs(STAGE, only=[tracking.PARENT])
        if run.tags[tracking.CELL] in cells and run.tags.get(tracking.PARENT) != parent.id
    ]  # fmt: skip
    tracking.tag_runs(orphans, {tracking.PARENT: parent.id})

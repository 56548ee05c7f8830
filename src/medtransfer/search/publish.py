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
from medtransfer.search.held_out import Family, Totals, column, rank

STAGE = "search"
TRIALS, TEXT = "trials.csv", "search.md"
FIELDS = ("study", "trial", "distance", "margin", "level", "pooling")


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
            "study": family.best.study, "trial": trial, **vars(setting),
            **{name: values and values[trial] for name, values in means.items()},
        }
        for trial, setting in enumerate(table.settings)
    ]  # fmt: skip


def write_files(out: Path, families: Sequence[Family], rows: Sequence[dict[str, Any]], text: str) -> list[str]:
    """Write all settings, the text, and one file per winner that overrides params.yaml; return their names."""
    write_text(out / TRIALS, as_csv(rows))
    write_text(out / TEXT, text)
    winners = {f"winner{f'-{family.encoder}' if family.encoder else ''}.yaml": family.best.setting for family in families}
    for name, setting in winners.items():
        write_text(out / name, yaml.safe_dump({"score": vars(setting)}, sort_keys=False))
    return [TRIALS, TEXT, *winners]


def log_search(
    kind: str,
    families: Sequence[Family],
    rows: Sequence[Mapping[str, Any]],
    totals: Totals,
    default: RobustnessSetting,
    files: Sequence[Path],
) -> None:
    """Log the search: a parent run with the result, and one child per (distance, level, pooling) at its best margin.

    The parent is in the experiment of its children, so that the UI nests them; a run that `mlflow run` opened elsewhere only
    refers to it.

    Args:
        kind: `own` or `replay` results.
        families: configurations that share a winner.
        rows: one row per family and setting.
        totals: means over all configurations.
        default: setting that the search is compared with.
        files: artifacts of the parent.
    """
    metrics = totals.metrics()
    cell = digest([kind, rows, metrics], 16)
    params = {
        "results": kind, "trials": len(rows), "configurations": totals.configurations,
        **(vars(families[0].best.setting) if len(families) == 1 else {}),
    }  # fmt: skip
    shown = best_margins(families, default)
    children = [row for row in rows if (row["study"], row["trial"]) in shown]
    with tracking.once(STAGE, STAGE, cell, params, adopt=False) as handle:
        if handle is None:
            return
        _log_children(handle, [_record(row, cell, handle.id) for row in children])
        handle.log_metrics(metrics)
        for file in files:
            handle.log_artifact(file)


def best_margins(families: Sequence[Family], default: RobustnessSetting) -> set[tuple[str, int]]:
    """Return (study, trial) of every distance, level and pooling at its best margin; ties go to the nearest to the default."""
    best: dict[tuple[str, str, int, str], int] = {}
    for family in families:
        table = family.table
        for trial in rank(table, table.mean(range(len(table.cases))).tolist(), default):
            setting = table.settings[trial]
            best.setdefault((family.best.study, setting.distance, setting.level, setting.pooling), trial)
    return {(study, trial) for (study, *_), trial in best.items()}


def _record(row: Mapping[str, Any], search: str, parent: str) -> tracking.RunRecord:
    return tracking.RunRecord(
        name=f"{row['study']}-{row['trial']:05d}",
        cell=digest([search, row["study"], row["trial"]], 16),
        params={name: row[name] for name in FIELDS},
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

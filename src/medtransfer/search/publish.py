"""The judged studies go in; files, one parent run with a child a trial in the tracking store, come out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medtransfer import tracking
from medtransfer.config import Search
from medtransfer.hashing import digest
from medtransfer.records import write_text
from medtransfer.records.tables import as_csv
from medtransfer.search.evaluate import Evaluator
from medtransfer.search.held_out import Family, Totals
from medtransfer.search.study import Plan, Trial

STAGE = "search"
TRIALS, TEXT = "trials.csv", "search.md"


def trial_scores(plan: Plan, trial: Trial, evaluator: Evaluator) -> dict[str, float]:
    """Give the TIS of a trial: over all that its study sees, offline and online, and offline by target."""
    seen: dict[str, list[int]] = {}
    for place in plan.places:
        seen.setdefault(evaluator.cases[place].target, []).append(place)
    by_target = {f"tis_{target}": evaluator.mean_tis(trial.setting, places) for target, places in sorted(seen.items())}
    return {"tis": trial.value, "tis_online": evaluator.mean_tis(trial.setting, plan.places, "online"), **by_target}


def trial_rows(plans: Sequence[Plan], trials: Mapping[str, Sequence[Trial]], evaluator: Evaluator) -> list[dict[str, Any]]:
    """Give a row a trial: study, trial, its setting and its TIS; a target that the study does not see is left empty."""
    columns = [f"tis_{target}" for target in sorted({case.target for case in evaluator.cases})]
    return [
        {
            "study": plan.name, "trial": trial.number, **vars(trial.setting), **dict.fromkeys(columns),
            **trial_scores(plan, trial, evaluator),
        }
        for plan in plans for trial in trials[plan.name]
    ]  # fmt: skip


def write_files(out: Path, families: Sequence[Family], rows: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """Write the trials, the text and for each winner a file to lay over params.yaml; give their names."""
    order = ["study", "trial", "distance", "margin", "level", "pooling", "tis", "tis_online"]
    columns = [*order, *(name for name in rows[0] if name not in order)]
    write_text(out / TRIALS, as_csv([{name: row[name] for name in columns} for row in rows]))
    write_text(out / TEXT, text)
    winners = {f"winner{f'-{one.encoder}' if one.encoder else ''}.yaml": one.best.setting for one in families}
    for name, setting in winners.items():
        write_text(out / name, yaml.safe_dump({"score": vars(setting)}, sort_keys=False))
    return [TRIALS, TEXT, *winners]


def log_search(
    section: Search, plans: Sequence[Plan], trials: Mapping[str, Sequence[Trial]], families: Sequence[Family], totals: Totals,
    evaluator: Evaluator, files: Sequence[Path],
) -> None:  # fmt: skip
    """Log the search: a parent run with the result, and below it a run a trial, each once.

    The parent lies beside its children, in the experiment of the stage, so that the UI folds them under it; a run that
    `mlflow run` opened elsewhere is told of it.
    """
    found = [[one.best.study, one.best.trial, vars(one.best.setting), one.best.value] for one in families]
    metrics = totals.metrics()
    cell = digest([section.name, [[plan.name, plan.inputs, len(trials[plan.name])] for plan in plans], found, metrics], 16)
    params = {
        "study": section.name, "results": section.results, "seed": section.seed, "studies": len(plans),
        "trials": sum(map(len, trials.values())), "configurations": totals.configurations,
        **(vars(families[0].best.setting) if len(families) == 1 else {}),
    }  # fmt: skip
    with tracking.once(STAGE, section.name, cell, params, adopt=False) as handle:
        if handle is None:
            return
        _log_trials(handle, [_record(plan, trial, evaluator, handle.id) for plan in plans for trial in trials[plan.name]])
        handle.log_metrics(metrics)
        for file in files:
            handle.log_artifact(file)


def _record(plan: Plan, trial: Trial, evaluator: Evaluator, parent: str) -> tracking.RunRecord:
    setting = vars(trial.setting)
    return tracking.RunRecord(
        name=f"{plan.name}-{trial.number:04d}",
        cell=digest([plan.name, plan.inputs, trial.number, setting], 16),
        params={**setting, "study": plan.name, "trial": trial.number},
        metrics=trial_scores(plan, trial, evaluator),
        tags={tracking.PARENT: parent},
    )


def _log_trials(parent: tracking.Run, records: Sequence[tracking.RunRecord]) -> None:
    """Write the trials that the store lacks; those of an earlier or interrupted search move under this parent."""
    if tracking.write_runs(STAGE, records, "search: trials to the store") == len(records):
        return
    cells = {record.cell for record in records}
    astray = [
        run.id for run in tracking.read_runs(STAGE, only=[tracking.PARENT])
        if run.tags[tracking.CELL] in cells and run.tags.get(tracking.PARENT) != parent.id
    ]  # fmt: skip
    tracking.tag_runs(astray, {tracking.PARENT: parent.id})

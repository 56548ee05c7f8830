"""Stage `race`: fine-tune checkpoints in rungs of growing length, keep the best, and test the winner once."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

from medtransfer import __version__, study, tracking
from medtransfer.analysis.evidence_rows import all_rows
from medtransfer.analysis.halving import Rung, cost_of, fit_rungs, rungs_run
from medtransfer.analysis.rankings import pruned_so_far
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes
from medtransfer.locks import exclusive
from medtransfer.race import tables
from medtransfer.race.contest import compete
from medtransfer.race.course import Course
from medtransfer.race.entrants import Entrant, Pruned, prune, read_entrants
from medtransfer.race.outcome import Race
from medtransfer.records import write_json, write_text
from medtransfer.records.finished import forget_finished, read_finished, write_finished
from medtransfer.records.tables import as_csv
from medtransfer.tasks import TASKS
from medtransfer.tryouts.validation import open_validated, recorded_portion

log = logging.getLogger("medtransfer")
FILES = ("race.csv", "race.json", "race.md", "race.html")


def run(params: Params) -> str:
    """Race the candidates, and return the text for the terminal; see `race`."""
    return f"{tables.terminal(race(params))}\n\nThe page: {Path(params.race.out) / 'race.html'}"


def race(params: Params) -> Race:
    """Race the candidates, and write page, tables and the run; fine-tunings that are finished are reused.

    Args:
        params: params, whose section `race` names the candidates and the budget, and `finetune` the recipe.

    Raises:
        InputError: the candidates, the target or the budget cannot be used, or a launcher started the command several times.
        StageError: a fine-tuning failed.
    """
    require_processes(1, "the race")
    section, name = params.race, params.race.target or params.study.targets[0]
    entrants = read_entrants(section.candidates, params)
    if len(entrants) < 2:
        raise InputError(
            f"expected at least 2 candidates to race, but got {len(entrants)}; name more, or run `medtransfer finetune`"
        )
    count, pruned = len(entrants), None
    if section.start_from is not None:
        ranking = Path(params.rank.out) / "ranking.json" if section.start_from == "rank" else Path(section.start_from)
        entrants, pruned = prune(entrants, ranking, name, params.finetune.mode, section.eta, section.candidates)
        if len(entrants) < 2:
            raise InputError(
                f"expected at least 2 candidates to race after pruning, but the ranking {ranking} leaves in {entrants[0].name} "
                f"alone of {count}; fine-tune it with `medtransfer finetune`, or race all with --start-from null"
            )
    budget = _budget(params, count)
    plan = _plan(params, len(entrants), budget)
    study.reach_store(params, ("finetune", "race"))
    if pruned is not None:
        evidence = all_rows(Path(params.prepare.out), Path(params.evidence.out))
        recipe = Protocol.of(params.finetune).key
        known = pruned_so_far(pruned.by, section.eta, params.report.least, evidence, params.report.confidence, recipe)
        pruned = replace(pruned, so_far=known)
    with exclusive(Path(section.out)):
        with tracking.project_run_set_aside():
            ended = _race(params, name, entrants, plan, budget, pruned)
        _write(ended, params)
    return ended


def _budget(params: Params, count: int) -> int:
    """Return the largest number of epochs: that of the section, or that of fine-tuning all candidates in full."""
    section, full = params.race, params.race.seeds * count * params.finetune.train_epochs
    if section.budget is not None:
        return section.budget
    return full if section.budget_factor is None else floor(section.budget_factor * full + 1e-9)


def _plan(params: Params, count: int, budget: int) -> list[Rung]:
    """Plan the rungs.

    Raises:
        InputError: the budget pays for no race.
    """
    section = params.race
    each = f" with {section.seeds} seeds" if section.seeds > 1 else ""
    plan = fit_rungs(count, params.finetune.train_epochs, section.eta, budget // section.seeds)
    if (cost := section.seeds * cost_of(plan)) > budget:
        raise InputError(
            f"expected a budget of at least {cost} epochs, which {tables.rungs_text(rungs_run(plan))} take{each}, but got "
            f"{budget}; raise race.budget or race.budget_factor, lower finetune.train_epochs, or name fewer candidates"
        )
    log.info("race: %s%s: at least %d epochs, at most %d", tables.rungs_text(plan), each, cost, budget)
    return plan


def _race(
    params: Params, name: str, entrants: Sequence[Entrant], plan: Sequence[Rung], budget: int, pruned: Pruned | None
) -> Race:  # fmt: skip
    """Train the rungs, and test the winner."""
    target, held = open_validated(params, name, params.race.validation)
    metric, report, course = TASKS[target.info.task].primary, params.report, Course(params, name, entrants, plan, held)
    try:
        heats = compete(len(entrants), plan, budget // len(course.seeds), course.measure)
        tested = course.test(heats[-1].stay[0], metric)
    finally:
        course.close()
    return Race(
        name, params.finetune.mode, metric, entrants, plan, budget, course.seeds, heats, tested,
        course.models(heats[-1].stay[0]),
        len(set(target.samples("validation")["group"])), held, pruned, report.confidence, report.draws, report.seed,
        metric.floor(report.least),
    )  # fmt: skip


def _is_another(path: Path, summary: Mapping[str, Any]) -> bool:
    """Return whether a file holds the summary of another race."""
    try:
        return path.is_file() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(summary))
    except (OSError, ValueError, RecursionError):  # a broken one
        return True


def _write(race: Race, params: Params) -> None:
    """Write page, tables and the run; files of the same race are left as they are."""
    out, portion = Path(params.race.out), recorded_portion(params)
    summary, text = tables.summary(race) | portion, tables.terminal(race) + "\n"
    request = digest([__version__, summary, text])
    if read_finished(out, request) is None:
        from medtransfer.race import page

        if _is_another(out / "race.json", summary):
            log.info("race: this race replaces the earlier one in %s; --out writes to another folder", out)
        forget_finished(out)
        write_text(out / "race.csv", as_csv(tables.heat_rows(race)))
        write_text(out / "race.md", text)
        write_text(out / "race.html", page.render(race))
        write_json(out / "race.json", summary)
        write_finished(out, request, [], [out / name for name in FILES])
    winner = race.entrants[race.winner]
    run_params = {
        "target": race.target, "mode": race.mode, "winner": winner.name, "encoder": winner.encoder, "origin": winner.origin,
        "epoch": winner.epoch, "candidates": len(race.entrants), "rungs": tables.rungs_text(race.plan), "budget": race.budget,
        "eta": params.race.eta, "seeds": len(race.seeds), "patients": race.patients, "rivals": len(race.rivals),
        "learned": race.learned,
        "pruned_by": race.pruned.by if race.pruned else None, **portion,
    }  # fmt: skip
    metric = race.metric.name
    metrics = {
        metric: race.tested, f"validation_{metric}": race.value(race.last, race.winner), "epochs": race.spent,
        "epochs_of_all": race.full, "cost": race.spent / race.full,
    }  # fmt: skip
    with tracking.once("race", f"{winner.name} → {race.target}", digest(summary, 16), run_params, on_disk=True) as handle:
        if handle:
            handle.log_metrics(metrics)
            best = {f"best_validation_{metric}": {heat.epochs: race.value(heat, heat.stay[0]) for heat in race.heats}}
            handle.log_curves(best)
            for name in FILES:
                handle.log_artifact(out / name)

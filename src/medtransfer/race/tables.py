"""Rows of the tables of a race, its summary as JSON, and its text for the terminal."""

import math
from collections.abc import Sequence
from typing import Any

from medtransfer.analysis.halving import Rung
from medtransfer.metrics.ties import rounded
from medtransfer.race.contest import Heat
from medtransfer.race.entrants import Pruned
from medtransfer.race.outcome import Race
from medtransfer.race.verdict import verdict
from medtransfer.records.tables import as_markdown
from medtransfer.report.pruning_text import csv_rows
from medtransfer.wording import counted

Row = dict[str, Any]


def rungs_text(plan: Sequence[Rung]) -> str:
    """Describe a plan, such as `10 x 17, 4 x 50, 2 x 150 epochs`."""
    return ", ".join(f"{rung.seats} x {rung.epochs}" for rung in plan) + " epochs"


def heat_rows(race: Race) -> list[Row]:
    """Return one row per rung and candidate, the best of a rung first."""
    return [
        {
            "rung": number, "epochs": heat.epochs, "candidate": race.entrants[index].name, "encoder": race.entrants[index].encoder,
            "origin": race.entrants[index].origin, "epoch": race.entrants[index].epoch, "validation": race.value(heat, index),
            "error": race.error(heat, index), "error_to_cut": heat.errors[heat.entrants.index(index)],
            "outcome": outcome(race, heat, index),
        }
        for number, heat in enumerate(race.heats, start=1) for index in by_score(race, heat)
    ]  # fmt: skip


def by_score(race: Race, heat: Heat) -> list[int]:
    """Return the candidates of a rung from the best on; the earlier one wins a tie."""
    return sorted(heat.entrants, key=lambda index: -rounded(race.value(heat, index)))


def outcome(race: Race, heat: Heat, index: int) -> str:
    """Say in a word or two what a rung decided about a candidate."""
    if heat is race.last and not race.learned:
        return "learned nothing"
    if heat is race.last:
        return "wins" if index == race.winner else "not distinguished" if index in race.rivals else "loses"
    if index in heat.stay:
        return "stays" if heat.stay.index(index) < heat.seats else "stays, within one SE"
    return "leaves, no room" if index in heat.close else "leaves"


def candidate_rows(race: Race) -> list[Row]:
    """Return one row per candidate, the winner first: its score in every rung that was run, and how far it came."""
    rows: list[Row] = []
    for heat in reversed(race.heats):
        for index in by_score(race, heat) if heat is not race.last else race.last.stay:
            if any(row["candidate"] == race.entrants[index].name for row in rows):
                continue
            row: Row = {"candidate": race.entrants[index].name}
            for one in race.heats:
                row[counted(one.epochs, "epoch")] = race.value(one, index) if index in one.entrants else None
            rows.append({**row, "outcome": outcome(race, heat, index)})
    return rows


def summary(race: Race) -> Row:
    """Return everything that a race found, as JSON values."""
    winner = race.entrants[race.winner]
    chosen = {name: getattr(winner, name) for name in ("name", "encoder", "origin", "epoch", "weights")}
    values = {"validation": race.value(race.last, race.winner), "error": race.error(race.last, race.winner), "test": race.tested}
    pruned, known = race.pruned, race.last.scores.constant
    constant = {"constant": known} if math.isfinite(known) else {}
    return {
        "target": race.target, "mode": race.mode, "metric": race.metric.name, "winner": {**chosen, **values},
        "indistinguishable": [race.entrants[index].name for index in race.rivals], "patients": race.patients,
        "held_out": race.held_out, "learned": race.learned, "seeds": list(race.seeds), "confidence": race.confidence,
        "plan": [{"seats": rung.seats, "epochs": rung.epochs} for rung in race.plan],
        "cost": {"epochs": race.spent, "planned": race.planned, "budget": race.budget, "all_in_full": race.full},
        "pruned": None if pruned is None else _pruned(pruned),
        "rungs": heat_rows(race), **constant,
    }  # fmt: skip


def _pruned(pruned: Pruned) -> Row:
    so_far = None if pruned.so_far is None else csv_rows([pruned.so_far])[0]
    return {"by": pruned.by, "candidates": list(pruned.names), "so_far": so_far}


def terminal(race: Race) -> str:
    """Format the text for the terminal: the verdict and one table."""
    return "\n\n".join(["\n".join(verdict(race)), as_markdown(candidate_rows(race))])

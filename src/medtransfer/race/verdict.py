"""Verdict of a race in plain sentences, which claim no more than the validation patients support."""

import numpy as np

from medtransfer.analysis.rankings import LEAST
from medtransfer.config.loaded_files import predict_command, repeated_options
from medtransfer.metrics.comparison import LEAST_CLUSTERS
from medtransfer.race.entrants import Pruned
from medtransfer.race.outcome import Race
from medtransfer.report.format import listed, percent
from medtransfer.report.pruning_text import sentence
from medtransfer.selectors.score_names import score_label
from medtransfer.wording import counted


def verdict(race: Race) -> list[str]:
    """Return the verdict, a sentence or two per line: the winner, its rivals, the cost, and what to do next."""
    return [
        _headline(race),
        *([_rivals(race)] if race.learned else []),
        _cost(race),
        *_room(race),
        *_pruned(race),
        *_random(race),
        *_held_out(race),
        _models(race),
        _next(race),
    ]


def _headline(race: Race) -> str:
    metric, heat = race.metric.label, race.last
    value, error = race.value(heat, race.winner), race.error(heat, race.winner)
    spread = "" if error is None else f" ± {error:.3f}"
    seeds = f", mean over {len(race.seeds)} seeds" if len(race.seeds) > 1 else ""
    poor = f"; the same label in every pixel would have {heat.scores.constant:.3f}" if _is_poor(race) else ""
    if not race.learned:
        return (
            f"Nobody wins, since no model of the last rung learned anything: the best validation {metric}, of "
            f"{race.entrants[race.winner].name}, is {value:.3f}{spread} after {counted(heat.epochs, 'epoch')} on {race.target} "
            f"({_patients(race)}{seeds}), at most {race.least:g}. Its test {metric} is {race.tested:.3f}."
        )
    return (
        f"{race.entrants[race.winner].name} wins: validation {metric} {value:.3f}{spread} after {counted(heat.epochs, 'epoch')} on "
        f"{race.target} ({_patients(race)}{seeds}){poor}. Its test {metric} is {race.tested:.3f}; nobody else was tested."
    )


def _is_poor(race: Race) -> bool:
    """Return whether the winner is no better than the same label in every pixel."""
    return race.metric.is_poor(race.value(race.last, race.winner), race.last.scores.constant)


def _patients(race: Race) -> str:
    few = ", too few to tell much" if race.patients < LEAST_CLUSTERS else ""
    return f"{counted(race.patients, 'validation patient')}{few}"


def _rivals(race: Race) -> str:
    names = [race.entrants[index].name for index in race.rivals]
    if not names:
        if len(race.last.entrants) == 1:
            return "Nobody else reached the last rung; who left before was judged by a shorter schedule, which may favour others."
        if len(race.seeds) > 1:
            return "By the validation patients and the seeds it is better than all others of the last rung."
        return (
            "By the validation patients it is better than all others of the last rung; how much one training differs from the next "
            "is not in this, with one seed."
        )
    why = "" if np.isfinite(race.standing.low).any() else ", since their patients give no standard error"
    limits = [
        *(["who left an earlier rung was judged by a shorter schedule"] if len(race.heats) > 1 else []),
        *(["one seed says nothing about others"] if len(race.seeds) == 1 else []),
        *(["two seeds say little about others"] if len(race.seeds) == 2 else []),
    ]
    return f"Not distinguished from it{why}: {listed(names)}{'; ' * bool(limits)}{', and '.join(limits)}."


def _cost(race: Race) -> str:
    rungs = ", ".join(f"{len(heat.entrants)} x {heat.epochs}" for heat in race.heats)
    skipped = len(race.plan) - len(race.heats)
    note = f"; {skipped} rung{'s' if skipped > 1 else ''} skipped, where nobody had to leave" if skipped else ""
    count = len(race.entrants) + (len(race.pruned.names) if race.pruned else 0)
    return (
        f"The rungs were {rungs} epochs{note}: {race.spent} epochs in all, {percent(race.spent / race.full)} of the {race.full} "
        f"that fine-tuning all {count} in full takes."
    )


def _room(race: Race) -> list[str]:
    names = [race.entrants[index].name for heat in race.heats for index in heat.close]
    if not names:
        return []
    return [
        f"{listed(names)} {'was' if len(names) == 1 else 'were'} within one standard error of the cut, but the budget of "
        f"{race.budget} epochs had no room for {'it' if len(names) == 1 else 'them'}; a larger --budget keeps such candidates."
    ]


def _pruned(race: Race) -> list[str]:
    if race.pruned is None:
        return []
    label = score_label(race.pruned.by)
    if not race.pruned.names:
        return [f"{label} pruned nobody before the first rung: it distinguishes none of the candidates from its best."]
    return [
        f"{label} pruned {len(race.pruned.names)} of {len(race.pruned.names) + race.pruned.kept} before the first rung: "
        f"{listed(race.pruned.names)}. Whether one of them would have won is not known. {_so_far(race.pruned)}"
    ]


def _so_far(pruned: Pruned) -> str:
    """Say how often the indicator would have pruned the winner in the rankings that the store can judge."""
    if pruned.so_far is None:
        return (
            f"Nor is it known how often {score_label(pruned.by)} prunes a winner: the store has no ranking by it of which "
            f"{LEAST} candidates or more were fine-tuned and tested."
        )
    text = sentence(pruned.so_far, "ranking" if pruned.so_far.pools == 1 else "rankings")
    return f"In the store so far, by its best ceil(n / eta) alone, {text}"


def _random(race: Race) -> list[str]:
    names = [race.entrants[index].name for index in (race.winner, *race.rivals) if race.entrants[index].is_random]
    if not names:
        return []
    verb = "has" if len(names) == 1 else "have"
    return [f"{listed(names)} {verb} random weights: the race does not show that pretraining helps here."]


def _held_out(race: Race) -> list[str]:
    if not race.held_out:
        return []
    return [
        f"{race.target} has no validation samples: {percent(race.held_out)} of its training patients were held out, and no "
        "candidate was trained on them."
    ]


def _models(race: Race) -> str:
    verb = "models are in" if len(race.models) > 1 else "model is in"
    owner = "The winner" if race.learned else race.entrants[race.winner].name
    return f"{owner}'s {verb} {listed([str(folder) for folder in race.models])}: `{predict_command(race.models)}`."


def _next(race: Race) -> str:
    if not race.learned or _is_poor(race):
        models = "models that are no better than the same label in every pixel" if race.learned else "what learned nothing"
        return (
            "Next: look at the target's preview and at the recipe (finetune.lr, finetune.loss, finetune.train_epochs) before any "
            f"choice; of {models} no ranking means anything."
        )
    winner = race.entrants[race.winner]
    start = f"--target {race.target} --encoder {winner.encoder} --origin {winner.origin} --epoch {winner.epoch} --mode {race.mode}"
    why = ", which trains it on all training patients" if race.held_out else ""
    first = "the weights that it continues from" if winner.continues else "random weights of its architecture"
    beside = "" if winner.is_random else f"; {first} (--epoch 0) beside it show what it gains"
    return f"Next: `medtransfer finetune {start}{repeated_options()}`{why}{beside}."

"""What a study takes and could show, said before anything runs; nothing is written."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.config.study_files import StudyFile
from medtransfer.errors import InputError
from medtransfer.grid.jobs import check_inputs
from medtransfer.grid.jobs import plan as list_jobs
from medtransfer.metrics.comparison import POWER
from medtransfer.records import size_text
from medtransfer.records.tables import as_markdown
from medtransfer.studies.disk import checkpoint_bytes, count_parameters, model_bytes, readable
from medtransfer.studies.inputs import MISSING, Input, list_inputs
from medtransfer.studies.printed import tables_of
from medtransfer.studies.rows import Row, add_up, list_rows, seconds_left, seconds_per_image
from medtransfer.studies.spread import Spread, spread_of, visible_gaps
from medtransfer.studies.workload import pretrainings

log = logging.getLogger("medtransfer")
UNKNOWN = "?"


def plan(chosen: StudyFile, seconds_per_step: float | None = None, deviation: float | None = None) -> str:
    """Describe a study: its cells, what they take, what is missing, and which differences it could see.

    Args:
        chosen: the study.
        seconds_per_step: of a fine-tuning on the hardware at hand; None: measured on the finished cells.
        deviation: standard deviation over repetitions in units of the metric; None: measured, printed or published.

    Raises:
        InputError: the store cannot be read, a size is larger than a target, or every part would be refused.
    """
    _check(chosen)
    rows = list_rows(chosen)
    measured = seconds_per_image(rows)
    seconds = [seconds_left(row, seconds_per_step, measured) for row in rows]
    table = as_markdown([_cells(row, left) for row, left in zip(rows, seconds, strict=True)])
    source = f"{seconds_per_step:g} s per step" if seconds_per_step is not None else "the finished cells"
    paragraphs = [_heading(chosen), table, " ".join([_totals(chosen, rows), _pretrainings(chosen), _time(seconds, source)])]
    return "\n\n".join([*paragraphs, _disk(chosen, rows), _inputs(list_inputs(chosen)), _power(chosen, rows, deviation)])


def _check(chosen: StudyFile) -> None:
    """Refuse what a run would refuse, as far as it shows by now; a part that is refused does not stop the others."""
    refused = {part.name: error for part in chosen.parts if (error := _refusal(part.params))}
    if len(refused) == len(chosen.parts):
        raise next(iter(refused.values()))
    for name, error in refused.items():
        log.warning("study: %s/%s would be refused: %s", chosen.name, name, error)


def _refusal(params: Params) -> InputError | None:
    """Return why a run with the params would be refused; None if it would not, as far as it shows."""
    try:
        jobs = list_jobs(params)
        to_do = [job for job in jobs if job.kind != "prepare" or not study.is_prepared(params, job.target)]
        check_inputs(params, jobs, to_do)
    except InputError as error:
        return error
    return None


def _heading(chosen: StudyFile) -> str:
    paper = f" Repeats {chosen.about.paper}." if chosen.about.paper else ""
    return f"{chosen.name}: {chosen.about.what}{paper}"


def _labels(row: Row) -> dict[str, Any]:
    size = "all" if row.key.size is None else size_text(row.key.size)
    return {"target": row.key.target, "mode": row.key.mode, "size": size}


def _cells(row: Row, seconds: float | None) -> dict[str, Any]:
    images = {one.images for one in row.cells}
    return {
        **_labels(row), "initialisations": row.starts, "n": row.repetitions, "cells": len(row.cells),
        "finished": len(row.finished), "trained on": UNKNOWN if None in images else " or ".join(f"{one:,}" for one in images),
        "steps": UNKNOWN if row.work is None else f"{row.work.steps:,}",
        "images": UNKNOWN if row.work is None else f"{row.work.images:,}",
        "hours left": UNKNOWN if seconds is None else _hours(seconds),
    }  # fmt: skip


def _totals(chosen: StudyFile, rows: Sequence[Row]) -> str:
    cells, done = sum(len(row.cells) for row in rows), sum(len(row.finished) for row in rows)
    works = [row.work for row in rows]
    sum_of, unknown = add_up(works), works.count(None)
    stops = any(part.params.finetune.patience is not None for part in chosen.parts)
    return (
        f"{cells:,} fine-tunings, of which {done:,} are finished and reused: {'at most ' if stops else ''}{sum_of.steps:,} steps "
        f"and {sum_of.images:,} images in all"
        + (f", without {counted(unknown, 'row')} whose training images are not known" if unknown else "")
        + (". Early stopping will end many before." if stops else ".")
    )


def _pretrainings(chosen: StudyFile) -> str:
    trained = dict(work for part in chosen.parts for work in pretrainings(part))
    if not trained:
        return "No pretraining is trained."
    made, unknown = add_up(list(trained.values())), list(trained.values()).count(None)
    lacking = f", without {unknown} whose source images are not known" if unknown else ""
    return f"{counted(len(trained), 'pretraining')} beside them: {made.steps:,} steps and {made.images:,} images{lacking}."


def _time(seconds: Sequence[float | None], source: str) -> str:
    known = [value for value in seconds if value is not None]
    if len(known) == len(seconds):
        return f"The fine-tunings that are left take {_hours(sum(known))} hours, one after the other, by {source}."
    if any(known):
        return f"Those whose time is known by {source} take {_hours(sum(known))} hours, one after the other."
    return "Their hours are not known before some are finished: run a few, or say how long a step takes by --seconds-per-step."


def _disk(chosen: StudyFile, rows: Sequence[Row]) -> str:
    parameters = count_parameters(chosen)
    unknown = sorted(encoder for encoder, count in parameters.items() if count is None)
    left_out = f" Weights of {', '.join(unknown)} are not counted." if unknown else ""
    checkpoints = checkpoint_bytes(chosen, parameters)
    models = sum(model_bytes(row, parameters) for row in rows)
    kept = "no models are kept (finetune.keep)" if not models else f"{readable(models)} of models"
    return f"Disk: {readable(checkpoints)} of checkpoints, {kept}. The tracking store holds a copy.{left_out}"


def _inputs(inputs: Sequence[Input]) -> str:
    missing = [one for one in inputs if one.state == MISSING]
    states = Counter(one.state for one in inputs)
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    if not missing:
        return f"Data: everything is here or is made ({counts})."
    lines = [f"Data: {counts}. Missing (counts and licences: docs/how-to/real-data.md, `medtransfer catalogue`):"]
    for one in missing:
        lines.append(f"- {one.kind} {one.name}: {one.message}")
        lines += [line for line in one.layout.splitlines() if line]
    return "\n".join(lines)


def _power(chosen: StudyFile, rows: Sequence[Row], given: float | None) -> str:
    tables = tables_of(chosen)
    confidence = chosen.parts[0].params.report.confidence
    shown = [{**_labels(row), "n": row.repetitions, **_gaps(row, spread_of(row, given, tables), confidence)} for row in rows]
    return (
        f"What the study could distinguish: two initialisations of n repetitions are distinguished with a probability of "
        f"{100 * POWER:g} % (two-sided t test at {100 * (1 - confidence):g} %) if their means differ by the gap seen; among all, "
        f"if every initialisation is compared with one of them (Bonferroni).\n\n{as_markdown(shown)}"
    )


def _gaps(row: Row, spread: Spread | None, confidence: float) -> dict[str, str]:
    if spread is None:
        return {"spread": UNKNOWN, "known from": "nothing: give --sd", "gap seen": UNKNOWN, "among all": UNKNOWN}
    gaps = visible_gaps(spread.value, row.repetitions, row.starts - 1, confidence)
    alone, among = ("none", "none") if gaps is None else (f"{gaps[0]:.4f}", f"{gaps[1]:.4f}")
    relative = " of the best" if spread.relative else ""
    return {"spread": f"{spread.value:.4f}{relative}", "known from": spread.source, "gap seen": alone, "among all": among}


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.3g}" if seconds < 3.6e6 else f"{seconds / 3600:,.0f}"


def counted(number: int, name: str) -> str:
    """Return a number with the name of what it counts."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"

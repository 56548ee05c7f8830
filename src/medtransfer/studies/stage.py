"""Command `study`: run the parts of a study that can run, each through the grid, to their reports and one table of results."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.config.study_files import Part, StudyFile
from medtransfer.errors import InputError, StageError
from medtransfer.grid.stage import run_and_report
from medtransfer.studies.inputs import MISSING, TARGET, Input, list_inputs, missing_of
from medtransfer.studies.narrowing import of_study, source_targets
from medtransfer.studies.results import write_results

log = logging.getLogger("medtransfer")


def run(chosen: StudyFile, available: bool = False) -> str:
    """Run all parts; finished cells are reused, and a part that fails does not stop the others.

    Args:
        chosen: the study.
        available: whether to leave out the targets and origins whose data are missing.

    Returns:
        The reports of the parts and a summary.

    Raises:
        InputError: data are missing.
        StageError: some parts failed; the others are done.
    """
    missing = [one for one in list_inputs(chosen) if one.state == MISSING]
    if missing and not available:
        raise InputError(_refusal(chosen, missing))
    ready = [narrowed for part in chosen.parts if (narrowed := _narrowed(part, missing, len(chosen.parts) > 1, chosen))]
    if not ready:
        raise InputError(f"expected data for a part of {chosen.name}, but all are missing; see the same command with --plan")
    study.reach_store(ready[0].params, (*study.RESULTS, "grid", "report"))
    texts, failures = [], []
    with tracking.project_run_set_aside():
        for part in ready:
            _prepare_sources(part.params)
            log.info("study: %s", _name(chosen, part))
            try:
                texts.append(f"{_name(chosen, part)}\n\n{run_and_report(part.params)}")
            except (InputError, StageError) as error:
                log.warning("study: %s: %s", _name(chosen, part), error)
                failures.append(f"{_name(chosen, part)}: {error}")
    summary = write_results(replace(chosen, parts=tuple(ready)), Path(chosen.parts[0].params.report.out))
    if failures:
        raise StageError(f"{len(failures)} of {len(ready)} parts failed; {failures[0]} — {summary}")
    papers = {part.about.printed.paper for part in ready if part.about.printed is not None}
    following = [f"Next: medtransfer replay --paper {paper}, its claims" for paper in sorted(papers)]
    return "\n\n".join([*texts, summary, *following])


def _name(chosen: StudyFile, part: Part) -> str:
    return f"{chosen.name}/{part.name}" if part.name else chosen.name


def _refusal(chosen: StudyFile, missing: Sequence[Input]) -> str:
    names = ", ".join(f"{one.kind} {one.name} ({one.path})" for one in missing)
    return (
        f"expected the data of {chosen.name}, but {len(missing)} are missing: {names}; `medtransfer study {chosen.name} --plan` "
        "says how they are laid out; put them in place, or run what is possible with --available"
    )


def _narrowed(part: Part, missing: Sequence[Input], several: bool, chosen: StudyFile) -> Part | None:
    """Return a part without what is missing, with the names that it uses alone, which its report judges; None if nothing is left.

    Args:
        part: the part.
        missing: all missing inputs of the study.
        several: whether the study has other parts, so that each has a folder of its own for its report.
        chosen: the study.
    """
    params = part.params
    lacking = missing_of(params, missing, chosen)
    gone = {one.name for one in missing if one.kind == TARGET}
    targets = [name for name in params.study.targets if name not in gone]
    origins = [name for name in params.study.origins if not lacking & set(study.origin_names(params, name))]
    for kind, wanted, left in (("targets", params.study.targets, targets), ("origins", params.study.origins, origins)):
        if dropped := [name for name in wanted if name not in left]:
            log.warning("study: %s: without the %s %s, whose data are missing", _name(chosen, part), kind, ", ".join(dropped))
    if not targets or not origins:
        return None
    narrowed = of_study(params, targets, origins)
    folder = Path(params.report.out) / (part.name if several else "")
    return replace(part, params=study.with_values(narrowed, "report", out=str(folder)))


def _prepare_sources(params: Params) -> None:
    """Prepare the targets that pretrainings of a part have as their sources."""
    for name in sorted(source_targets(params)):
        study.prepare(study.with_values(params, "prepare", target=name))

"""Measure candidate encoders on the images of a target, rank them by every indicator, and write page, tables and runs."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.analysis.feature_maps import FEATURE_MAP
from medtransfer.analysis.history import History, history
from medtransfer.analysis.rankings import outcomes_of
from medtransfer.config import Params
from medtransfer.errors import InputError, StageError
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.alone import Alone
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import start_workers, work
from medtransfer.grid.worker import Outcome
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.hashing import digest
from medtransfer.indicators.registry import find_indicators
from medtransfer.indicators.requirements import fits, without
from medtransfer.progress import Tally
from medtransfer.rank import page, tables
from medtransfer.rank.candidates import Candidate
from medtransfer.rank.feature_maps import has_map, map_file
from medtransfer.rank.finished import PAGE, TEXT, record_file
from medtransfer.rank.measurement import Measure
from medtransfer.rank.ranking import Ranking, reliable
from medtransfer.rank.settings import scoring, shared_settings
from medtransfer.rank.targets import check_images, fitting_indicators
from medtransfer.records import IMAGE_TASKS, PreparedTarget, write_json, write_text
from medtransfer.records.evidence import EvidenceRow
from medtransfer.records.feature_map import FeatureMap
from medtransfer.records.ranked import RankedCandidate
from medtransfer.records.tables import as_csv
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Metric
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Assessed:
    """A ranking, and what it is stored in.

    Attributes:
        ranking: the ranking.
        files: its page and tables, and the records of its candidates.
    """

    ranking: Ranking
    files: Sequence[Path]


def assess(params: Params, candidates: Sequence[Candidate], target: PreparedTarget, evidence: Sequence[EvidenceRow]) -> Assessed:
    """Rank the candidates, and write page, tables and runs; candidates that were measured before are reused.

    Args:
        params: params, whose section `rank` says how.
        candidates: the candidates.
        target: target whose images they are ranked on.
        evidence: outcomes of fine-tuning on any target.

    Raises:
        InputError: the images or what names a candidate cannot be used.
        StageError: no candidate could be measured, or of several none with pretrained weights.
    """
    (by,) = find_indicators([params.rank.by], "rank.by")
    if by.within_width:
        raise InputError(
            f"expected rank.by to compare encoders of any width, but {by.name} compares only levels of the same number of "
            "channels; set another, such as ridge"
        )
    if target.label_kind and not fits(by, target):
        raise InputError(
            f"expected rank.by out of the indicators that take the labels of {target.folder}, but {by.name} cannot be measured "
            f"{without(target)}; set another, such as ridge"
        )
    target = target.verify()
    check_images(target, scoring(params).split)
    names = fitting_indicators([*params.rank.indicators, *([by.name] if target.label_kind else [])], target)
    jobs = [describe_job(candidate, target, names, params) for candidate in candidates]
    left_out = _measure(params, jobs)
    _check_measured(jobs, left_out)
    measured = [job.read() for job in jobs if job.name not in left_out]
    records = [record.only(names) for record in measured]
    ranking = Ranking(
        target.info.target, params.finetune.mode, records, params.rank.by if target.label_kind else None,
        params.report.confidence, params.report.draws, params.report.seed, params.race.eta, left_out,
        _histories(records, target, evidence, params), maps=_maps(jobs, left_out) if has_map(target) else {},
        labelled=target.info.task in IMAGE_TASKS, prepared=params.rank.images is None,
    )  # fmt: skip
    weights = [record.weights for record in records]
    metric, recipe = _metric(target), Protocol.of(params.finetune).key
    outcomes, seeds, protocol = outcomes_of(weights, target.info.fingerprint, ranking.mode, metric.name, evidence, recipe)
    known = {"outcomes": outcomes.tolist(), "seeds": seeds, "other_recipe": protocol not in {"", recipe}, "metric": metric.label}
    ranking = replace(ranking, **known, least=metric.floor(params.report.least))
    maps = {job.name: map_file(Path(job.record)) for job in jobs}
    pages = _write(ranking, measured, target, params, maps)
    return Assessed(ranking, [*pages, *(Path(job.record) for job in jobs), *(path for path in maps.values() if path.exists())])


def _check_measured(jobs: Sequence[Measure], left_out: Mapping[str, str]) -> None:
    """Check that something was measured, and not random controls alone where pretrained candidates were named.

    Raises:
        StageError: else, so that an earlier ranking stays as it is.
    """
    pretrained = [job.name for job in jobs if not job.candidate.is_random]
    if len(left_out) == len(jobs):
        kind, wanted = "candidate", [job.name for job in jobs]
    elif pretrained and left_out.keys() >= set(pretrained):
        kind, wanted = "pretrained candidate", pretrained
    else:
        return
    none = f"the only {kind} could not" if len(wanted) == 1 else f"none of the {len(wanted)} {kind}s could"
    raise StageError(f"{none} be measured; {'' if len(wanted) == 1 else 'the first, '}{wanted[0]}: {left_out[wanted[0]]}")


def _histories(
    records: Sequence[RankedCandidate], target: PreparedTarget, evidence: Sequence[EvidenceRow], params: Params
) -> list[History]:  # fmt: skip
    """Return what other targets say about each candidate; images without labels are taken to be segmented."""
    info = target.info
    known = history(
        [record.weights for record in records], {info.fingerprint, info.raw, info.target}, evidence,
        metric=_metric(target).name, mode=params.finetune.mode, least=_metric(target).floor(params.report.least),
    )  # fmt: skip
    return [known[record.weights] for record in records]


def _maps(jobs: Sequence[Measure], left_out: Collection[str]) -> dict[str, FeatureMap]:
    read = {job.name: FeatureMap.read(map_file(Path(job.record))) for job in jobs if job.name not in left_out}
    return {name: drawn for name, drawn in read.items() if drawn is not None}


def _metric(target: PreparedTarget) -> Metric:
    return TASKS.get(target.info.task, TASKS["segmentation"]).primary


def describe_job(candidate: Candidate, target: PreparedTarget, indicators: Sequence[str], params: Params) -> Measure:
    """Return the work of measuring a candidate, with the file of its record."""
    record = str(record_file(candidate, Path(params.rank.out)))
    return Measure(candidate, str(target.folder), tuple(indicators), params.finetune.mode, record)


def _measure(params: Params, jobs: Sequence[Measure]) -> dict[str, str]:
    """Measure all candidates; return why some could not be, by name."""
    section, failed, waiting = params.rank, dict[Runnable, str](), list[Measure]()
    for job in jobs:
        try:
            if not job.is_done(params):
                waiting.append(job)
        except InputError as error:
            if LAUNCHERS[section.launcher].here:
                failed[job] = str(error)
                log.warning("rank: %s is left out: %s", job.name, error)
            else:  # the host that measures it may have the weights
                waiting.append(job)
    if reused := len(jobs) - len(waiting) - len(failed):
        log.info("rank: %d of %d candidates are measured already; reused", reused, len(jobs))
    if not waiting:
        return {job.name: reason for job, reason in failed.items()}
    logs = Path(section.out) / "logs"
    with tracking.project_run_set_aside():
        launcher = start_workers(params, section.launcher, section.workers, waiting, params.score.accelerator, logs)
    workers = counted(launcher.workers, f"{section.launcher} worker")
    alone = isinstance(launcher, Alone)
    where = "" if alone else f"; how far each is: {logs}"
    log.info("rank: %s on %s%s", counted(len(waiting), "candidate"), workers, where)
    progress = _Progress(len(waiting), launcher.workers, alone)
    try:
        work(waiting, launcher, params.grid.retries, progress, set(), failed)
    finally:
        progress.tally.close()
        launcher.close()
    return {job.name: reason for job, reason in failed.items()}


class _Progress:
    """Counts candidates, on a bar where there is a terminal, in sparse lines elsewhere.

    Args:
        total: candidates to measure.
        at_once: workers.
        alone: whether they are measured by this process, which has said how each was loaded.
    """

    def __init__(self, total: int, at_once: int, alone: bool) -> None:
        self._alone, self.tally = alone, Tally("rank", total, "candidates", at_once)

    def finish(self, job: Measure, outcome: Outcome) -> None:
        """Count a candidate, and say how it was loaded or why it is left out."""
        self.tally.count()
        if outcome.status != "done":
            log.warning("rank: %d/%d %s is left out: %s", self.tally.done, self.tally.total, job.name, outcome.reason)
            return
        record = job.read()
        contract = record.input
        loaded = f"{record.audit}; expects {contract['size']} px, mean {contract['mean']}, std {contract['std']}; "
        log.info(
            "rank: %d/%d %s: %s%.1f s", self.tally.done, self.tally.total, job.name, "" if self._alone else loaded, outcome.seconds
        )  # fmt: skip

    def drop(self, job: Measure) -> None:
        """Do nothing: no candidate is dropped."""


def _write(
    ranking: Ranking, measured: Sequence[RankedCandidate], target: PreparedTarget, params: Params, maps: Mapping[str, Path]
) -> list[Path]:  # fmt: skip
    """Write page and tables, and the runs of all that was measured, with each candidate's map if there is one.

    Returns:
        The page and the tables.
    """
    out, settings = Path(params.rank.out), digest(shared_settings(params))
    files = {
        "ranking.csv": as_csv(tables.score_rows(ranking)), "candidates.csv": as_csv(tables.candidate_rows(ranking)),
        "agreement.csv": as_csv(tables.agreement_rows(ranking)), "judged.csv": as_csv(tables.judged_rows(ranking)),
        "pruning.csv": as_csv(tables.pruned_rows(ranking)), TEXT: tables.terminal(ranking) + "\n", PAGE: page.render(ranking),
    }  # fmt: skip
    for name, text in files.items():
        write_text(out / name, text)
    write_json(out / "ranking.json", _summary(ranking))
    drawn = {name: file for name, file in maps.items() if name in ranking.maps}
    records = [_record(candidate, ranking, target, settings, drawn) for candidate in measured]
    tracking.write_runs("rank", records, "candidates")
    return [out / name for name in (*files, "ranking.json")]


def _summary(ranking: Ranking) -> dict[str, Any]:
    return {
        "target": ranking.target, "mode": ranking.mode, "by": ranking.by, "confidence": ranking.confidence,
        "indistinguishable": [ranking.candidates[index].name for index in ranking.kept],
        "candidates": tables.candidate_rows(ranking), "scores": tables.score_rows(ranking),
        "baselines": {name: [ranking.candidates[i].name for i in chosen] for name, chosen in ranking.baselines.items()},
        "agreement": tables.agreement_rows(ranking), "judged": tables.judged_rows(ranking), "pruned": tables.pruned_rows(ranking),
        "left_out": dict(ranking.left_out),
    }  # fmt: skip


def _record(
    candidate: RankedCandidate, ranking: Ranking, target: PreparedTarget, settings: str, maps: Mapping[str, Path]
) -> tracking.RunRecord:  # fmt: skip
    """Return the run of a candidate; values are metrics by the indicator's name, so that runs compare in the UI."""
    values = {row.indicator: reliable(row) for row in candidate.rows}
    errors = {f"{row.indicator}_se": row.error for row in candidate.rows if row.error is not None}
    cost = {"seconds": candidate.seconds, "forward_seconds": candidate.forward_seconds, "memory_mib": candidate.memory}
    accuracy = {} if candidate.source_accuracy is None else {"source_accuracy": candidate.source_accuracy}
    params = {
        "candidate": candidate.name, "kind": candidate.kind, "build": candidate.build, "width": candidate.width,
        "level": candidate.level, "stride": candidate.stride, "series": candidate.series, "epoch": candidate.epoch,
        "target": ranking.target,
        "data": target.info.fingerprint, "mode": ranking.mode, "images": candidate.images, "groups": candidate.groups,
        "weights": candidate.weights, "settings": settings,
    }  # fmt: skip
    drawn = maps.get(candidate.name)
    return tracking.RunRecord(
        f"{candidate.name} → {ranking.target}", candidate.cell, params,
        {name: value for name, value in values.items() if value == value} | errors | cost | accuracy,
        tags={"weights_audit": candidate.audit} | ({FEATURE_MAP: drawn.name} if drawn else {}),
        artifacts={drawn.name: drawn} if drawn else {},
        datasets=[(ranking.target, target.info.fingerprint, target.folder, "scoring")],
    )  # fmt: skip

"""Whether scores are finished: they were asked for with the same settings, target and checkpoints."""

import re
from dataclasses import asdict
from pathlib import Path

from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.records import IMAGE_TASKS, CheckpointInfo, FinishedScores, PreparedTarget, Scores, list_checkpoints
from medtransfer.records.finished import are_as_written

FINISHED = "finished.json"
# Says which checkpoints are scored where, how fast, and which score a reader takes; no score depends on it.
NOT_IN_REQUEST = {"target", "encoder", "origin", "out", "accelerator", "batch_size", "pooling"}


def is_ours(name: str) -> bool:
    """Return whether this stage writes a file of this name into a folder of scores."""
    return re.fullmatch(r"epoch-\d+\.(json|npz)|scores\.(json|png)|scores_by_epoch\.csv|finished\.json", name) is not None


def request_of(section: Score, target: PreparedTarget, infos: dict[int, CheckpointInfo]) -> str:
    """Return the digest of everything that the scores are computed from."""
    settings = section.model_dump(mode="json", exclude=NOT_IN_REQUEST)
    settings["indicators"] = sorted(INDICATORS if ALL in section.indicators else set(section.indicators))
    if target.info.task in IMAGE_TASKS and any("labels" in INDICATORS[name].needs for name in settings["indicators"]):
        settings["labels"] = "of images, balanced"  # of which earlier versions measured fewer indicators, and samples of others
    return digest([Scores.form(), settings, target.info.fingerprint, [asdict(info) for info in infos.values()]])


def finished_run(folder: Path, request: str) -> str | None:
    """Return the digest of the run of the same request; None unless its files are as they were written."""
    try:
        done = FinishedScores.read(folder / FINISHED)
    except InputError:  # it was never finished
        return None
    return done.cell if done.request == request and are_as_written(folder, done.files) else None


def run_at_these_settings(folder: Path, section: Score, prepared: Path, series: Path) -> str | None:
    """Return the digest of the run of a folder of scores that were asked for as the params ask now; None if they were not.

    Of the files only the records are compared, since the distances are large.

    Args:
        folder: folder of the scores.
        section: validated params.
        prepared: folder of all prepared targets.
        series: folder of the checkpoints.
    """
    try:
        request = request_of(section, PreparedTarget.open(prepared / folder.parent.name), list_checkpoints(series))
        done = FinishedScores.read(folder / FINISHED)
    except InputError:  # an input is gone, or the scores were never finished
        return None
    records = {name: sha256 for name, sha256 in done.files.items() if name.endswith(".json")}
    return done.cell if done.request == request and are_as_written(folder, records) else None

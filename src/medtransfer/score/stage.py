"""Stage `score`: score the checkpoints of one pretraining on a target, or find that it is done."""

from dataclasses import asdict
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.locks import exclusive
from medtransfer.progress import loading
from medtransfer.records import CheckpointInfo, FinishedScores, PreparedTarget, Scores, list_checkpoints, series_folder

FINISHED = "finished.json"
# Says which checkpoints are scored where, how fast, and which score a reader takes; no score depends on it.
NOT_IN_REQUEST = {"target", "encoder", "origin", "out", "accelerator", "batch_size", "pooling"}


def run(section: Score, checkpoints: Path, prepared: Path, force: bool = False) -> Path:
    """Score every checkpoint of the section's encoder and origin on its target, or reuse finished scores.

    What was asked for is stored with the result, so that the same request loads no indicator.

    Args:
        section: validated params.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
        force: whether to score again if it is finished.

    Returns:
        The folder of the scores.
    """
    target = PreparedTarget.open(prepared / section.target)
    series = series_folder(checkpoints, section.encoder, section.origin)
    infos = list_checkpoints(series)
    request = _request(section, target, infos)
    folder = series_folder(Path(section.out) / section.target, section.encoder, section.origin)
    with exclusive(folder):
        done = None if force else _finished(folder, request)
        if done and tracking.reused("score", f"{folder.name} → {section.target}", done):
            return folder
        tracking.require_work_allowed()
        with loading("score"):
            from medtransfer.score.scorer import score_checkpoints
        (folder / FINISHED).unlink(missing_ok=True)
        cell = score_checkpoints(section, infos, series, prepared, folder, force)
        files = {path.name: file_sha256(path) for path in sorted(folder.glob("[!.]*.*"))}
        FinishedScores(request=request, cell=cell, files=files).write(folder / FINISHED)
    return folder


def _request(section: Score, target: PreparedTarget, infos: dict[int, CheckpointInfo]) -> str:
    """Return the digest of everything that the scores are computed from."""
    settings = section.model_dump(mode="json", exclude=NOT_IN_REQUEST)
    if ALL in section.indicators:
        settings["indicators"] = list(INDICATORS)
    return digest([Scores.form(), settings, target.info.fingerprint, [asdict(info) for info in infos.values()]])


def _finished(folder: Path, request: str) -> str | None:
    """Return the digest of the run of the same request; None unless its files are as they were written."""
    try:
        done = FinishedScores.read(folder / FINISHED)
        same = all(file_sha256(folder / name) == sha256 for name, sha256 in done.files.items())
    except (InputError, OSError):  # it was never finished, or its files are gone
        return None
    return done.cell if same and done.request == request else None

"""Stage `score`: score the checkpoints of one pretraining on a target, or find that it is done."""

from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Score
from medtransfer.environment import require_device
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.locks import exclusive
from medtransfer.progress import loading
from medtransfer.records import CheckpointInfo, FinishedScores, PreparedTarget, list_checkpoints, series_folder
from medtransfer.score.finished import FINISHED, finished_run, is_ours, request_of
from medtransfer.score.other_settings import bring_back, forget


def run(section: Score, checkpoints: Path, prepared: Path, force: bool = False) -> Path:
    """Score every checkpoint of the section's encoder and origin on its target, or reuse finished scores.

    What was asked for is stored with the result, so that the same request loads no indicator. Scores at other settings or options
    are kept beside the folder, and brought back when they are asked for again.

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
    request = request_of(section, target, infos)
    folder = series_folder(Path(section.out) / section.target, section.encoder, section.origin)
    with exclusive(folder):
        done = None if force else finished_run(folder, request)
        if not done and not force and not tracking.is_looking_up():
            bring_back(folder, lambda each: (finished_run(each, request) is None,))
            done = finished_run(folder, request)
        if done and tracking.reused("score", f"{folder.name} → {section.target}", done):
            return folder
        tracking.require_work_allowed()
        target.samples(section.split)
        first = _check(series, infos, section.level)
        target.require_size(first.multiple, first.encoder)
        require_device(section.accelerator, section.precision)
        with loading("score"):
            from medtransfer.score.requested import requested_indicators

            requested_indicators(section, target)  # before the rest is loaded
            from medtransfer.score.scorer import score_checkpoints
        cell = score_checkpoints(section, infos, series, prepared, folder, force)
        files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if is_ours(path.name) and path.name != FINISHED}
        FinishedScores(request=request, cell=cell, files=files).write(folder / FINISHED)
        forget(folder)
    return folder


def _check(series: Path, infos: dict[int, CheckpointInfo], level: int) -> CheckpointInfo:
    """Return the first of checkpoints of one pretraining, whose encoder must have the default level."""
    if len(pretrainings := sorted({info.pretraining for info in infos.values()})) > 1:
        raise InputError(
            f"expected the checkpoints of one pretraining in {series}, but got those of {len(pretrainings)} "
            f"({', '.join(pretrainings)}); keep one pretraining per folder"
        )
    first = next(iter(infos.values()))
    if -level > (count := len(first.levels)):
        raise InputError(f"expected score.level from -1 to -{count} for {first.encoder}, but got {level}")
    return first

"""The checkpoints of one pretraining and a prepared target go in; robustness by epoch comes out, on disk and in the store."""

import logging
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.distances import DISTANCES
from medtransfer.indicators.robustness.measure import ViewSettings, measure_pairs
from medtransfer.indicators.robustness.pairs_file import read_pairs, summarise, tabulate, write_pairs
from medtransfer.locks import only_one
from medtransfer.records import (
    BROKEN_ARRAYS,
    CheckpointInfo,
    PreparedTarget,
    Scores,
    checkpoint_path,
    list_checkpoints,
    series_folder,
    write_text,
)
from medtransfer.score.plot import draw_curves
from medtransfer.score.sync import METRICS, TABLE, pick, record_of
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


def run(section: Score, checkpoints: Path, prepared: Path, force: bool = False) -> Path:
    """Score every checkpoint of the section's encoder and origin on its target, or reuse what is finished.

    Args:
        section: validated params.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
        force: score again although it is finished.

    Returns:
        The folder of the scores.
    """
    if section.distance not in DISTANCES:
        raise InputError(f"expected score.distance out of {', '.join(DISTANCES)}, but got {section.distance!r}")
    target = PreparedTarget.open(prepared / section.target).verify()
    series = series_folder(checkpoints, section.encoder, section.origin)
    infos = list_checkpoints(series)
    _check(series, infos, section.level)
    folder = series_folder(Path(section.out) / section.target, section.encoder, section.origin)
    with only_one(folder):
        return _run(section, series, infos, target, folder, force)


def _run(
    section: Score, series: Path, infos: dict[int, CheckpointInfo], target: PreparedTarget, folder: Path, force: bool
) -> Path:  # fmt: skip
    settings = ViewSettings(section.split, section.max_images, section.seed, section.repeats, section.negative)
    identity = {**asdict(settings), "precision": section.precision}
    default = {"distance": section.distance, "margin": section.margin, "level": section.level}
    margins = sorted({*section.margins, section.margin})
    known = {} if force else {epoch: _known(folder, epoch, info, target, identity) for epoch, info in infos.items()}
    if force or any(found is None or _margins(found) != margins for found in known.values()):
        (folder / TABLE).unlink(missing_ok=True)  # it comes last: a folder without it is unfinished
    scores = {}
    for epoch, info in sorted(infos.items()):
        if found := known.get(epoch):
            scores[epoch] = _with_margins(found, folder, margins)
        else:
            scores[epoch] = _score(section, series, epoch, info, target, settings, identity, margins, folder)
    _sweep(folder, scores)
    curves = {METRICS[p]: {e: pick(s, default, p) for e, s in scores.items()} for p in (False, True)}
    draw_curves(folder / "robustness.png", curves, scores, default, f"{section.target} · {folder.name}")
    write_text(folder / TABLE, _as_csv(scores))
    record = record_of(scores, default, folder, target.folder)
    if not force and (finished := tracking.find_finished("score", record.cell)):
        log.info("score: %s is finished (run %s): reused; --force does it again", folder, finished.id)
        tracking.note_reuse("score", finished.id)
        return folder
    with tracking.open_run("score", record.name, record.cell, record.params, {}) as handle:
        handle.log_record(record)
    return folder


def _check(series: Path, infos: dict[int, CheckpointInfo], level: int) -> None:
    """Refuse checkpoints of several pretrainings in one folder, and a default level that the encoder does not have."""
    if len(found := sorted({info.pretraining for info in infos.values()})) > 1:
        raise InputError(
            f"expected the checkpoints of one pretraining in {series}, but got those of {len(found)} ({', '.join(found)}); "
            "keep one pretraining a folder"
        )
    first = next(iter(infos.values()))
    if -level > (count := len(first.levels)):
        raise InputError(f"expected score.level from -1 to -{count} for {first.encoder}, but got {level}")


def _score(
    section: Score, series: Path, epoch: int, info: CheckpointInfo, target: PreparedTarget, settings: ViewSettings,
    identity: dict[str, Any], margins: list[float], folder: Path,
) -> Scores:  # fmt: skip
    fabric = open_fabric(section.accelerator, 1, section.precision)
    encoder = load_encoder(checkpoint_path(series, epoch), info)
    label = f"score {section.target} {series.name} epoch {epoch}"
    pairs = measure_pairs(encoder, target, settings, info.input, section.batch_size, fabric.device, fabric.autocast, label)
    path = checkpoint_path(folder, epoch)
    write_pairs(path.with_suffix(".npz"), pairs)
    scores = summarise(pairs, info, section.target, target.info.fingerprint, identity, margins)
    scores.write(path)
    default = {"distance": section.distance, "margin": section.margin, "level": section.level}
    log.info(
        "%s: robustness %.4f, pooled %.4f (%d images)", label, pick(scores, default, False), pick(scores, default, True),
        scores.images,
    )  # fmt: skip
    for note in scores.notes:
        log.warning("%s: %s", label, note)
    for line in scores.counts:
        if line["zero"] or line["nonfinite"]:
            log.warning("%s: level %d: %d zero and %d non-finite vectors got a defined distance",
                        label, line["level"], line["zero"], line["nonfinite"])  # fmt: skip
    return scores


def _known(
    folder: Path, epoch: int, info: CheckpointInfo, target: PreparedTarget, identity: dict[str, Any]
) -> Scores | None:  # fmt: skip
    """Give the scores on disk of the same weights, images and settings, whatever their margins; None without the distances."""
    path = checkpoint_path(folder, epoch)
    if not path.exists() or not path.with_suffix(".npz").exists():
        return None
    try:
        found = Scores.read(path)
        whole = len(read_pairs(path.with_suffix(".npz")).images) == found.images
    except (InputError, *BROKEN_ARRAYS):  # of another version or broken
        return None
    same = (found.pretraining, found.weights, found.data, found.settings) == (
        info.pretraining, info.weights, target.info.fingerprint, identity,
    )  # fmt: skip
    return found if same and whole else None


def _margins(scores: Scores) -> list[float]:
    return sorted({line["margin"] for line in scores.table})


def _with_margins(scores: Scores, folder: Path, margins: list[float]) -> Scores:
    """Give the scores with a table of the margins, computed from the stored distances where they are others."""
    if _margins(scores) == margins:
        return scores
    path = checkpoint_path(folder, scores.epoch)
    log.info("score: the margins of %s are computed from its stored distances", path)
    changed = replace(scores, table=tabulate(read_pairs(path.with_suffix(".npz")), margins))
    changed.write(path)
    return changed


def _sweep(folder: Path, epochs: Collection[int]) -> None:
    """Remove scores of checkpoints that are there no more."""
    kept = {checkpoint_path(folder, epoch).stem for epoch in epochs}
    for stray in (path for path in folder.glob("epoch-*.*") if path.stem not in kept):
        stray.unlink()


def _as_csv(scores: dict[int, Scores]) -> str:
    import pandas as pd

    lines = [{"epoch": epoch, **line} for epoch, found in scores.items() for line in found.table]
    return pd.DataFrame(lines).to_csv(index=False)

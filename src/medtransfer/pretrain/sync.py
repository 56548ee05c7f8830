"""Write the runs of finished pretrainings on disk that the tracking store lacks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.locks import is_locked
from medtransfer.records import (
    CURVES_FILE,
    PRETRAINING_FILE,
    Pretraining,
    checkpoint_files,
    checkpoint_path,
    folders_and_files,
    list_checkpoints,
    picture_path,
)


def publish(checkpoints: Path) -> int:
    """Write the missing runs.

    Args:
        checkpoints: folder of all pretrainings.

    Returns:
        Number of runs written. Incomplete folders and those of another version are skipped with one warning for all; folders
        that a process works on are skipped without a warning.
    """
    records, skipped = [], dict[Path, Exception]()
    for folder in (checkpoints / name for name in folders_and_files(checkpoints, skipped)[0]):
        folders, files = folders_and_files(folder, skipped)
        if PRETRAINING_FILE not in (*folders, *files) or is_locked(folder):
            continue
        try:
            records.append(record_of(folder, Pretraining.read(folder / PRETRAINING_FILE)))
        except (InputError, OSError, ValueError) as error:  # the file may hold anything
            skipped[folder] = error
    tracking.warn_of_unreadable("pretrainings", skipped)
    return tracking.write_runs("pretrain", records, "pretrainings to the tracking store")


def record_of(folder: Path, done: Pretraining) -> tracking.RunRecord:
    """Return the run of a finished pretraining, as its training would have logged it.

    Raises:
        InputError: checkpoints are missing or belong to another pretraining.
    """
    infos = list_checkpoints(folder)
    owners = {epoch: info.pretraining for epoch, info in infos.items()}
    named = [epoch for epoch in done.epochs if owners.get(epoch) == done.pretraining]
    files = [file for epoch in named for file in checkpoint_files(checkpoint_path(folder, epoch), infos[epoch])]
    if named != list(done.epochs) or not all(file.exists() for file in files):
        raise InputError(f"expected the checkpoints that {folder / PRETRAINING_FILE} names, but they differ; pretrain again")
    others = [folder / CURVES_FILE, folder / PRETRAINING_FILE, *(picture_path(folder, epoch) for epoch in named)]
    return tracking.RunRecord(
        done.name, done.cell, done.params, {}, _by_epoch(done.curves), done.tags,
        {f"checkpoints/{file.name}": file for file in (*others, *files) if file.exists()},
        [(name, digest, Path(source), context) for name, digest, source, context in done.inputs],
    )  # fmt: skip


def finish(handle: tracking.Run, folder: Path, done: Pretraining) -> None:
    """Write `pretraining.json`, and log tags, datasets and artifacts; the open run already has params and curves."""
    done.write(folder / PRETRAINING_FILE)
    handle.set_tags(done.tags)
    handle.log_record(replace(record_of(folder, done), curves={}))


def _by_epoch(curves: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    return {name: {int(epoch): value for epoch, value in curve.items()} for name, curve in curves.items()}

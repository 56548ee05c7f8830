"""Reuse a finished pretraining: its files come from the folder or the store, and foreign checkpoints are moved aside."""

import logging
from pathlib import Path

from medtransfer import tracking
from medtransfer.environment import is_main_process
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.records import scratch_folder

log = logging.getLogger("medtransfer")


def reuse(checkpoints: CheckpointFolder, cell: str) -> bool:
    """Return whether a finished run holds the checkpoints; those that the folder lacks are fetched from the store.

    Every process of a distributed job gets the same answer; only the main one touches files.
    """
    if not is_main_process():
        return tracking.find_finished("pretrain", cell) is not None

    def restore(finished: tracking.StoredRun) -> None:
        move_aside_foreign(checkpoints)
        if not {int(epoch) for epoch in finished.tags["saved"].split()} <= set(checkpoints.saved):
            _fetch(finished.id, checkpoints.path)

    return tracking.reused("pretrain", checkpoints.path.name, cell, restore)


def move_aside_foreign(checkpoints: CheckpointFolder) -> None:
    """Move the checkpoints of other settings aside and log it."""
    if aside := checkpoints.move_aside_foreign():
        log.info("pretrain: the checkpoints of other settings were moved to %s", aside)


def _fetch(run: str, folder: Path) -> None:
    """Copy a run's checkpoints into the folder, each JSON after its weights, since it makes the checkpoint count."""
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as scratch:
        tracking.fetch_artifacts(run, "checkpoints", scratch)
        for file in sorted((scratch / "checkpoints").iterdir(), key=lambda file: file.suffix != ".safetensors"):
            file.replace(folder / file.name)

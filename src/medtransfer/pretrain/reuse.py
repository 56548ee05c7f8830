"""Reuse a finished pretraining from its folder or the store, and move checkpoints of other settings aside."""

import logging
from pathlib import Path

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.launchers import is_main_process
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.records import scratch_folder

log = logging.getLogger("medtransfer")


def reuse(checkpoints: CheckpointFolder, cell: str) -> bool:
    """Return whether there is a finished run; checkpoints that the folder lacks are downloaded from the store.

    Every process of a distributed job gets the same result; only the main process changes files.
    """
    if not is_main_process():
        return tracking.find_finished("pretrain", cell) is not None

    def restore(finished: tracking.StoredRun) -> None:
        wanted = {int(epoch) for epoch in finished.tags["saved"].split()}
        if checkpoints.foreign or not wanted <= set(checkpoints.saved):
            tracking.require_work_allowed()
        move_aside_foreign(checkpoints)
        if not wanted <= set(checkpoints.saved):
            _fetch(finished.id, checkpoints.path)
            if lost := sorted(wanted - set(checkpoints.saved)):
                raise InputError(
                    f"expected whole checkpoints in {checkpoints.path}, but that of epoch {lost[0]} is cut off or gone, in the "
                    "tracking store too; --force makes them again"
                )
        if checkpoints.state.exists() and checkpoints.complete and not tracking.is_looking_up():
            checkpoints.state.unlink()  # which a process left that was killed after it had published

    found = tracking.reused("pretrain", checkpoints.path.name, cell, restore)
    if not found:
        tracking.require_work_allowed()
    return found


def move_aside_foreign(checkpoints: CheckpointFolder) -> None:
    """Move the checkpoints of other settings aside and log it."""
    if aside := checkpoints.move_aside_foreign():
        log.info("pretrain: the checkpoints of other settings were moved to %s", aside)


def _fetch(run: str, folder: Path) -> None:
    """Download a run's checkpoints to the folder, each record after its weights, since a record makes a checkpoint valid."""
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as scratch:
        tracking.fetch_artifacts(run, "checkpoints", scratch)
        for file in sorted((scratch / "checkpoints").iterdir(), key=lambda file: file.suffix != ".safetensors"):
            file.replace(folder / file.name)

"""Reuse a finished pretraining; checkpoints of other settings are moved aside."""

import logging
from pathlib import Path

from medtransfer import tracking
from medtransfer.environment import is_main_process
from medtransfer.pretrain.folder import Series
from medtransfer.records import scratch_folder

log = logging.getLogger("medtransfer")


def reuse(series: Series, cell: str) -> bool:
    """Whether a finished run holds the checkpoints; those that the folder lacks are fetched from the store.

    Every process of a distributed job gets the same answer; only the main one touches files.
    """
    if not is_main_process():
        return tracking.find_finished("pretrain", cell) is not None

    def restore(finished: tracking.StoredRun) -> None:
        make_room(series)
        if not {int(epoch) for epoch in finished.tags["saved"].split()} <= set(series.saved):
            _fetch(finished.id, series.folder)

    return tracking.reused("pretrain", series.folder.name, cell, restore)


def make_room(series: Series) -> None:
    """Move the checkpoints of other settings aside and say so."""
    if aside := series.make_room():
        log.info("pretrain: the checkpoints of other settings were moved to %s", aside)


def _fetch(run: str, folder: Path) -> None:
    """Copy a run's checkpoints into the folder, each JSON after its weights, since it makes the checkpoint count."""
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as place:
        tracking.fetch_artifacts(run, "checkpoints", place)
        for file in sorted((place / "checkpoints").iterdir(), key=lambda file: file.suffix != ".safetensors"):
            file.replace(folder / file.name)

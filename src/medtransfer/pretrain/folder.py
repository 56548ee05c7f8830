"""Folder of one pretraining: its checkpoints, its curves and the state to resume from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.records import (
    CheckpointInfo,
    OlderFormat,
    checkpoint_files,
    checkpoint_path,
    epoch_records,
    list_checkpoints,
    read_curves,
)
from medtransfer.records.pretraining import STATE_FILE
from medtransfer.records.state import read_progress
from medtransfer.records.weights_file import is_whole


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one pretraining in one folder.

    Attributes:
        path: `<out>/<encoder>-<origin>`.
        pretraining: digest that its checkpoints carry.
        epochs: epochs that must be saved.
    """

    path: Path
    pretraining: str
    epochs: tuple[int, ...]

    @property
    def state(self) -> Path:
        """File that an interrupted pretraining resumes from."""
        return self.path / STATE_FILE

    @property
    def saved(self) -> tuple[int, ...]:
        """Epochs all of whose files are whole in the folder; empty if it does not exist."""
        return tuple(
            epoch for epoch, info in sorted(self._infos.items())
            if all(is_whole(file) for file in checkpoint_files(checkpoint_path(self.path, epoch), info))
        )  # fmt: skip

    @property
    def complete(self) -> bool:
        """Whether every epoch is saved."""
        return set(self.epochs) <= set(self.saved)

    @property
    def progress(self) -> dict[str, Any] | None:
        """Progress of an interrupted or finished pretraining; None if it must start again.

        It must start again if nothing was saved, or if it has passed an epoch of `epochs` without saving it.
        """
        if (progress := read_progress(self.state)) is not None:
            passed = {epoch for epoch in self.epochs if epoch <= progress["epoch"]}
            return progress if passed <= set(self.saved) else None
        if not self.complete:
            return None
        return {"pretraining": self.pretraining, "epoch": max(self.epochs), "curves": read_curves(self.path)}

    def move_aside_foreign(self) -> Path | None:
        """Move the folder aside if it holds checkpoints of another pretraining, so that none are lost or mixed up.

        Returns:
            Its new path, or None if it was not moved.
        """
        if not (foreign := self.foreign):
            return None
        aside = self.path.with_name(f"{self.path.name}.{min(foreign)}")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"{self.path.name}.{min(foreign)}.{number}")
        self.path.rename(aside)
        return aside

    @property
    def foreign(self) -> set[str]:
        """Digests of the other pretrainings of which the folder holds checkpoints."""
        owners = {_owner(path) for path in epoch_records(self.path)}
        if (progress := read_progress(self.state)) is not None:
            owners.add(str(progress.get("pretraining")))
        return owners - {self.pretraining}

    @property
    def _infos(self) -> dict[int, CheckpointInfo]:
        return list_checkpoints(self.path) if epoch_records(self.path) else {}


def _owner(path: Path) -> str:
    """Return the digest of a record's pretraining, or `older` for records of older formats."""
    try:
        return CheckpointInfo.read(path).pretraining
    except OlderFormat:
        return "older"

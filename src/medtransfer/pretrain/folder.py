"""The folder of one pretraining: what it holds, what it still lacks, and how it makes room for another."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.records import checkpoint_path, list_checkpoints, write_json
from medtransfer.training.state import read_progress


@dataclass(frozen=True)
class Series:
    """Checkpoints of one pretraining in one folder.

    Attributes:
        folder: `<out>/<encoder>-<origin>`.
        pretraining: digest that its checkpoints carry.
        epochs: that must be saved.
    """

    folder: Path
    pretraining: str
    epochs: tuple[int, ...]

    @property
    def state(self) -> Path:
        """Give the file that an interrupted pretraining goes on from."""
        return self.folder / ".resume.safetensors"

    @property
    def saved(self) -> tuple[int, ...]:
        """Give the epochs whose checkpoints, record and weights, lie in the folder; none when it does not exist."""
        there = sorted(list_checkpoints(self.folder)) if any(self.folder.glob("epoch-*.json")) else []
        return tuple(epoch for epoch in there if checkpoint_path(self.folder, epoch).with_suffix(".safetensors").exists())

    @property
    def complete(self) -> bool:
        """Tell whether every epoch is there."""
        return set(self.epochs) <= set(self.saved)

    @property
    def progress(self) -> dict[str, Any] | None:
        """Give what an interrupted pretraining had reached, or a finished one; None when it has to start anew.

        That is so when there is nothing to go on from, or when it is past an epoch that is wanted now and was not saved.
        """
        if (progress := read_progress(self.state)) is not None:
            passed = {epoch for epoch in self.epochs if epoch <= progress["epoch"]}
            return progress if passed <= set(self.saved) else None
        if not self.complete:
            return None
        return {"pretraining": self.pretraining, "epoch": max(self.epochs), "curves": self._read_curves()}

    def make_room(self) -> Path | None:
        """Move checkpoints of another pretraining aside, so that none is lost or mixed up.

        Returns:
            Where they went, None when there were none.
        """
        known = list_checkpoints(self.folder) if any(self.folder.glob("epoch-*.json")) else {}
        owners = {info.pretraining for info in known.values()}
        if (progress := read_progress(self.state)) is not None:
            owners.add(str(progress.get("pretraining")))
        strangers = owners - {self.pretraining}
        if not strangers:
            return None
        aside = self.folder.with_name(f"{self.folder.name}.{min(strangers)}")
        number = 1
        while aside.exists():
            number += 1
            aside = self.folder.with_name(f"{self.folder.name}.{min(strangers)}.{number}")
        self.folder.rename(aside)
        return aside

    def write_curves(self, curves: dict[str, dict[str, float]]) -> None:
        """Write the curves by metric and epoch as a plot of DVC and a record for people."""
        rows = sorted({int(epoch) for curve in curves.values() for epoch in curve})
        table = [
            {"epoch": epoch, **{name: curve[str(epoch)] for name, curve in curves.items() if str(epoch) in curve}} for epoch in rows
        ]
        write_json(self.folder / "curves.json", table)

    def _read_curves(self) -> dict[str, dict[str, float]]:
        curves: dict[str, dict[str, float]] = {}
        if (path := self.folder / "curves.json").exists():
            for row in json.loads(path.read_text(encoding="utf-8")):
                epoch = str(row.pop("epoch"))
                for name, value in row.items():
                    curves.setdefault(name, {})[epoch] = value
        return curves

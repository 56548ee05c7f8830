"""Weights from files: torchvision's, timm's, or any others with the tensors of the encoder, our own checkpoints among them."""

from pathlib import Path

from medtransfer.config import FileOrigin, Pretrain
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper


class WeightsFile:
    """An encoder from a weights file, or several epochs' from several; see `Origin`."""

    section = FileOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epochs that the files stand for."""
        return 0, *_entry(section).files

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Import the files, or reuse a finished import."""
        entry = _entry(section)
        wanted = WeightsImport(
            kind="file", files=entry.files, source=entry.source, pickle=entry.pickle, allow_partial=entry.allow_partial,
            contract=entry.input.model_dump(mode="json") if entry.input else None,
        )  # fmt: skip
        return import_weights(section, wanted, force)


def _entry(section: Pretrain) -> FileOrigin:
    entry = section.origins[section.origin]
    assert isinstance(entry, FileOrigin)
    return entry

"""Weights from files with the encoder's tensors: torchvision's, timm's, our own checkpoints, or others."""

from pathlib import Path

from medtransfer.config import FileOrigin, Pretrain
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.weights_files import check_weights_files


class WeightsFile:
    """Encoder weights from one file, or from one file per epoch; see `Origin`."""

    section = FileOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epochs of the files."""
        return 0, *_entry(section).files

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Import the files, or reuse a finished import."""
        check_weights_files(section)
        entry = _entry(section)
        weights = WeightsImport(
            kind="file", files=entry.files, source=entry.source, pickle=entry.pickle, allow_partial=entry.allow_partial,
            prefix=entry.prefix, contract=entry.input.model_dump(mode="json") if entry.input else None,
        )  # fmt: skip
        return import_weights(section, weights, force)


def _entry(section: Pretrain) -> FileOrigin:
    entry = section.origins[section.origin]
    assert isinstance(entry, FileOrigin)
    return entry

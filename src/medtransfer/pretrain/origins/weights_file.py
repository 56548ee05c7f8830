"""Weights from files with the encoder's tensors: torchvision's, timm's, our own checkpoints, or a series of somebody else's."""

from pathlib import Path
from typing import ClassVar, Literal

from medtransfer.config import FileOrigin, ImportedOrigin, Pretrain, Section, SeriesOrigin
from medtransfer.pretrain.catalogue.entries import MULTILABEL
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.weights_files import check_weights_files, list_weights


class WeightsFile:
    """Encoder weights from one file, or from one file per epoch; see `Origin`."""

    kind: ClassVar[Literal["file", "series"]] = "file"
    section: type[Section] = FileOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epochs of the files."""
        return 0, *list_weights(section)

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Import the files, or reuse a finished import."""
        check_weights_files(section)
        entry = section.origins[section.origin]
        assert isinstance(entry, ImportedOrigin)
        weights = WeightsImport(
            kind=self.kind, files=list_weights(section, note=True), source=entry.source, pickle=entry.pickle,
            allow_partial=entry.allow_partial, prefix=entry.prefix, without_head=MULTILABEL.get(entry.source, ""),
            contract=entry.input.model_dump(mode="json") if entry.input else None,
        )  # fmt: skip
        return import_weights(section, weights, force)


class WeightsSeries(WeightsFile):
    """Encoder weights from a folder of files with the epoch in their names; see `Origin`."""

    kind: ClassVar[Literal["file", "series"]] = "series"
    section = SeriesOrigin

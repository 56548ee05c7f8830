"""A published initialisation of the catalogue, from a file that the user put in place."""

import logging
from pathlib import Path

from medtransfer.config import CatalogueOrigin, Pretrain
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.pretrain.catalogue.entries import entry_of, epoch_of
from medtransfer.pretrain.catalogue.published_files import find_file
from medtransfer.pretrain.catalogue.translation import translator
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper
from medtransfer.records.weights_file import check_weights_file

log = logging.getLogger("medtransfer")


class Published:
    """Encoder weights of an entry of the catalogue; see `Origin`."""

    section = CatalogueOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epoch of the weights."""
        return 0, epoch_of(_origin(section))

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Import the file, or reuse a finished import."""
        origin = _origin(section)
        entry = entry_of(origin)
        file = find_file(origin, entry)
        check_weights_file(file, origin.pickle)
        if entry.sha256 and (found := file_sha256(file)) != entry.sha256:
            raise InputError(f"expected the published file of {origin.id} (SHA-256 {entry.sha256}) in {file}, but got {found}")
        if entry.remark:
            log.warning("pretrain: %s: %s", origin.id, entry.remark)
        weights = WeightsImport(
            kind="catalogue", files={epoch_of(origin): file}, source=entry.source.replace(">", "-"), pickle=origin.pickle,
            contract=entry.contract if entry.layouts else None,
            rename=translator(origin.id, entry) if entry.layouts else None, licence=entry.licence,
            without_head=entry.without_head,
        )  # fmt: skip
        return import_weights(section, weights, force)


def _origin(section: Pretrain) -> CatalogueOrigin:
    origin = section.origins[section.origin]
    assert isinstance(origin, CatalogueOrigin)
    return origin

"""A published initialisation of the catalogue, from a file that the user put in place."""

import logging
from pathlib import Path

from medtransfer.config import CatalogueOrigin, Pretrain
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.pretrain.catalogue.entries import Initialisation, catalogue
from medtransfer.pretrain.catalogue.translation import translator
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper
from medtransfer.records.weights_file import PICKLES, check_weights_file

log = logging.getLogger("medtransfer")
ENDINGS = (".safetensors", *PICKLES)


class Published:
    """Encoder weights of an entry of the catalogue; see `Origin`."""

    section = CatalogueOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epoch of the weights."""
        return 0, _epoch(_origin(section))

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Import the file, or reuse a finished import."""
        origin = _origin(section)
        entry = _entry(origin)
        file = find_file(origin, entry)
        check_weights_file(file, origin.pickle)
        if entry.sha256 and (found := file_sha256(file)) != entry.sha256:
            raise InputError(f"expected the published file of {origin.id} (SHA-256 {entry.sha256}) in {file}, but got {found}")
        if entry.remark:
            log.warning("pretrain: %s: %s", origin.id, entry.remark)
        weights = WeightsImport(
            kind="catalogue", files={_epoch(origin): file}, source=entry.source.replace(">", "-"), pickle=origin.pickle,
            contract=entry.contract if entry.layouts else None,
            rename=translator(origin.id, entry) if entry.layouts else None, licence=entry.licence,
            without_head=entry.without_head,
        )  # fmt: skip
        return import_weights(section, weights, force)


def find_file(origin: CatalogueOrigin, entry: Initialisation) -> Path:
    """Return the one weights file `<folder>/<id>.<ending>`, or the one in `<folder>/<id>/`.

    Raises:
        InputError: there is none, or several.
    """
    folder = Path(origin.folder)
    beside = [path for ending in ENDINGS if (path := folder / f"{origin.id}{ending}").is_file()]
    within = [path for path in sorted((folder / origin.id).glob("*")) if path.name.endswith(ENDINGS)]
    found = [*beside, *within]
    if len(found) != 1:
        got = f"{len(found)} files ({', '.join(map(str, found))})" if found else "none"
        raise InputError(
            f"expected one weights file {folder / origin.id}.pth (or .safetensors, …) or in {folder / origin.id}/, but got {got}; "
            f"{origin.id} is published at {entry.published}, licence: {entry.licence}"
        )
    return found[0]


def _origin(section: Pretrain) -> CatalogueOrigin:
    origin = section.origins[section.origin]
    assert isinstance(origin, CatalogueOrigin)
    return origin


def _entry(origin: CatalogueOrigin) -> Initialisation:
    if origin.id not in catalogue():
        raise InputError(
            f"expected the id of a published initialisation, one of {', '.join(catalogue())}, but got {origin.id!r}; correct "
            "`id` of the origin"
        )
    return catalogue()[origin.id]


def _epoch(origin: CatalogueOrigin) -> int:
    return origin.epoch or _entry(origin).epochs or 1

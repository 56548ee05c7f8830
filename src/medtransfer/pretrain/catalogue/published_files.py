"""Find the file of a published initialisation, which the user put in place."""

from pathlib import Path

from medtransfer.config import CatalogueOrigin
from medtransfer.errors import InputError
from medtransfer.pretrain.catalogue.entries import Initialisation
from medtransfer.records.weights_file import PICKLES

ENDINGS = (".safetensors", *PICKLES)


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

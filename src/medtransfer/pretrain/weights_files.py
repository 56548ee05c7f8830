"""Check the weights files that an origin names, before anything else is loaded or written."""

from medtransfer.config import FileOrigin, Pretrain
from medtransfer.errors import InputError
from medtransfer.records.weights_file import check_weights_file


def check_weights_files(section: Pretrain) -> None:
    """Check the kind and header of every weights file of the section's origin; other origins name none.

    Raises:
        InputError: a file is missing, broken, of another kind, or is a pickle that was not allowed.
    """
    entry = section.origins[section.origin]
    if not isinstance(entry, FileOrigin):
        return
    for file in entry.files.values():
        if not file.exists():
            raise InputError(
                f"expected the weights file {file}, which pretrain.origins.{section.origin} names, but it does not exist; "
                "correct the path"
            )
        check_weights_file(file, entry.pickle)

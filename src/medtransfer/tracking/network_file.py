"""Refuse an SQLite store on a network file system, whose locks do not hold between hosts."""

from medtransfer.errors import InputError
from medtransfer.tracking.store import shown, sqlite_file, store_uri
from medtransfer.tracking.write_ahead import may_be_shared


def require_shared_store(launcher: str) -> None:
    """Check that jobs of several hosts can write to the tracking store.

    Raises:
        InputError: it is an SQLite file on a network file system. Source: sqlite.org/faq.html, question 5.
    """
    file = sqlite_file(store_uri())
    if file is not None and may_be_shared(file):
        raise InputError(
            f"expected a tracking server for the launcher {launcher}, but got {shown(store_uri())}, an SQLite file on a network "
            "file system, which several hosts would corrupt; start `mlflow server` on one host and set MLFLOW_TRACKING_URI to its "
            "address"
        )

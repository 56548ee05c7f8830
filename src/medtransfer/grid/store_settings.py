"""Pass the address of the tracking store on to jobs of other hosts, whose environment may lack it."""

import json
import os
import socket
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.tracking import require_shared_store, store_uri
from medtransfer.tracking.store import shown, sqlite_file

FILE = "store.json"


def store_settings() -> dict[str, str]:
    """Return MLflow's environment variables, with the address of the store; they may hold passwords."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    variables.pop("MLFLOW_RUN_ID", None)  # the run that `mlflow run` opened is the study's, not a cell's
    return {**variables, "MLFLOW_TRACKING_URI": store_uri()}


def write_store(folder: Path) -> None:
    """Write the settings of the store and the name of this host to a folder, in a file that only its owner reads."""
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"host": socket.gethostname(), "variables": store_settings()}, file)


def written_store(folder: Path) -> str | None:
    """Return the address in a folder; None if there is none."""
    try:
        return str(json.loads((folder / FILE).read_text(encoding="utf-8"))["variables"]["MLFLOW_TRACKING_URI"])
    except (OSError, ValueError, KeyError):
        return None


def use_store(folder: Path, launcher: str) -> None:
    """Set the environment variables of a folder, and check that this host writes to the same store.

    Args:
        folder: folder that `write_store` wrote to.
        launcher: name of the launcher, for messages.

    Raises:
        InputError: the file cannot be read, the environment names another store, or the store is a file that hosts cannot share.
    """
    try:
        written = json.loads((folder / FILE).read_text(encoding="utf-8"))
        host, variables = written["host"], written["variables"]
        uri = variables["MLFLOW_TRACKING_URI"]
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"expected the address of the tracking store in {folder / FILE}, but it cannot be read; submit again"
        ) from None
    if os.environ.get("MLFLOW_TRACKING_URI") and store_uri() != uri:
        raise InputError(
            f"expected the tracking store {shown(uri)} of the command that submitted this job, but MLFLOW_TRACKING_URI is "
            f"{shown(store_uri())} on {socket.gethostname()}; set the same address in both, or remove it from grid.{launcher}.setup"
        )
    os.environ.update(variables)
    require_shared_store(launcher)
    if sqlite_file(uri) is not None and socket.gethostname() != host:
        raise InputError(
            f"expected a tracking server for the launcher {launcher}, but got {shown(uri)}, an SQLite file of {host}, which "
            f"{socket.gethostname()} does not share; start `mlflow server` on one host and set MLFLOW_TRACKING_URI to its address"
        )

"""Serve the MLflow UI on the tracking store."""

import logging
import os
import socket
import sys
from pathlib import Path

from medtransfer.environment import workspace
from medtransfer.errors import InputError
from medtransfer.tracking import store
from medtransfer.tracking.tags import DATABASES

log = logging.getLogger("medtransfer")
PAGE = "#/experiments?workflowType=machine_learning"


def serve(host: str, port: int) -> None:
    """Become the MLflow UI, until it is interrupted; of a store that is a server itself, log the address and return.

    Args:
        host: address to listen on.
        port: port to listen on.

    Raises:
        InputError: the store cannot be reached, or the port is taken.
    """
    uri = store.connect().tracking_uri
    if not uri.startswith(DATABASES):
        log.info("the tracking store has its own UI: open %s", store.shown(uri))
        return
    _require_free(host, port)
    log.info("open http://%s:%d/%s; Ctrl-C ends", host, port, PAGE)
    # The address is passed by the environment, since it may hold a password, which others see in a list of processes.
    # A relative one has no special characters, of which MLflow would make another folder.
    file = store.sqlite_file(uri)
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": store.sqlite_uri(uri, Path(file.name)) if file else uri}
    os.chdir(file.parent if file else workspace())
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)], environment)


def _require_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise InputError(
            f"expected to listen on {host}:{port}, but got {error.strerror or error}; name another port by "
            "`medtransfer ui --port N` or `make ui PORT=N`"
        ) from None

"""Serve the MLflow UI on the tracking store."""

import errno
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


def serve(host: str, port: int, or_free: bool = False) -> None:
    """Become the MLflow UI, until it is interrupted; of a store that is a server itself, log the address and return.

    Args:
        host: address to listen on.
        port: port to listen on.
        or_free: whether to listen on a free port if this one is taken.

    Raises:
        InputError: the store cannot be reached, or the port is taken.
    """
    uri = store.connect().tracking_uri
    if not uri.startswith(DATABASES):
        log.info("the tracking store has its own UI: open %s", store.shown(uri))
        return
    port = _free_port(host, port, or_free)
    log.info("open http://%s:%d/%s; Ctrl-C ends", host, port, PAGE)
    # The address is passed by the environment, since it may hold a password, which others see in a list of processes.
    # A relative one has no special characters, of which MLflow would make another folder.
    file = store.sqlite_file(uri)
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": store.sqlite_uri(uri, Path(file.name)) if file else uri}
    os.chdir(file.parent if file else workspace())
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)], environment)


def _free_port(host: str, port: int, or_free: bool) -> int:
    """Return the port, or a free one if it is taken and that is allowed."""
    try:
        return _listen(host, port)
    except OSError as error:
        if or_free and error.errno == errno.EADDRINUSE:
            log.info("port %d of %s is taken, so this is a free one", port, host)
            return _listen(host, 0)
        raise InputError(
            f"expected to listen on {host}:{port}, but got {error.strerror or error}; name another port by "
            "`medtransfer ui --port N` or `make ui PORT=N`"
        ) from None


def _listen(host: str, port: int) -> int:
    with socket.create_server((host, port)) as listening:
        return int(listening.getsockname()[1])

"""Serve the MLflow UI on the tracking store."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from medtransfer.environment import workspace
from medtransfer.errors import InputError, StageError
from medtransfer.signals import Stopped, stops_later
from medtransfer.tracking import store
from medtransfer.tracking.tags import DATABASES

log = logging.getLogger("medtransfer")
PAGE = "#/experiments?workflowType=machine_learning"
OPTIONS = ("--workers", "1", "--uvicorn-opts", "--log-level warning")  # each worker takes seconds of a core to start
QUIET = {  # no processes for jobs of language models, which end with tracebacks, and no warnings about MLflow's own code
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
SECONDS_BETWEEN_CALLS = 0.2  # to a server that does not answer yet


def serve(host: str, port: int, or_free: bool = False) -> None:
    """Run the MLflow UI until it is interrupted; of a store that is a server itself, log the address and return.

    Args:
        host: address to listen on.
        port: port to listen on.
        or_free: whether to listen on a free port if this one is taken.

    Raises:
        InputError: the store cannot be reached, or the port is taken.
        StageError: the UI ended by itself.
        SystemExit: it was interrupted.
    """
    uri = store.store_uri()
    if not uri.startswith(DATABASES):
        store.connect()
        log.info("the tracking store has its own UI: open %s", store.shown(uri))
        return
    port = _free_port(host, port, or_free)
    page = f"http://{host}:{port}/{PAGE}"
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a closed terminal tells this process alone
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        log.info("starting the MLflow UI, which takes some seconds, at %s; Ctrl-C ends it", page)
        store.connect()
        _run(uri, host, port, page)
    except (KeyboardInterrupt, Stopped) as stop:
        log.info("the MLflow UI has ended")
        raise SystemExit(stop.code if isinstance(stop, Stopped) else 128 + signal.SIGINT) from None


def _run(uri: str, host: str, port: int, page: str) -> None:
    """Run MLflow's server until this process is interrupted."""
    server = None
    try:
        with stops_later():
            server = _start(uri, host, port)
        if _wait_until_it_answers(server, host, port):
            log.info("the MLflow UI answers: open %s", page)
        raise StageError(f"the MLflow UI ended by itself, with exit code {server.wait()}; what it printed says why")
    finally:
        if server is not None:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def _start(uri: str, host: str, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server in a group of its own, which Ctrl-C does not reach: each of its processes would print a traceback."""
    # The address is passed by the environment, since it may hold a password, which others see in a list of processes.
    # A relative one has no special characters, of which MLflow would make another folder.
    file = store.sqlite_file(uri)
    address = store.sqlite_uri(uri, Path(file.name)) if file else uri
    environment = {**QUIET, **os.environ, "MLFLOW_BACKEND_STORE_URI": address}
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port), *OPTIONS]
    return subprocess.Popen(command, env=environment, cwd=file.parent if file else workspace(), process_group=0)


def _wait_until_it_answers(server: "subprocess.Popen[bytes]", host: str, port: int) -> bool:
    """Return whether the server accepts connections; False if it has ended."""
    while True:
        try:
            socket.create_connection((host, port), timeout=SECONDS_BETWEEN_CALLS).close()
            return True
        except OSError:
            pass
        try:
            server.wait(SECONDS_BETWEEN_CALLS)
            return False
        except subprocess.TimeoutExpired:
            pass


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

"""Connect to the tracking store, once per process and address."""

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from medtransfer.environment import workspace
from medtransfer.errors import InputError
from medtransfer.locks import exclusive
from medtransfer.records import in_one_line
from medtransfer.tracking import retry
from medtransfer.tracking.retry import Answer, StoreLost, short_http_timeouts, store_lost, with_retries
from medtransfer.tracking.tags import DATABASES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

_SQLITE = "sqlite:///"
SECONDS_TO_CONNECT = 10
SECONDS_BUSY = 2.0  # SQLite's wait for a locked file before the request is retried
_SECRETS = re.compile(r"(?i)([?&;][^=&;]*(?:password|passwd|token|secret|key)[^=&;]*=)[^&;]*")
_AUTHORITY = re.compile(r"(?<=://)([^/?#:]*):[^/?#]*@")
# Client by address of every store that has answered this process; None after the connection was lost.
_reached: "dict[str, MlflowClient | None]" = {}
_engines: "WeakSet[Engine]" = WeakSet()  # of every database among them


def connect() -> "MlflowClient":
    """Return a client of the tracking store: MLFLOW_TRACKING_URI, else an embedded SQLite file in the working tree.

    The first call per process and address checks the store; later calls return the same client until the store is lost.

    Raises:
        InputError: the store cannot be reached.
        StoreLost: it was reached before, but no longer.
    """
    uri = store_uri()
    if client := _reached.get(uri):
        return client
    try:
        with _creating(uri), short_http_timeouts():
            client = _open(uri)
    except Exception as error:  # MLflow, database drivers and the network each raise their own
        if uri in _reached:
            raise store_lost(shown(uri), error) from None
        raise InputError(
            f"expected a tracking store at {shown(uri)}, but it does not answer ({in_one_line(error)}); start or mend it, or "
            "unset MLFLOW_TRACKING_URI"
        ) from None
    _reached[uri] = client
    return client


def connect_if_there() -> "MlflowClient | None":
    """Return a client, or None for a lost store that is still unreachable, so that work continues without it."""
    try:
        return connect()
    except StoreLost:
        return None


def ask(client: "MlflowClient", call: "Callable[[MlflowClient], Answer]", patience: float | None = None) -> Answer:
    """Send one request with retries; after a loss the next `connect` tries again.

    Raises:
        StoreLost: the connection to the store is lost.
    """
    try:
        return with_retries(lambda: call(client), shown(client.tracking_uri), patience)
    except StoreLost:
        _reached[client.tracking_uri] = None
        raise


def _open(uri: str) -> "MlflowClient":
    if not uri.startswith(DATABASES):
        return _first_answer(uri)
    _check_database(uri)
    return with_retries(lambda: _first_answer(uri), uri, min(retry.PATIENCE, SECONDS_TO_CONNECT))


def _first_answer(uri: str) -> "MlflowClient":
    """Return a client that has sent one request to the store; the very first one creates the tables."""
    from mlflow import MlflowClient
    from sqlalchemy import event

    client = MlflowClient(uri)
    engine = getattr(client._tracking_client.store, "engine", None)
    if engine is not None and engine not in _engines:
        event.listen(engine, "before_cursor_execute", _shorten_busy_timeout, retval=True)
        _engines.add(engine)
    client.search_experiments(max_results=1)
    return client


def _shorten_busy_timeout(
    connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool
) -> tuple[str, object]:  # fmt: skip
    """Lower SQLite's busy timeout from MLflow's 20 s to 2 s so that signals are handled; the call is retried."""
    pragma = "PRAGMA busy_timeout = "
    return (f"{pragma}{int(1000 * SECONDS_BUSY)}" if statement.startswith(pragma) else statement), parameters


def _check_database(uri: str) -> None:
    """Open a database once, since MLflow retries a missing one for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool, connect_args=connecting(uri)).connect():
        pass


def _drop_inherited_connections() -> None:
    """In a forked child: leave the parent's connections alone; the next `connect` opens its own.

    A client is not asked for its engine: MLflow keeps the last 100 stores only, and would open the others again.
    """
    for engine in _engines:
        engine.dispose(close=False)
    _reached.update(dict.fromkeys(_reached))


os.register_at_fork(after_in_child=_drop_inherited_connections)


def connecting(uri: str) -> dict[str, float]:
    """Return driver arguments that limit the wait for a locked file or an unreachable database server."""
    return {"timeout": SECONDS_BUSY} if uri.startswith("sqlite:") else {"connect_timeout": SECONDS_TO_CONNECT}


def store_uri() -> str:
    """Return the address of the store; a relative SQLite path is relative to the working tree."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    return f"{_SQLITE}{workspace() / uri.removeprefix(_SQLITE)}" if uri.startswith(_SQLITE) else uri


def shown(uri: str) -> str:
    """Return an address with its passwords hidden."""
    return _SECRETS.sub(r"\1***", _AUTHORITY.sub(r"\1:***@", uri))


def experiment(client: "MlflowClient", stage: str) -> str:
    """Return the id of a stage's experiment; create it if it does not exist."""
    from mlflow.exceptions import MlflowException

    name = f"medtransfer/{stage}"
    if existing := client.get_experiment_by_name(name):
        return existing.experiment_id
    location = None  # a server has its own artifact store
    if client.tracking_uri.startswith(DATABASES):
        folder = file.parent if (file := _file(client.tracking_uri)) else workspace()
        location = (folder / "mlartifacts" / stage).as_uri()
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        if existing := client.get_experiment_by_name(name):  # another process was faster
            return existing.experiment_id
        raise


def own_folder() -> Path:
    """Return the hidden folder of the working tree for locks and the list of missed results."""
    return workspace() / ".medtransfer"


def _file(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def _creating(uri: str) -> AbstractContextManager[None]:
    """Lock an SQLite file while it may be created, since only one of several concurrent creations would succeed."""
    return exclusive(database) if (database := _file(uri)) else nullcontext()


def one_writer(client: "MlflowClient") -> AbstractContextManager[None]:
    """Lock while many runs are written, so that no cell is written twice.

    The lock of an embedded store is beside its file; that of a server or another database is in the working tree and
    excludes only processes of this tree.
    """
    file = _file(client.tracking_uri)
    return exclusive(file.with_name(f"{file.name}.bulk") if file else own_folder() / "writing")

"""The address of a tracking store goes in; a client of it comes out, or one sentence that it does not answer."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.environment import workspace
from medtransfer.errors import InputError
from medtransfer.locks import lock
from medtransfer.tracking import retry
from medtransfer.tracking.retry import StoreLost, in_one_line, little_patience, lost, patiently
from medtransfer.tracking.tags import DATABASES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

_SQLITE = "sqlite:///"
SECONDS_TO_CONNECT = 10
BUSY = "PRAGMA busy_timeout = 2000"  # milliseconds
_SECRETS = re.compile(r"(?i)([?&;][^=&;]*(?:password|passwd|token|secret|key)[^=&;]*=)[^&;]*")
_AUTHORITY = re.compile(r"(?<=://)([^/?#:]*):[^/?#]*@")
_reached: set[str] = set()  # stores that have answered this process


def connect() -> "MlflowClient":
    """Give a client of the tracking store: MLFLOW_TRACKING_URI, else an embedded SQLite file in the working tree.

    Raises:
        InputError: the store does not answer.
        StoreLost: it does not answer any more.
    """
    import mlflow

    uri = store_uri()
    try:
        with _one_at_a_time(_file(uri)), little_patience():
            if uri.startswith(DATABASES) and uri not in _reached:
                _knock(uri)
            mlflow.set_tracking_uri(uri)
            brief = min(retry.PATIENCE, SECONDS_TO_CONNECT)
            client = patiently(_first_answer, uri, brief) if uri.startswith(DATABASES) else _first_answer()
    except Exception as fault:  # MLflow, database drivers and the network each raise their own
        if uri in _reached:
            raise lost(shown(uri), fault) from None
        raise InputError(
            f"expected a tracking store at {shown(uri)}, but it does not answer ({in_one_line(fault)}); start or mend it, or "
            "unset MLFLOW_TRACKING_URI"
        ) from None
    _reached.add(uri)
    return client


def _first_answer() -> "MlflowClient":
    """Give a client that has asked once: the first one of all makes the tables."""
    from mlflow import MlflowClient
    from sqlalchemy import event

    client = MlflowClient()
    engine = getattr(client._tracking_client.store, "engine", None)
    if engine is not None and not event.contains(engine, "before_cursor_execute", _wait_briefly):
        event.listen(engine, "before_cursor_execute", _wait_briefly, retval=True)
    client.search_experiments(max_results=1)
    return client


def _wait_briefly(
    connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool
) -> tuple[str, object]:  # fmt: skip
    """Let SQLite wait for a locked file briefly instead of MLflow's 20 seconds: no stop is heard meanwhile, and we ask again."""
    return (BUSY if statement.startswith(BUSY.split("=")[0]) else statement), parameters


def _knock(uri: str) -> None:
    """Open a database once: MLflow would try one that is not there for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool, connect_args=connecting(uri)).connect():
        pass


def connecting(uri: str) -> dict[str, int]:
    """Give what makes a driver give up a database server that takes a connection and says nothing."""
    return {} if uri.startswith(_SQLITE.split(":")[0]) else {"connect_timeout": SECONDS_TO_CONNECT}


def connect_if_there() -> "MlflowClient | None":
    """Give a client, None for a store that has answered this process before and does not now: work goes on without it."""
    try:
        return connect()
    except StoreLost:
        return None


def store_uri() -> str:
    """Give the store's address; a relative SQLite file lies in the working tree, wherever the process runs."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    return f"{_SQLITE}{workspace() / uri.removeprefix(_SQLITE)}" if uri.startswith(_SQLITE) else uri


def shown(uri: str) -> str:
    """Give an address without its passwords."""
    return _SECRETS.sub(r"\1***", _AUTHORITY.sub(r"\1:***@", uri))


def tables(client: "MlflowClient") -> "Engine | None":
    """Give the store's database where this process can read it, None for a server."""
    if not client.tracking_uri.startswith(DATABASES):
        return None
    from medtransfer.tracking.sql import open_tables

    return open_tables(client.tracking_uri)


def experiment(client: "MlflowClient", stage: str) -> str:
    """Give the id of a stage's experiment, which is made when it is missing."""
    from mlflow.exceptions import MlflowException

    name = f"medtransfer/{stage}"
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    location = None  # a server decides where artifacts go
    if client.tracking_uri.startswith(DATABASES):
        beside = file.parent if (file := _file(client.tracking_uri)) else workspace()
        location = (beside / "mlartifacts" / stage).as_uri()
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another process was faster
            return found.experiment_id
        raise


def own_folder() -> Path:
    """Give the hidden folder of the working tree for what waits to be sent and for locks."""
    return workspace() / ".medtransfer"


def _file(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


@contextmanager
def _one_at_a_time(database: Path | None) -> Iterator[None]:
    """Hold a lock while SQLite may be created: of several processes that create it at once, all but one would fail."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as handle:
        lock(handle.fileno(), database)
        yield


@contextmanager
def one_writer(client: "MlflowClient") -> Iterator[None]:
    """Hold the lock of those who write many runs at once, so that no cell is written twice.

    An embedded store's lock lies beside it; that of a server or another database in the working tree, so that it keeps apart
    the processes that share the tree.
    """
    file = _file(client.tracking_uri)
    with _one_at_a_time(file.with_name(f"{file.name}.bulk") if file else own_folder() / "writing"):
        yield

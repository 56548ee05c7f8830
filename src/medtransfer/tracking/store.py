"""Connect to the tracking store, once per process and address."""

import os
import re
import shlex
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from medtransfer.environment import own_folder, workspace
from medtransfer.errors import InputError
from medtransfer.locks import exclusive
from medtransfer.progress import loading
from medtransfer.records import scratch_folder
from medtransfer.tracking import retry
from medtransfer.tracking.descriptions import DESCRIPTIONS, NOTE
from medtransfer.tracking.relocation import ARTIFACTS, artifact_location, keep_artifacts_beside
from medtransfer.tracking.retry import (
    RETRIES,
    Answer,
    StoreLost,
    describe,
    login_refused,
    own_retries,
    short_http_timeouts,
    store_lost,
    with_retries,
)
from medtransfer.tracking.tags import DATABASES
from medtransfer.tracking.write_ahead import end_left_log

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment
    from sqlalchemy import Engine

_SQLITE = "sqlite:///"
SECONDS_TO_CONNECT = 10
SECONDS_BUSY = 2.0  # SQLite's wait for a locked file before the request is retried
_SECRETS = re.compile(r"(?i)([?&;][^=&;]*(?:password|passwd|token|secret|key)[^=&;]*=)[^&;]*")
_AUTHORITY = re.compile(r"(?<=://)([^/?#:]*):[^/?#]*@")
# Client by address of every store that has answered this process; None after the connection was lost.
_reached: "dict[str, MlflowClient | None]" = {}
_is_patient = False
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
        with _creating(uri):
            client = _open(uri)
    except Exception as error:  # MLflow, database drivers and the network each raise their own
        if uri in _reached:
            raise login_refused(shown(uri), error) or store_lost(shown(uri), error) from None
        reason, remedy = describe(error)
        remedy = remedy or "start or mend it, or unset MLFLOW_TRACKING_URI"
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            remedy = "mend it, or the permissions of its folder, or set MLFLOW_TRACKING_URI to a store elsewhere"
        raise InputError(f"expected a tracking store at {shown(uri)}, but {reason}; {remedy}") from None
    _reached[uri] = client
    return client


@contextmanager
def patient() -> Iterator[None]:
    """Wait some seconds within the block for a server that does not listen yet, such as one that is started again during a grid."""
    global _is_patient
    before, _is_patient = _is_patient, True
    try:
        yield
    finally:
        _is_patient = before


def connect_if_there() -> "MlflowClient | None":
    """Return a client, or None for a lost store that is still unreachable, so that work continues without it."""
    try:
        return connect()
    except StoreLost:
        return None


def ask(client: "MlflowClient", call: "Callable[[MlflowClient], Answer]", patience: float | None = None) -> Answer:
    """Send a request with retries; after a loss the next `connect` tries again.

    A call of many requests sends each by `each`, since a single one that fails after the patience would not be sent again.

    Raises:
        StoreLost: the connection to the store is lost, or it refuses the login.
    """
    try:
        with own_retries():
            return with_retries(lambda: call(client), shown(client.tracking_uri), patience)
    except Exception as error:
        lost = error if isinstance(error, StoreLost) else login_refused(shown(client.tracking_uri), error)
        if lost is None:
            raise
        _reached[client.tracking_uri] = None
        raise lost from error.__cause__


def each(client: "MlflowClient", request: "Callable[[], Answer]") -> Answer:
    """Send one of many requests within a call of `ask`, with retries of its own."""
    return with_retries(request, shown(client.tracking_uri))


def _open(uri: str) -> "MlflowClient":
    if not uri.startswith(DATABASES):
        _check_server(uri)
        with short_http_timeouts():
            return _first_answer(uri)
    _check_database(uri)
    if (made := sqlite_file(uri)) and not made.stat().st_size:
        _make_file(uri, made)

    def answer() -> "MlflowClient":
        client = _first_answer(uri)
        if (file := sqlite_file(uri)) and (database := engine(client)) is not None:
            end_left_log(database)
            keep_artifacts_beside(file, database)
            _remove_ghosts(file, {uri, os.environ.get("MLFLOW_TRACKING_URI", "")})
        return client

    return with_retries(answer, uri, min(retry.PATIENCE, SECONDS_TO_CONNECT))


def _make_file(uri: str, file: Path) -> None:
    """Make the tables of an SQLite store in another file, which takes its place: a process that is killed leaves none half made."""
    with scratch_folder(file) as scratch:
        (scratch / file.name).touch()  # SQLite would let no other user write it, whatever the umask says
        database = engine(_first_answer(sqlite_uri(uri, scratch / file.name)))
        assert database is not None
        database.dispose()
        (scratch / file.name).replace(file)


def _first_answer(uri: str) -> "MlflowClient":
    """Return a client that has sent one request to the store; the very first one creates the tables."""
    with loading("tracking store"):
        from mlflow import MlflowClient
        from sqlalchemy import event

    client = MlflowClient(uri)
    database = engine(client)
    if database is not None and database not in _engines:
        event.listen(database, "before_cursor_execute", _shorten_busy_timeout, retval=True)
        _engines.add(database)
    client.search_experiments(max_results=1)
    return client


def engine(client: "MlflowClient") -> "Engine | None":
    """Return the database that a client writes to directly; None for a server."""
    return getattr(client._tracking_client.store, "engine", None)


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


def _check_server(uri: str) -> None:
    """Connect to a server once, before MLflow is loaded, which retries a refused connection for seconds.

    Any other answer, a server behind a proxy, and one that is to be waited for (`patient`, or by MLflow's own setting) is left
    to MLflow.

    Raises:
        OSError: the host is unknown, or nothing listens there.
    """
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    address, ports = urlsplit(uri), {"http": 80, "https": 443}
    if _is_patient or RETRIES in os.environ or not address.hostname or address.scheme not in ports:
        return
    if {address.scheme, "all"} & getproxies().keys() and not proxy_bypass(address.hostname):
        return
    try:
        socket.create_connection((address.hostname, address.port or ports[address.scheme]), timeout=SECONDS_TO_CONNECT).close()
    except TimeoutError:
        return


def _drop_inherited_connections() -> None:
    """In a forked child: leave the parent's connections alone; the next `connect` opens its own.

    A client is not asked for its engine: MLflow keeps the last 100 stores only, and would open the others again.
    """
    for database in _engines:
        database.dispose(close=False)
    _reached.update(dict.fromkeys(_reached))


os.register_at_fork(after_in_child=_drop_inherited_connections)


def connecting(uri: str) -> dict[str, float]:
    """Return driver arguments that limit the wait for a locked file or an unreachable database server."""
    return {"timeout": SECONDS_BUSY} if uri.startswith("sqlite:") else {"connect_timeout": SECONDS_TO_CONNECT}


def store_uri() -> str:
    """Return the address of the store; a relative SQLite path is relative to the working tree."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    file = sqlite_file(uri)
    return sqlite_uri(uri, workspace() / file) if file else uri


def is_relative(uri: str) -> bool:
    """Return whether an address depends on the folder that it is read in."""
    file = sqlite_file(uri) or (None if ":" in uri or not uri else Path(uri))
    return file is not None and not file.is_absolute()


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite address, decoded as SQLAlchemy does when it opens it; None for other stores."""
    if not uri.startswith(_SQLITE):
        return None
    from sqlalchemy import make_url

    return Path(make_url(uri).database or "")


def is_unmade() -> bool:
    """Return whether the store is an SQLite file that nothing has been written to yet."""
    file = sqlite_file(store_uri())
    return file is not None and not (file.exists() and file.stat().st_size)


def make_store() -> None:
    """Make the store where there is none yet.

    Raises:
        InputError: it cannot be made.
    """
    if is_unmade():
        connect()


def sqlite_uri(uri: str, file: Path) -> str:
    """Return an SQLite address with another file."""
    _, mark, options = uri.partition("?")
    return f"{_SQLITE}{str(file).replace('%', '%25').replace('?', '%3F')}{mark}{options}"


def _remove_ghosts(file: Path, addresses: Iterable[str]) -> None:
    """Remove the empty folder that MLflow makes for an SQLite address, whose special characters it does not decode there."""
    for address in addresses:
        ghost = Path(address.removeprefix(_SQLITE).partition("?")[0]).parent
        with suppress(OSError):  # it is not there, or not empty
            while ghost.is_absolute() and ghost not in file.parents:
                ghost.rmdir()
                ghost = ghost.parent


def shown(uri: str) -> str:
    """Return an address with its passwords hidden."""
    return _SECRETS.sub(r"\1***", _AUTHORITY.sub(r"\1:***@", uri))


def shown_store() -> str:
    """Return the address of the store with its passwords hidden."""
    return shown(store_uri())


def experiment(client: "MlflowClient", stage: str) -> str:
    """Return the id of a stage's experiment; create it, with a description for the UI, if it does not exist.

    Raises:
        InputError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    name = f"medtransfer/{stage}"
    if existing := client.get_experiment_by_name(name):
        return _described(client, existing, stage)
    location = None  # a server has its own artifact store
    if client.tracking_uri.startswith(DATABASES):
        folder = file.parent if (file := sqlite_file(client.tracking_uri)) else workspace()
        location = artifact_location(folder / ARTIFACTS / stage)
    try:
        return client.create_experiment(name, location, {NOTE: DESCRIPTIONS[stage]} if stage in DESCRIPTIONS else None)
    except MlflowException:
        if existing := client.get_experiment_by_name(name):  # another process was faster
            return _described(client, existing, stage)
        raise


def _described(client: "MlflowClient", existing: "Experiment", stage: str) -> str:
    """Return the id of an existing experiment; add the description if it has none."""
    if existing.lifecycle_stage == "deleted":
        raise _deleted(existing.experiment_id, existing.name)
    if NOTE not in existing.tags and stage in DESCRIPTIONS:
        client.set_experiment_tag(existing.experiment_id, NOTE, DESCRIPTIONS[stage])
    return existing.experiment_id


def require_experiments(stages: Iterable[str]) -> None:
    """Check that no experiment of these stages was deleted, which MLflow would say only when a run is opened.

    It is the first look of a command at the store, so the log that a killed process left is ended here, too, and a file that this
    user may not write is refused before any work. No store is made where there is none yet.

    Args:
        stages: those whose runs are to be written; none if the store is only read.

    Raises:
        InputError: one was, or the store may not be written.
    """
    from medtransfer.tracking.sql import peek, read_deleted_experiments

    names = {f"medtransfer/{stage}" for stage in stages}
    if names and not is_unmade():
        _require_writable(sqlite_file(store_uri()))

    def read(database: "Engine") -> list[tuple[str, str]]:
        if database.dialect.name == "sqlite":
            end_left_log(database)
        return read_deleted_experiments(database)

    deleted = [] if is_unmade() else peek(store_uri(), read)
    for experiment, name in _deleted_experiments() if deleted is None else deleted:
        if name in names:
            raise _deleted(experiment, name)


def _require_writable(file: Path | None) -> None:
    """Raise InputError for the file of a store that this user may not write; SQLite writes beside it, too."""
    file = file.resolve() if file else None  # SQLite writes beside the file that a link names
    for path in (file, file.parent) if file else ():
        if not os.access(path, os.W_OK):
            raise InputError(
                f"expected a tracking store that this user may write, but {path} is not; let its owner allow it, as `chmod g+w` "
                "does for a group, or set MLFLOW_TRACKING_URI to another store, such as a copy of this one"
            )


def _deleted_experiments() -> list[tuple[str, str]]:
    """Return id and name of our experiments that were deleted, as MLflow knows them."""
    client = connect()
    from mlflow.entities import ViewType

    query = "name LIKE 'medtransfer/%'"
    found = ask(client, lambda client: client.search_experiments(ViewType.DELETED_ONLY, filter_string=query))
    return [(experiment.experiment_id, experiment.name) for experiment in found]


def _deleted(experiment: str, name: str) -> InputError:
    address = shlex.quote(shown_store())
    return InputError(
        f"expected the experiment {name} in the tracking store, but it was deleted; bring it and its runs back with "
        f"`MLFLOW_TRACKING_URI={address} mlflow experiments restore --experiment-id {experiment}`, or remove them for "
        "good with `mlflow gc`"
    )


def _creating(uri: str) -> AbstractContextManager[None]:
    """Lock an SQLite file while it may be created, since only one of several concurrent creations would succeed."""
    return exclusive(database) if (database := sqlite_file(uri)) else nullcontext()


def one_writer(client: "MlflowClient") -> AbstractContextManager[None]:
    """Lock while many runs are written, so that no cell is written twice.

    The lock of an embedded store is beside its file; that of a server or another database is in the working tree and
    excludes only processes of this tree.
    """
    file = sqlite_file(client.tracking_uri)
    return exclusive(file.with_name(f"{file.name}.bulk") if file else own_folder() / "writing")

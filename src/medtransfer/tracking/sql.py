"""Read many runs with a few SQL queries; MLflow's client reads page by page.

Reading 20,000 runs takes nearly a minute through the client, but seconds from the tables.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Connection, Engine, String, bindparam, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from medtransfer.hashing import digest
from medtransfer.tracking.retry import uninterrupted
from medtransfer.tracking.store import connecting
from medtransfer.tracking.tags import DATABASES, STAGE

log = logging.getLogger("medtransfer")
# Columns that the queries use; a store that lacks one of them is read through the client.
COLUMNS = {
    "runs": {"run_uuid", "status", "start_time", "lifecycle_stage", "experiment_id", "artifact_uri"},
    "experiments": {"experiment_id", "name", "lifecycle_stage"},
    "tags": {"run_uuid", "key", "value"},
    "params": {"run_uuid", "key", "value"},
    "latest_metrics": {"run_uuid", "key", "value", "is_nan"},
    "metrics": {"run_uuid", "key", "value", "is_nan", "step", "timestamp"},
}
CHUNK = 450  # ids and names per query, together below every database's limit of bound parameters
T = TypeVar("T")
_artifact_uris: "WeakKeyDictionary[Engine, dict[str, str]]" = WeakKeyDictionary()


class NoTables(Exception):
    """The database is empty: MLflow has not made its tables yet."""


def peek(uri: str, read: Callable[[Engine], T]) -> T | None:
    """Read a store without MLflow, which takes seconds to import.

    Args:
        uri: address of the store.
        read: sends one query.

    Returns:
        What `read` returns; None if the store is no database, has no tables or others, or does not answer: MLflow is to be asked
        then, which also says what is wrong.
    """
    if not uri.startswith(DATABASES):
        return None
    try:
        with uninterrupted(uri):
            engine = open_tables(uri)
            return read(engine) if engine else None
    except (SQLAlchemyError, ImportError, NoTables) as error:
        log.debug("the tables of the tracking store could not be read: %s", error)
        return None


@lru_cache(maxsize=4)
def open_tables(uri: str) -> Engine | None:
    """Open a store's database; None if it lacks a table or column that the queries need.

    Raises:
        NoTables: it has no tables at all.
    """
    engine = create_engine(uri, poolclass=NullPool, connect_args=connecting(uri))  # no connection outlives a replaced file
    inspector = inspect(engine)
    existing = set(inspector.get_table_names())
    if not existing:
        raise NoTables
    known = all(
        table in existing and columns <= {column["name"] for column in inspector.get_columns(table)}
        for table, columns in COLUMNS.items()
    )
    if not known:
        log.warning("the tracking store %s has other tables than expected: it is read through MLflow, slowly", engine.url)
    return engine if known else None


def read_run_rows(engine: Engine, tags: dict[str, str], status: str, only: Collection[str] | None) -> list[dict[str, Any]]:
    """Return id, params, metrics, tags and start of the active runs with these tags and this status, newest first.

    Args:
        engine: engine of the database.
        tags: tags that the runs must have.
        status: status of the runs.
        only: names of the params, metrics and further tags to read, None for all.
    """
    selection, values = _selection(tags, status)
    with engine.connect() as connection:
        query = f"SELECT r.run_uuid, r.start_time FROM runs r {selection} ORDER BY r.start_time DESC, r.run_uuid"
        runs = connection.execute(text(query), values).all()
        if not runs:  # each further query looks at every run of the store
            return []
        unknown = None if only is None else set(only) - tags.keys()
        params, own, metrics = (_by_run(connection, columns, selection, values, unknown) for columns in _PAIRS)
    return [
        {
            "id": run, "started": started, "params": params.get(run, {}), "metrics": metrics.get(run, {}),
            "tags": {**tags, **own.get(run, {})},
        }
        for run, started in runs
    ]  # fmt: skip


def has_run(engine: Engine, tags: dict[str, str], status: str = "FINISHED") -> bool:
    """Return whether there is an active run with these tags and this status."""
    selection, values = _selection(tags, status)
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT 1 FROM runs r {selection} LIMIT 1"), values).first() is not None


def _selection(tags: dict[str, str], status: str) -> tuple[str, dict[str, str]]:
    joins = " ".join(
        f"JOIN tags t{n} ON t{n}.run_uuid = r.run_uuid AND t{n}.key = :key{n} AND t{n}.value = :value{n}" for n in range(len(tags))
    )
    values = {f"{kind}{n}": text for n, pair in enumerate(tags.items()) for kind, text in zip(("key", "value"), pair, strict=True)}
    where = "WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' AND r.status = :status"
    return f"JOIN experiments e ON e.experiment_id = r.experiment_id {joins} {where}", {**values, "status": status}


_PAIRS = ("params p: p.value, 0", "tags p: p.value, 0", "latest_metrics p: p.value, p.is_nan")  # table: value, is NaN


def _by_run(
    connection: Connection, columns: str, selection: str, values: dict[str, str], only: Collection[str] | None
) -> dict[str, dict[str, Any]]:  # fmt: skip
    table, _, chosen = columns.partition(": ")
    query = text(f"SELECT p.run_uuid, p.key, {chosen} FROM {table} JOIN runs r ON r.run_uuid = p.run_uuid {selection}")
    given: dict[str, Any] = {}
    if only is not None:
        given = {"only": _existing(connection, table, only)}
        if not given["only"]:
            return {}
        query = text(f"{query} AND p.key IN :only").bindparams(_names("only"))
    values_by_run: dict[str, dict[str, Any]] = defaultdict(dict)
    found = connection.execute(query, {**values, **given})
    for run, key, value, is_nan in found.cursor.fetchall():  # half the time of SQLAlchemy's rows
        values_by_run[run][key] = math.nan if is_nan else value
    return values_by_run


def read_states(engine: Engine) -> dict[str, str]:
    """Return by stage a digest that changes whenever MLflow adds, deletes or changes a finished run of it.

    Of params and metrics, to which MLflow only adds, it is made of the number. Tags that no number depends on, most of all, are
    left out: versions of libraries, the data's revision and the name of the command.
    """
    active = "r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' AND r.status = 'FINISHED'"
    runs = (
        "SELECT r.run_uuid, t.value, r.start_time FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
        f"JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = :stage WHERE {active}"
    )
    described = "key LIKE :versions OR key IN ('dvc_revision', 'mlflow.source.name')"
    parts: tuple[tuple[str, dict[str, str]], ...] = (
        ("SELECT run_uuid, COUNT(*) FROM params GROUP BY run_uuid", {}),
        ("SELECT run_uuid, COUNT(*) FROM metrics GROUP BY run_uuid", {}),
        (f"SELECT run_uuid, key, value FROM tags WHERE NOT ({described})", {"versions": "version.%"}),
    )
    with engine.connect() as connection:

        def fetch(query: str, values: dict[str, str]) -> list[tuple[Any, ...]]:
            return list(connection.execute(text(query), values).cursor.fetchall())  # half the time of SQLAlchemy's rows

        found = {run: (stage, [started]) for run, stage, started in fetch(runs, {"stage": STAGE})}
        for query, values in parts:
            rows: dict[str, list[Any]] = {run: [] for run in found}
            for run, *row in fetch(query, values):
                if run in rows:
                    rows[run].append(row)
            for run, own in rows.items():
                found[run][1].append(sorted(own))
    by_stage: dict[str, list[Any]] = defaultdict(list)
    for run in sorted(found):
        stage, state = found[run]
        by_stage[stage].append([run, *state])
    return {stage: digest(rows) for stage, rows in by_stage.items()}


def _names(parameter: str) -> BindParameter[str]:
    """Return a parameter that is a list of texts; PostgreSQL compares no text with an empty list of unknown type."""
    return bindparam(parameter, expanding=True, type_=String)


def _existing(connection: Connection, table: str, names: Collection[str]) -> list[str]:
    """Return the names that any run has in a table; each further one would cost a search per run."""
    query = text(f"SELECT DISTINCT p.key FROM {table} WHERE p.key IN :names").bindparams(_names("names"))
    return list(connection.execute(query, {"names": sorted(names)}).scalars())


def read_deleted_experiments(engine: Engine) -> list[tuple[str, str]]:
    """Return id and name of the deleted experiments."""
    query = "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'deleted'"
    with engine.connect() as connection:
        return [(str(experiment), str(name)) for experiment, name in connection.execute(text(query))]


def read_artifact_uris(engine: Engine, runs: Collection[str]) -> dict[str, str]:
    """Return where the artifacts of runs are, without runs that do not exist.

    They are remembered, since they never change while a process has the store open.
    """
    known = _artifact_uris.setdefault(engine, {})
    query = text("SELECT run_uuid, artifact_uri FROM runs WHERE run_uuid IN :runs").bindparams(_names("runs"))
    if unknown := sorted(set(runs) - known.keys()):
        with engine.connect() as connection:
            for ids in _chunks(unknown):
                known |= {run: uri for run, uri in connection.execute(query, {"runs": ids}) if uri}
    return {run: known[run] for run in runs if run in known}


def read_metric_points(engine: Engine, runs: Sequence[str], metrics: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
    """Return the values of metrics by run and step: the latest at each step, and the largest of equally late ones."""
    query = text(
        "SELECT m.key, m.run_uuid, m.step, m.value, m.is_nan FROM metrics m WHERE m.key IN :keys AND m.run_uuid IN :runs "
        "ORDER BY m.timestamp, m.value, m.is_nan"
    ).bindparams(_names("keys"), _names("runs"))
    curves: dict[str, dict[str, dict[int, float]]] = {metric: {run: {} for run in runs} for metric in metrics}
    with engine.connect() as connection:
        for keys, ids in product(_chunks(metrics), _chunks(runs)):
            for metric, run, step, value, is_nan in connection.execute(query, {"keys": keys, "runs": ids}):
                curves[metric][run][step] = math.nan if is_nan else value
    return {metric: {run: dict(sorted(points.items())) for run, points in by_run.items()} for metric, by_run in curves.items()}


def _chunks(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[begin : begin + CHUNK] for begin in range(0, len(names), CHUNK)]

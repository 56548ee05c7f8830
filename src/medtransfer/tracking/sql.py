"""The address of a tracking store in a database goes in; many runs come out of a few queries, where MLflow takes a page each.

Reading 20,000 runs through MLflow's client takes most of a minute; its tables give them in seconds. Nothing is written here.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, create_engine, inspect, text
from sqlalchemy.pool import NullPool

log = logging.getLogger("medtransfer")
# The columns that the queries name; a store that lacks one of them is read through the client.
COLUMNS = {
    "runs": {"run_uuid", "status", "start_time", "lifecycle_stage", "experiment_id"},
    "experiments": {"experiment_id", "lifecycle_stage"},
    "tags": {"run_uuid", "key", "value"},
    "params": {"run_uuid", "key", "value"},
    "latest_metrics": {"run_uuid", "key", "value", "is_nan"},
    "metrics": {"run_uuid", "key", "value", "is_nan", "step", "timestamp"},
}
CHUNK = 500  # ids a query: below the limit of bound parameters of every database


@lru_cache(maxsize=4)
def open_tables(uri: str) -> Engine | None:
    """Open a store's database, None when it has not the tables of the MLflow that this was written for."""
    engine = create_engine(uri, poolclass=NullPool)  # a file that was replaced is not read on through an old connection
    found = inspect(engine)
    there = set(found.get_table_names())
    known = all(
        table in there and columns <= {column["name"] for column in found.get_columns(table)} for table, columns in COLUMNS.items()
    )
    if not known:
        log.warning("the tracking store %s has other tables than expected: it is read through MLflow, slowly", engine.url)
    return engine if known else None


def read_run_rows(engine: Engine, tags: dict[str, str], status: str, only: Collection[str] | None) -> list[dict[str, Any]]:
    """Give id, params, metrics, tags and start of the active runs that have the tags and the status, the newest first.

    Args:
        engine: of the database.
        tags: that the runs have.
        status: of the runs.
        only: names of the params, metrics and tags to give, every one when None.
    """
    wanted, values = _selection(tags, status)
    with engine.connect() as connection:
        query = f"SELECT r.run_uuid, r.start_time FROM runs r {wanted} ORDER BY r.start_time DESC, r.run_uuid"
        runs = connection.execute(text(query), values).all()
        found = {name: _by_run(connection, columns, wanted, values, only) for name, columns in _PAIRS.items()}
    return [{"id": run, "started": started, **{name: table.get(run, {}) for name, table in found.items()}} for run, started in runs]


def _selection(tags: dict[str, str], status: str) -> tuple[str, dict[str, str]]:
    joins = " ".join(
        f"JOIN tags t{n} ON t{n}.run_uuid = r.run_uuid AND t{n}.key = :key{n} AND t{n}.value = :value{n}" for n in range(len(tags))
    )
    values = {f"{kind}{n}": one for n, pair in enumerate(tags.items()) for kind, one in zip(("key", "value"), pair, strict=True)}
    where = "WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' AND r.status = :status"
    return f"JOIN experiments e ON e.experiment_id = r.experiment_id {joins} {where}", {**values, "status": status}


_PAIRS = {"params": "params p: p.value, 0", "tags": "tags p: p.value, 0", "metrics": "latest_metrics p: p.value, p.is_nan"}


def _by_run(
    connection: Connection, columns: str, wanted: str, values: dict[str, str], only: Collection[str] | None
) -> dict[str, dict[str, Any]]:  # fmt: skip
    table, _, chosen = columns.partition(": ")
    query = text(f"SELECT p.run_uuid, p.key, {chosen} FROM {table} JOIN runs r ON r.run_uuid = p.run_uuid {wanted}")
    if only is not None:
        query = text(f"{query} AND p.key IN :only").bindparams(bindparam("only", sorted(only), expanding=True))
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for run, key, value, is_nan in connection.execute(query, values):
        found[run][key] = math.nan if is_nan else value
    return found


def read_metric_points(engine: Engine, runs: Sequence[str], metric: str) -> dict[str, dict[int, float]]:
    """Give a metric's values by run and step; of several of a step the latest counts, of equally late ones the largest."""
    query = text(
        "SELECT m.run_uuid, m.step, m.value, m.is_nan FROM metrics m WHERE m.key = :key AND m.run_uuid IN :runs "
        "ORDER BY m.timestamp, m.value, m.is_nan"
    ).bindparams(bindparam("runs", expanding=True))
    found: dict[str, dict[int, float]] = {run: {} for run in runs}
    with engine.connect() as connection:
        for begin in range(0, len(runs), CHUNK):
            for run, step, value, is_nan in connection.execute(query, {"key": metric, "runs": runs[begin : begin + CHUNK]}):
                found[run][step] = math.nan if is_nan else value
    return {run: dict(sorted(points.items())) for run, points in found.items()}

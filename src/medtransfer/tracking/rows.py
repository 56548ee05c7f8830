"""Write finished runs as rows of the store's tables, many per transaction; MLflow's client takes four for each run."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from medtransfer.tracking import store
from medtransfer.tracking.run_record import RunRecord
from medtransfer.tracking.tags import CELL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

REVISION = "dc11669786a5"  # of MLflow's tables that these rows fit; into others its client writes
AT_ONCE = 100  # runs per transaction
LARGEST = 1.7976931348623157e308  # what MLflow writes for infinity, which SQL does not have
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Plain:
    """A record that is only params, metrics and tags, with names and values that MLflow accepts.

    Attributes:
        record: the record.
        params: texts of its params, cut to the length that MLflow keeps.
    """

    record: RunRecord
    params: Mapping[str, str]

    @classmethod
    def of(cls, record: RunRecord) -> "Plain | None":
        """Check a record; None if MLflow's client is to write it, which also says what is wrong with a refused one."""
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        if record.artifacts or record.datasets:
            return None
        try:
            from mlflow.utils.validation import _validate_batch_log_data
        except ImportError:  # it is no public function
            return None
        values = [Metric(name, value, 0, step) for name, curve in _curves(record).items() for step, value in curve.items()]
        params = [Param(name, str(value)) for name, value in record.params.items()]
        try:
            _, params, _ = _validate_batch_log_data(values, params, [])
        except MlflowException:
            return None
        return cls(record, {param.key: param.value for param in params})


def fits(engine: "Engine") -> bool:
    """Return whether the tables of a database are those that the rows are written for."""
    from sqlalchemy import text

    with engine.connect() as connection:
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [REVISION]


def write_plain(
    client: "MlflowClient", engine: "Engine", experiment: str, common: Mapping[str, str], plain: Sequence[Plain]
) -> Iterator[RunRecord]:
    """Write records, and yield each when it is in the store; a transaction is written completely or not at all.

    Each run starts a millisecond or more after the one before, so that their order is that of the records.

    Args:
        client: client of the store.
        engine: the database that it writes to.
        experiment: id of the experiment.
        common: tags of every run.
        plain: the records.

    Raises:
        StoreLost: the connection to the store is lost.
    """
    location = store.ask(client, lambda client: client.get_experiment(experiment).artifact_location)
    start = 0
    for begin in range(0, len(plain), AT_ONCE):
        some = plain[begin : begin + AT_ONCE]
        start = max(start, int(time.time() * 1000))
        rows: dict[str, Rows] = {name: [] for name in ("runs", "tags", "params", "metrics", "latest_metrics")}
        for now, each in enumerate(some, start):
            for table, added in _rows(experiment, location, common, each, now).items():
                rows[table] += added
        start += len(some)
        store.ask(client, lambda client, rows=rows: _insert(engine, rows))  # type: ignore[misc]
        yield from (each.record for each in some)


def _insert(engine: "Engine", rows: Mapping[str, Rows]) -> None:
    """Insert rows in one transaction, unless an earlier try, whose answer was lost, already has."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
    from sqlalchemy import select

    with engine.begin() as connection:
        if connection.execute(select(SqlRun.run_uuid).where(SqlRun.run_uuid == rows["runs"][0]["run_uuid"])).first():
            return
        for table in (model.__table__ for model in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)):
            if rows[table.name]:
                connection.execute(table.insert(), rows[table.name])


def _rows(experiment: str, location: str, common: Mapping[str, str], plain: Plain, now: int) -> dict[str, Rows]:
    """Return the rows of a run by table, as MLflow's client would write them."""
    from mlflow.utils.uri import append_to_uri_path

    record, run = plain.record, uuid4().hex
    tags = {**common, CELL: record.cell, "mlflow.runName": record.name, **record.tags}
    about = {
        "run_uuid": run, "name": record.name, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "",
        "user_id": tags.get("mlflow.user", "unknown"), "status": "FINISHED", "start_time": now, "end_time": now,
        "source_version": "", "lifecycle_stage": "active", "experiment_id": int(experiment),
        "artifact_uri": append_to_uri_path(location, run, "artifacts"),
    }  # fmt: skip
    curves = {
        name: [_point(run, name, value, step, now) for step, value in curve.items()] for name, curve in _curves(record).items()
    }
    return {
        "runs": [about],
        "tags": [{"run_uuid": run, "key": key, "value": value} for key, value in tags.items()],
        "params": [{"run_uuid": run, "key": key, "value": value} for key, value in plain.params.items()],
        "metrics": [point for points in curves.values() for point in points],
        "latest_metrics": [max(points, key=lambda point: point["step"]) for points in curves.values() if points],
    }


def _curves(record: RunRecord) -> dict[str, Mapping[int, float]]:
    return {**{name: {0: value} for name, value in record.metrics.items()}, **record.curves}


def _point(run: str, metric: str, value: float, step: int, now: int) -> dict[str, Any]:
    """Return the row of a value; NaN is a marked zero."""
    is_nan = math.isnan(value)
    stored = 0.0 if is_nan else max(-LARGEST, min(LARGEST, float(value)))
    return {"run_uuid": run, "key": metric, "value": stored, "is_nan": is_nan, "timestamp": now, "step": int(step)}

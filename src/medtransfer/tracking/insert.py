"""Insert many small finished runs into MLflow's tables at once: its client needs six transactions and 20 ms for each.

Only runs without files and datasets, whose names and values MLflow would store as they are, are written here; others go through
the client, which checks, shortens or refuses them.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine, insert, select

from medtransfer.tracking.run_record import RunRecord

CHUNK = 200  # runs per transaction
_NAME = re.compile(r"\w[\w .-]*")  # without slashes, which MLflow reads as paths
_LONGEST_NAME, _LONGEST_VALUE = 250, 500


def is_plain(record: RunRecord) -> bool:
    """Whether MLflow would store a record's names and values as they are, and it has no files or datasets."""
    values = [*record.metrics.values(), *(value for curve in record.curves.values() for value in curve.values())]
    texts = {**record.params, **record.tags}
    names = [*record.metrics, *record.curves, *texts]
    return (
        not record.artifacts
        and not record.datasets
        and len(record.name) <= _LONGEST_NAME
        and all(len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) for name in names)
        and all(len(str(text)) <= _LONGEST_VALUE for text in texts.values())
        and all(math.isfinite(value) for value in values)
    )


def insert_runs(
    engine: Engine, experiment: str, artifacts: str, runs: Sequence[tuple[str, RunRecord, Mapping[str, str]]]
) -> None:  # fmt: skip
    """Insert finished runs in one transaction; a retry after a commit whose answer was lost inserts nothing.

    Args:
        engine: of the store's database.
        experiment: id of the runs' experiment.
        artifacts: address of the experiment's artifacts.
        runs: id, plain record and tags of each.
    """
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag

    now = int(time.time() * 1000)
    rows: dict[type, list[dict[str, object]]] = {SqlRun: [], SqlTag: [], SqlParam: [], SqlMetric: [], SqlLatestMetric: []}
    for run, record, tags in runs:
        rows[SqlRun].append({
            "run_uuid": run, "name": record.name, "experiment_id": int(experiment), "artifact_uri": f"{artifacts}/{run}/artifacts",
            "user_id": tags.get("mlflow.user", "unknown"), "status": "FINISHED", "lifecycle_stage": "active", "start_time": now,
            "end_time": now, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "", "source_version": "",
        })  # fmt: skip
        rows[SqlTag] += [{"run_uuid": run, "key": key, "value": value} for key, value in tags.items()]
        rows[SqlParam] += [{"run_uuid": run, "key": key, "value": str(value)} for key, value in record.params.items()]
        finals = {name: {0: value} for name, value in record.metrics.items()}
        for key, curve in {**finals, **record.curves}.items():
            base = {"run_uuid": run, "key": key, "timestamp": now, "is_nan": False}
            points = [{**base, "step": int(step), "value": float(curve[step])} for step in sorted(curve)]
            rows[SqlMetric] += points
            rows[SqlLatestMetric] += points[-1:]
    with engine.begin() as connection:
        if connection.execute(select(SqlRun.run_uuid).where(SqlRun.run_uuid == runs[0][0])).first():
            return
        for table, some in rows.items():
            if some:
                connection.execute(insert(table), some)

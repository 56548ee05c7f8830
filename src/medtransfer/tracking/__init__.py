"""Runs with params, metrics and artifacts go in; finished runs come back out: the only room that knows MLflow."""

from medtransfer.tracking.bulk import tag_runs, write_runs
from medtransfer.tracking.mlflow_run import note_reuse, project_run_set_aside
from medtransfer.tracking.outbox import begin
from medtransfer.tracking.query import (
    StoredRun,
    artifact_folder,
    fetch_artifacts,
    find_finished,
    read_curve,
    read_curves,
    read_runs,
)
from medtransfer.tracking.retry import StoreLost
from medtransfer.tracking.run_record import Record
from medtransfer.tracking.runs import Run, open_run
from medtransfer.tracking.store import connect, connecting, shown, store_uri
from medtransfer.tracking.tags import CELL, PARENT, STAGE

__all__ = [
    "CELL", "PARENT", "STAGE", "Record", "Run", "StoreLost", "StoredRun", "artifact_folder", "begin", "connect", "connecting",
    "fetch_artifacts", "find_finished", "note_reuse", "open_run", "project_run_set_aside", "read_curve", "read_curves",
    "read_runs", "shown", "store_uri", "tag_runs", "write_runs",
]  # fmt: skip

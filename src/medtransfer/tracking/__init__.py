"""Open, write and read runs of the tracking store; the only package that imports MLflow."""

from medtransfer.tracking.bulk import tag_runs, write_runs
from medtransfer.tracking.missed import Missed, missed_runs
from medtransfer.tracking.mlflow_run import note_reuse, project_run_set_aside, require_project_run
from medtransfer.tracking.project_environment import link_environment
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
from medtransfer.tracking.run_record import RunRecord
from medtransfer.tracking.runs import Run, once, open_run, reused
from medtransfer.tracking.store import connect, require_experiments, store_uri
from medtransfer.tracking.tags import CELL, PARENT, STAGE

__all__ = [
    "CELL", "PARENT", "STAGE", "Missed", "Run", "RunRecord", "StoreLost", "StoredRun", "artifact_folder", "connect",
    "fetch_artifacts", "find_finished", "link_environment", "missed_runs", "note_reuse", "once", "open_run",
    "project_run_set_aside", "read_curve", "read_curves", "read_runs", "require_experiments", "require_project_run",
    "reused", "store_uri", "tag_runs", "write_runs",
]  # fmt: skip

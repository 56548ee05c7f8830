"""Open, write and read runs of the tracking store; the only package that imports MLflow."""

from medtransfer.tracking.artifacts import replace_artifacts
from medtransfer.tracking.bulk import stored_cells, tag_runs, warn_of_unreadable, write_runs
from medtransfer.tracking.made import Made, make_of_store, read_states
from medtransfer.tracking.missed import Missed, missed_runs
from medtransfer.tracking.mlflow_run import note_reuse, project_run_set_aside, require_project_run
from medtransfer.tracking.models import ALIAS, load_saved_model, refusal, register_model, save_model
from medtransfer.tracking.models import FOLDER as MODEL_FOLDER
from medtransfer.tracking.network_file import require_shared_store
from medtransfer.tracking.project_environment import link_environment
from medtransfer.tracking.query import (
    Seen,
    StoredRun,
    artifact_folder,
    fetch_artifacts,
    find_finished,
    has_runs,
    locate_artifacts,
    note,
    read_all_curves,
    read_artifacts,
    read_curve,
    read_curves,
    read_runs,
    watching,
)
from medtransfer.tracking.retry import StoreLost
from medtransfer.tracking.run_record import RunRecord
from medtransfer.tracking.runs import (
    Run,
    Unfinished,
    is_looking_up,
    looking_up,
    once,
    open_run,
    require_work_allowed,
    reused,
)
from medtransfer.tracking.store import connect, make_store, patient, require_experiments, shown_store, store_uri
from medtransfer.tracking.tags import CELL, PARENT, STAGE

__all__ = [
    "ALIAS", "CELL", "MODEL_FOLDER", "PARENT", "STAGE", "Made", "Missed", "Run", "RunRecord", "Seen", "StoreLost", "StoredRun",
    "Unfinished", "artifact_folder", "connect", "fetch_artifacts", "find_finished", "has_runs", "is_looking_up",
    "link_environment", "load_saved_model", "locate_artifacts", "looking_up", "make_of_store", "make_store", "missed_runs",
    "note", "note_reuse", "once", "open_run", "patient", "project_run_set_aside", "read_all_curves", "read_artifacts",
    "read_curve", "read_curves", "read_runs", "read_states", "refusal", "register_model", "replace_artifacts",
    "require_experiments", "require_project_run", "require_shared_store", "require_work_allowed", "reused", "save_model",
    "shown_store", "store_uri", "stored_cells", "tag_runs", "warn_of_unreadable", "watching", "write_runs",
]  # fmt: skip

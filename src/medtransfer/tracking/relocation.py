"""Keep the artifacts of an embedded store beside its database, also after the project's folder was moved or copied.

MLflow stores absolute paths: of each experiment where new runs write, of each run where its artifacts are.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from medtransfer.environment import workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger("medtransfer")
ARTIFACTS, OF_MLFLOW = "mlartifacts", "mlruns"  # folders of our experiments' artifacts and of those that MLflow made itself


def artifact_location(folder: Path) -> str:
    """Return a folder as MLflow's artifact location.

    MLflow decodes a `file:` URI twice and a plain path once, so only the latter can hold a percent sign.
    """
    return quote(str(folder)) if "%" in str(folder) else folder.as_uri()


def local_artifacts(location: str) -> Path | None:
    """Return the folder of an artifact location as MLflow decodes it; None if it is not on this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def keep_artifacts_beside(database: Path, engine: "Engine") -> None:
    """Correct the artifact locations in an SQLite store whose folder was moved, renamed or copied."""
    from sqlalchemy import text

    moved: dict[Path, Path] = {}
    with engine.begin() as connection:
        for experiment, name, location in connection.execute(
            text("SELECT experiment_id, name, artifact_location FROM experiments")
        ).all():
            old = local_artifacts(location)
            new = _home(old, name, database.parent) if old else None
            if old is None or new is None or new == old:
                continue
            connection.execute(
                text("UPDATE experiments SET artifact_location = :new WHERE experiment_id = :id"),
                {"new": artifact_location(new), "id": experiment},
            )
            _follow_runs(connection, experiment, old, new)
            moved[old.parent] = new.parent
    for before, now in moved.items():
        log.info("the tracking store was moved: artifacts that were in %s are expected in %s", before, now)


def _home(folder: Path, name: str, beside: Path) -> Path | None:
    """Return where an experiment's artifacts belong; None if its location is the user's own choice."""
    if name == f"medtransfer/{folder.name}" and folder.parent.name == ARTIFACTS:
        return beside / ARTIFACTS / folder.name
    if folder.parent.name == OF_MLFLOW and not folder.parents[1].exists():
        return workspace() / OF_MLFLOW / folder.name
    return None


def _follow_runs(connection: "Connection", experiment: str, old: Path, new: Path) -> None:
    """Correct the runs of an experiment, except those whose artifacts stayed in the old folder."""
    from sqlalchemy import text

    updates = []
    for run, location in connection.execute(
        text("SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = :id"), {"id": experiment}
    ):
        before = local_artifacts(location)
        if before is None or not before.is_relative_to(old):
            continue
        now = new / before.relative_to(old)
        if now.exists() or not before.exists():
            updates.append({"new": artifact_location(now), "id": run})
    if updates:
        connection.execute(text("UPDATE runs SET artifact_uri = :new WHERE run_uuid = :id"), updates)

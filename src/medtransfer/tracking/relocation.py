"""Keep the artifacts of an embedded store beside its database, also after the project's folder was moved or copied.

MLflow stores absolute paths: of each experiment where new runs write, of each run where its artifacts are.
"""

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from weakref import WeakSet

from medtransfer.environment import workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = logging.getLogger("medtransfer")
ARTIFACTS, OF_MLFLOW = "mlartifacts", "mlruns"  # folders of our experiments' artifacts and of those that MLflow made itself
_PLAIN = re.compile(r"(?:file://)?(/(?!/)[^%?#;\\]*)")  # a folder in whose address nothing is encoded
_in_place: "WeakSet[Engine]" = WeakSet()  # databases whose locations need no correction


def artifact_location(folder: Path) -> str:
    """Return a folder as MLflow's artifact location.

    MLflow decodes a `file:` URI twice and a plain path once, so only the latter can hold a percent sign.
    """
    return quote(str(folder)) if "%" in str(folder) else folder.as_uri()


def local_artifacts(location: str) -> Path | None:
    """Return the folder of an artifact location as MLflow decodes it; None if it is not on this machine."""
    if plain := _PLAIN.fullmatch(location):  # as nearly all are, and without the seconds that MLflow takes to import
        return Path(plain[1])
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def keep_artifacts_beside(database: Path, engine: "Engine") -> None:
    """Correct the artifact locations in an SQLite store whose folder was moved, renamed or copied."""
    from sqlalchemy import text

    moved: dict[Path, Path] = {}
    with engine.begin() as connection:
        for experiment, old, new in _moved(database, connection):
            connection.execute(
                text("UPDATE experiments SET artifact_location = :new WHERE experiment_id = :id"),
                {"new": artifact_location(new), "id": experiment},
            )
            _follow_runs(connection, experiment, old, new)
            moved[old.parent] = new.parent
    for before, now in moved.items():
        if exists(before) and not exists(now):
            log.info("the tracking store was copied: earlier runs have their artifacts in %s, new ones in %s", before, now)
        else:
            log.info("the tracking store was moved: artifacts that were in %s are expected in %s", before, now)


def are_in_place(engine: "Engine") -> bool:
    """Return whether the locations in a store need no correction; looked up once per process."""
    if engine.dialect.name == "sqlite" and engine not in _in_place:
        with engine.connect() as connection:
            if _moved(Path(engine.url.database or ""), connection):
                return False
        _in_place.add(engine)
    return True


def _moved(database: Path, connection: "Connection") -> list[tuple[str, Path, Path]]:
    """Return the experiments whose artifacts belong elsewhere: each id, the present folder and the one where they belong.

    Those that MLflow made itself, as for `mlflow run`, follow the project's folder.
    """
    from sqlalchemy import text

    found = connection.execute(text("SELECT experiment_id, name, artifact_location FROM experiments"))
    here = [(experiment, name, folder) for experiment, name, location in found if (folder := local_artifacts(location))]
    ours = {
        experiment: (folder, database.parent / ARTIFACTS / folder.name) for experiment, name, folder in here
        if name == f"medtransfer/{folder.name}" and folder.parent.name == ARTIFACTS
    }  # fmt: skip
    former = {old.parents[1] for old, _ in ours.values()}  # where this database was
    of_mlflow = {
        experiment: (folder, new) for experiment, _, folder in here
        if folder.parent.name == OF_MLFLOW and (new := _home(folder, database, former)) is not None
    }  # fmt: skip
    return [(experiment, old, new) for experiment, (old, new) in {**of_mlflow, **ours}.items() if old != new]


def _home(folder: Path, database: Path, former: Collection[Path]) -> Path | None:
    """Return where the artifacts of an experiment of MLflow's own belong; None if its folder is the user's choice."""
    project, beside = folder.parents[1], database.parent / OF_MLFLOW / folder.name
    if project in former or exists(project / database.name):  # this database is there, or was, or is a copy
        return beside
    if exists(project):
        return None
    return beside if exists(beside) else workspace() / OF_MLFLOW / folder.name


def exists(path: Path) -> bool:
    """Return whether a file or folder exists, as far as one may look: the owner of a copied project may not let everybody."""
    try:
        return path.exists()
    except PermissionError:
        return False


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
        if exists(now) or not exists(before):
            updates.append({"new": artifact_location(now), "id": run})
    if updates:
        connection.execute(text("UPDATE runs SET artifact_uri = :new WHERE run_uuid = :id"), updates)

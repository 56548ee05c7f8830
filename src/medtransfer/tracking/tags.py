"""Names of the tags of all MLflow runs, and the tags that every run of this process gets."""

from functools import cache
from pathlib import Path

from medtransfer.environment import git_revision, versions
from medtransfer.hashing import file_sha256

STAGE, CELL, SUPERSEDED = "medtransfer.stage", "medtransfer.cell", "medtransfer.superseded_by"
PARENT = "mlflow.parentRunId"
DATABASES = ("sqlite:", "postgresql", "mysql")  # stores that this process writes to directly, without a server


def common_tags(stage: str) -> dict[str, str]:
    """Return the tags of every run of a stage: code and data revisions, library versions."""
    here = Path.cwd()
    return {
        STAGE: stage, "mlflow.source.name": f"medtransfer {stage}", "git_revision": git_revision(here),
        "dvc_revision": _dvc_revision(here), **versions(),
    }  # fmt: skip


@cache
def _dvc_revision(folder: Path) -> str:
    """Return the hash of dvc.lock, which pins every versioned input, or `none`."""
    lock = folder / "dvc.lock"
    return file_sha256(lock)[:12] if lock.is_file() else "none"

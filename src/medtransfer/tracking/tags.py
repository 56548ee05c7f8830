"""Nothing goes in; the names of tags that all runs have, and the values that they share, come out."""

from pathlib import Path

from medtransfer.environment import git_revision, versions
from medtransfer.hashing import file_sha256

STAGE, CELL, SUPERSEDED = "medtransfer.stage", "medtransfer.cell", "medtransfer.superseded_by"
PARENT = "mlflow.parentRunId"
DATABASES = ("sqlite:", "postgresql", "mysql")  # stores that this process writes to itself, without a server


def common_tags(stage: str) -> dict[str, str]:
    """Give the tags that every run of a stage has."""
    return {
        STAGE: stage, "mlflow.source.name": f"medtransfer {stage}", "git_revision": git_revision(Path.cwd()),
        "dvc_revision": _dvc_revision(), **versions(),
    }  # fmt: skip


def _dvc_revision() -> str:
    """Give the hash of dvc.lock, which pins every versioned input, or `none`."""
    lock = Path("dvc.lock")
    return file_sha256(lock)[:12] if lock.is_file() else "none"

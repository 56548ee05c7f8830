"""Store artifacts: large files as hard links where the artifact store is a folder of the same file system."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from medtransfer.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

LINKED = {".safetensors", ".npz"}  # weights and values per sample: never edited, only replaced


def store_artifact(client: "MlflowClient", run_id: str, address: str, path: Path, folder: str | None) -> None:
    """Store a file, or the content of a folder, among the artifacts of a run.

    Args:
        client: client of the store.
        run_id: id of the run.
        address: address of its artifacts.
        path: local file or folder.
        folder: folder among the artifacts; None for their root.
    """
    own = local_folder(address)
    root, files = (path, [file for file in path.rglob("*") if file.is_file()]) if path.is_dir() else (path.parent, [path])
    for file in files:
        stored = Path(folder or "") / file.relative_to(root)
        if own is None or file.suffix not in LINKED or not _link(file, own / stored):
            parent = None if stored.parent == Path() else stored.parent.as_posix()
            store.each(client, partial(client.log_artifact, run_id, str(file), parent))


def local_folder(address: str) -> Path | None:
    """Return the folder that an artifact address names; None if it is not one of this machine."""
    parts = urlparse(address)
    return Path(url2pathname(parts.path)) if parts.scheme in {"", "file"} else None


def _link(file: Path, stored: Path) -> bool:
    """Link a file, replacing an older one; return whether the file systems allow it.

    A linked file becomes read-only, as those that DVC links: written in place, it would change in both folders. Every
    writer of this project replaces files instead. Only its owner may change its mode, so that of another user is copied.
    """
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.unlink(missing_ok=True)
    try:
        os.link(file, stored)
        stored.chmod(stored.stat().st_mode & 0o7555)
    except OSError:  # another file system, one without links, or a file of another user
        stored.unlink(missing_ok=True)
        return False
    return True


def replace_artifacts(run_id: str, file: Path, removed: Sequence[str]) -> None:
    """Replace a file among the artifacts of a finished run, in the folder of those removed, which are deleted after it.

    Args:
        run_id: id of the run.
        file: local file.
        removed: paths among the artifacts, in one folder; those that do not exist are left out.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, folder = store.connect(), str(Path(removed[0]).parent)
    uri = store.ask(client, lambda client: client.get_run(run_id).info.artifact_uri)
    store.ask(client, lambda client: client.log_artifact(run_id, str(file), folder))
    existing = {each.path for each in store.ask(client, lambda client: client.list_artifacts(run_id, folder))}
    own = local_folder(uri)
    for path in existing.intersection(removed):
        if own is not None:
            (own / path).unlink(missing_ok=True)
        else:
            get_artifact_repository(uri).delete_artifacts(path)

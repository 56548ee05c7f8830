"""Large files are linked into a local artifact store and copied where they cannot be; a change of one never changes the other."""

import errno
import os
from pathlib import Path

import pytest

from medtransfer import tracking
from medtransfer.records import write_text


@pytest.fixture
def folder(workplace: Path) -> Path:
    """A folder with weights, a table and a file in a folder below."""
    made = workplace / "a folder é#%"
    for name in ("weights.safetensors", "table.csv", "deeper/values.npz"):
        write_text(made / name, name)
    return made


def stored(folder: Path) -> Path:
    with tracking.open_run("finetune", "cell", "cell", {}, {}) as run:
        run.log_artifact(folder, "model")
    (found,) = tracking.read_runs("finetune")
    with tracking.artifact_folder(found.id, "model") as place:
        return place


def test_weights_are_linked_and_what_may_be_edited_is_copied(folder):
    place = stored(folder)
    for name, linked in (("weights.safetensors", True), ("deeper/values.npz", True), ("table.csv", False)):
        assert (place / name).read_text() == name
        assert (place / name).samefile(folder / name) == linked
        assert bool((place / name).stat().st_mode & 0o222) != linked  # a linked file is protected, as in DVC
    write_text(folder / "weights.safetensors", "other weights")
    assert (place / "weights.safetensors").read_text() == "weights.safetensors"


def test_another_file_system_gets_copies(folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place = stored(folder)
    assert (place / "weights.safetensors").read_text() == "weights.safetensors"
    assert not (place / "weights.safetensors").samefile(folder / "weights.safetensors")
    assert (folder / "weights.safetensors").stat().st_mode & 0o200


def test_what_another_user_wrote_is_copied(folder, monkeypatch):
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    place = stored(folder)
    assert (place / "weights.safetensors").read_text() == "weights.safetensors"
    assert not (place / "weights.safetensors").samefile(folder / "weights.safetensors")

"""A folder or file that may not be read is named: what it holds would be missing without a word."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer.config.load import read_source
from medtransfer.data.picture_folders import list_folder, require_readable
from medtransfer.errors import InputError
from medtransfer.predict.images import find_images
from medtransfer.predict.reference_masks import find_masks
from medtransfer.prepare.readers.case_patterns import list_files
from medtransfer.prepare.readers.cityscapes import _list_images as list_cities
from medtransfer.prepare.readers.siim import _list_images
from medtransfer.pretrain.weights_files import _list_files
from medtransfer.records import epoch_records, folders_and_files, list_checkpoints, require_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a closed one below it, for root too, which may read every folder."""
    for name in ("open/a.png", "closed/b.png", ".hidden/c.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if Path(path).name in ("closed", ".hidden", "lost+found", "System Volume Information", "$RECYCLE.BIN"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return tmp_path


def _find_masks(folder: Path) -> object:
    return find_masks([], folder, "_mask")


def _list_checkpoints(folder: Path) -> object:
    return list_checkpoints(folder / "closed")


def _list_weights(folder: Path) -> object:
    return _list_files(str(folder), "pretrain.origin")


READING = (require_readable, list_folder, list_files, find_images, _find_masks, _list_images, _list_weights, _list_checkpoints)


@pytest.mark.parametrize("read", READING, ids=lambda read: read.__name__)
def test_a_closed_folder_is_named(read: Callable[[Path], object], folder: Path) -> None:
    with pytest.raises(
        InputError, match="expected a readable folder at .*closed, but got: Permission denied; correct its permissions$"
    ):
        read(folder)
    (folder / "closed").rename(folder / ".closed")  # hidden ones are passed over
    require_readable(folder / "open")


def test_a_link_into_a_closed_folder_is_named_and_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "epoch-001.json").touch()
    (tmp_path / "epoch-001.safetensors").touch()
    (tmp_path / "linked").symlink_to("closed/x")
    (tmp_path / "circle").symlink_to("circle")
    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path == tmp_path / "linked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    closed: dict[Path, Exception] = {}
    folders, files = folders_and_files(tmp_path, closed)
    assert folders == ["open"] and files >= {"epoch-001.json", "circle"} and list(closed) == [tmp_path / "linked"]
    assert epoch_records(tmp_path) == [tmp_path / "epoch-001.json"]
    assert epoch_records(tmp_path / "epoch-001.json") == epoch_records(tmp_path / "missing") == []


@pytest.mark.parametrize("read", READING[:4], ids=lambda read: read.__name__)
def test_a_folder_of_the_file_system_may_be_closed(read: Callable[[Path], object], folder: Path) -> None:
    """Only root may read lost+found, which is in the top folder of a disk."""
    for name in ("lost+found", "System Volume Information", "open/$RECYCLE.BIN"):
        (folder / "closed").rename(folder / name)
        assert "b.png" not in str(read(folder))
        (folder / name).rename(folder / "closed")


@pytest.mark.parametrize("pattern", ["*/*.pt", "**/*.pt", "c*/x/*.pt", "closed/*.pt", "*.pt"])
def test_a_glob_of_weights_passes_over_no_closed_folder(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for name in ("a.pt", "open/a.pt", "closed/b.pt", "lost+found/c.pt", "cx/x/d.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in ("closed", "lost+found"))
    if pattern == "*.pt":  # below which no folder is entered
        assert _list_files(str(tmp_path / pattern), "k") == (tmp_path, [tmp_path / "a.pt"])
        return
    with pytest.raises(InputError, match="expected a readable folder at .*closed, but got: Permission denied; correct"):
        _list_files(str(tmp_path / pattern), "pretrain.origin")


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.nii").touch()
    (tmp_path / "a/up").symlink_to("..")
    assert list_files(tmp_path) == [tmp_path / "a/b.nii"]


def test_a_literal_folder_below_one_that_may_only_be_entered_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To enter a folder by name needs no permission to list it."""
    (file := tmp_path / "run1/weights/a.pt").parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.X_OK or Path(path).name != "run1")
    assert _list_files(str(tmp_path / "run*/weights/*.pt"), "k")[1] == [file]


def test_a_closed_city_is_named(folder: Path) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        (folder / kind / "train/open").mkdir(parents=True)
    (folder / "gtFine/train/closed").mkdir()
    with pytest.raises(InputError, match="expected a readable folder at .*gtFine/train/closed, but got: Permission denied"):
        list(list_cities(folder))


def test_params_that_may_not_be_read_need_other_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match=r"params\.yaml'; correct its permissions$"):
        read_source(tmp_path / "params.yaml")


def test_a_file_that_may_not_be_read_needs_other_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (file := tmp_path / "a.png").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.png, but Permission denied; correct its permissions$"):
        require_file(file, "a picture", "replace it")

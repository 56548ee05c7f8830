"""A folder that cannot be read is named: what it holds would be missing without a word."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer.data.picture_folders import require_readable
from medtransfer.errors import InputError
from medtransfer.predict.images import find_images
from medtransfer.prepare.readers.case_patterns import list_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a closed one below it, for root too, which may read every folder."""
    for name in ("open/a.png", "closed/b.png", ".hidden/c.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if Path(path).name in ("closed", ".hidden"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return tmp_path


@pytest.mark.parametrize("read", [require_readable, list_files, find_images], ids=lambda read: read.__name__)
def test_a_closed_folder_is_named(read: Callable[[Path], object], folder: Path) -> None:
    with pytest.raises(InputError, match="expected a readable folder at .*closed, but got: Permission denied"):
        read(folder)
    (folder / "closed").rename(folder / ".closed")  # hidden ones are passed over
    require_readable(folder / "open")

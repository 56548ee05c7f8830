"""Listing picture files: links, hidden folders, and what is passed over."""

from pathlib import Path

import pytest

from medtransfer.data.picture_folders import list_folder
from medtransfer.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_links_are_followed_once_and_hidden_files_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "in/b.PNG", "in/deep/a.webp", "in/.ipynb_checkpoints/a.png", "in/._b.png", "else/étude 1.jpg", "in/x.tar.gz")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "else" / "self").symlink_to(".")
    listed = list_folder(tmp_path / "in")
    assert listed.pictures == ["b.PNG", "deep/a.webp", "link/étude 1.jpg"]
    assert listed.describe_passed_over() == ".gz (1, such as x.tar.gz)"
    assert list_folder(tmp_path / "in", leave_out=tmp_path / "in" / "deep").pictures == ["b.PNG", "link/étude 1.jpg"]
    with pytest.raises(InputError, match="nowhere"):
        list_folder(tmp_path / "nowhere")

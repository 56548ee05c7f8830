"""The running environment: git revision, library versions, folder of the tracking store, rank."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from medtransfer.environment import git_revision, is_main_process, versions, workspace


def test_the_revision_is_the_commit_with_dirty_if_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def revision() -> str:
        git_revision.cache_clear()  # as in another process
        return git_revision(tmp_path)

    assert revision() == "none"
    git("init", "--quiet")
    assert revision() == "none"  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "one")
    git("tag", "-a", "v1", "-m", "a tag is not a revision")
    commit = git("rev-parse", "HEAD")
    assert revision() == commit
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == commit  # a process asks once
    assert revision() == f"{commit}-dirty"


def test_versions_name_the_libraries() -> None:
    installed = versions()
    assert installed["version.torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert installed["version.numpy"] == np.__version__


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("project", "project"),
        ("project/.dvc/tmp/exps/tmp1a2b", "project"),
        ("project/.dvc/tmp/exps/standalone/tmp1a2b/src", "project"),
        ("project/exps/one", "project/exps/one"),
        ("project/.dvc/tmp/other/x", "project/.dvc/tmp/other/x"),
    ],
)
def test_the_workspace_of_a_queued_experiment_is_the_project(tmp_path: Path, inside: str, expected: str) -> None:
    (tmp_path / inside).mkdir(parents=True)
    assert workspace(tmp_path / inside) == (tmp_path / expected).resolve()


def test_the_default_workspace_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspace() == tmp_path.resolve()


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "3"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "1"}, True),
    ],
)
def test_only_rank_zero_writes(environment: dict[str, str], main: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main

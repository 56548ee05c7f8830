"""The running environment: git revision, library versions, folder of the tracking store, own code, cores."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import medtransfer
from medtransfer import environment
from medtransfer.environment import (
    count_cores,
    git_revision,
    has_driver,
    require_device,
    require_own_code,
    versions,
    workspace,
)
from medtransfer.errors import InputError


def test_the_revision_is_the_commit_with_dirty_if_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as in a hook of another repository
    assert revision() == commit
    monkeypatch.delenv("GIT_DIR")
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == commit  # a process asks once
    assert revision() == f"{commit}-dirty"


def test_versions_name_the_libraries() -> None:
    installed = versions()
    assert installed["version.torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert installed["version.numpy"] == np.__version__
    assert installed["version.medtransfer"] == medtransfer.__version__  # outside a clone, the revision is not that of the code


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


def test_the_code_of_another_clone_is_refused(tmp_path: Path) -> None:
    require_own_code(tmp_path)
    (tmp_path / "src").symlink_to(Path(medtransfer.__file__).parents[1])
    require_own_code(tmp_path)
    other = tmp_path / "clone/src/medtransfer"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    with pytest.raises(InputError, match=f"code of this folder, {other}, but got that of .*PYTHONPATH=src python -m medtransfer"):
        require_own_code(tmp_path / "clone")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_only_the_cores_of_this_process_count() -> None:
    before = os.sched_getaffinity(0)
    assert count_cores() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_driver_is_a_device_file_or_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(environment, "DRIVERS", (str(tmp_path / "kfd"),))
    monkeypatch.setattr("ctypes.CDLL", Mock(side_effect=OSError))
    assert not has_driver()
    (tmp_path / "kfd").touch()
    assert has_driver()
    monkeypatch.setattr(environment, "DRIVERS", ())
    monkeypatch.setattr("ctypes.CDLL", Mock())
    assert has_driver()
    monkeypatch.setattr("ctypes.CDLL", Mock(side_effect=OSError))
    monkeypatch.setattr(sys, "platform", "darwin")  # whose GPUs have no such files
    assert has_driver()


@pytest.mark.parametrize(
    ("accelerator", "precision", "refused"),
    [
        ("auto", "32-true", ""),
        ("cpu", "bf16-mixed", ""),
        ("gpu", "32-true", "accelerator 'gpu' on this machine, but it has no driver of a GPU; set accelerator: auto"),
        ("mps", "32-true", "accelerator 'mps' on this machine"),
        (
            "auto",
            "16-mixed",
            "expected a GPU for precision 16-mixed, but got the CPU by accelerator 'auto'; set precision: 32-true",
        ),
    ],
)
def test_what_takes_a_gpu_is_refused_where_there_is_no_driver(
    accelerator: str, precision: str, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "has_driver", lambda: True)
    require_device(accelerator, precision)  # PyTorch is to be asked
    monkeypatch.setattr(environment, "has_driver", lambda: False)
    if not refused:
        require_device(accelerator, precision)
        return
    with pytest.raises(InputError, match=refused):
        require_device(accelerator, precision)

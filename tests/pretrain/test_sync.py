"""Finished pretrainings on disk fill a store that lacks them; what is incomplete or foreign is left out."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stored_runs import stored_runs

from medtransfer import study
from medtransfer.config import Params
from medtransfer.locks import exclusive
from medtransfer.pretrain.sync import publish

ROOT = Path("checkpoints")
FOLDER = ROOT / "unet-simple"


@pytest.fixture(scope="module")
def pretrained(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    study.pretrain(tiny_params())
    return shared_workplace


@pytest.fixture
def elsewhere(pretrained: Path, workplace: Path) -> Path:
    """Work on another machine: the checkpoints in an empty folder with an empty store; return the first store."""
    shutil.copytree(pretrained / ROOT, workplace / ROOT)
    return pretrained / "mlflow.db"


def test_the_run_is_that_of_the_stage_and_is_reused(elsewhere, tiny_params, monkeypatch):
    assert publish(ROOT) == 1
    published = stored_runs("pretrain")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
        assert published == stored_runs("pretrain")
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    assert publish(ROOT) == 0
    study.pretrain(tiny_params())
    assert stored_runs("pretrain") == published
    assert {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()} == before


@pytest.mark.parametrize("closed", [ROOT, FOLDER])
def test_a_closed_folder_of_checkpoints_is_named(closed, elsewhere, closed_folder, caplog):
    closed_folder(closed)
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(ROOT) == 0
    words = "1 folder of pretrainings on disk cannot be read; only what the tracking store already has is used:"
    assert f"{words} {closed} (PermissionError" in caplog.text


def change(**fields: Any) -> None:
    path = FOLDER / "pretraining.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "no weights": (lambda: (FOLDER / "epoch-001.safetensors").unlink(), "expected the checkpoints that .* names"),
    "an epoch more": (lambda: change(epochs=[0, 1, 9]), "expected the checkpoints that .* names"),
    "of another pretraining": (lambda: change(pretraining="another"), "expected the checkpoints that .* names"),
    "cut off": (lambda: (FOLDER / "pretraining.json").write_text('{"format": "medtr'), "expected a JSON record"),
    "a folder": (
        lambda: ((FOLDER / "pretraining.json").unlink(), (FOLDER / "pretraining.json").mkdir()),
        "pretraining.json, but it is a",
    ),
    "of another version": (lambda: change(format="medtransfer/pretraining/99"), "medtransfer/pretraining/1"),
    "inputs of another form": (lambda: change(inputs=[["x"]]), "unpack"),
    "curves of another form": (lambda: change(curves={"loss": {"first": 1.0}}), "invalid literal"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_incomplete_or_foreign_is_left_out_with_one_warning(name, elsewhere, caplog):
    fault, words = FAULTS[name]
    fault()
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(ROOT) == 0
    (message,) = caplog.messages
    assert (
        f"1 folder of pretrainings on disk cannot be read; only what the tracking store already has is used: {FOLDER} (" in message
        and re.search(words, message)
    )


def test_an_unfinished_pretraining_and_one_at_work_are_left_out_silently(elsewhere, caplog):
    with exclusive(FOLDER):
        assert publish(ROOT) == 0
    (FOLDER / "pretraining.json").unlink()
    assert publish(ROOT) == 0 and caplog.text == ""

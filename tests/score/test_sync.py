"""Scores on disk become the run that their stage would have left; what is unfinished or foreign is named and left out."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stored_runs import stored_runs

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.records import ScoreIndex
from medtransfer.score import scorer
from medtransfer.score.sync import publish

pytestmark = pytest.mark.long

FOLDER = Path("scores/sample/unet-simple")
PREPARED, CHECKPOINTS = Path("data/prepared"), Path("checkpoints")


@pytest.fixture(scope="module")
def scored(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of work in which a pretraining was scored on a target."""
    study.prepare(tiny_params())
    study.pretrain(tiny_params())
    study.score(tiny_params())
    return shared_workplace


@pytest.fixture
def elsewhere(scored: Path, workplace: Path) -> Path:
    """Work on another machine: the stages' files in an empty folder with an empty store; return the first store."""
    for name in ("checkpoints", "data", "scores"):
        shutil.copytree(scored / name, workplace / name)
    return scored / "mlflow.db"


def test_the_run_is_that_of_the_stage_and_is_reused(elsewhere, tiny_params, monkeypatch):
    assert publish(tiny_params().score, PREPARED, CHECKPOINTS) == 1
    found = stored_runs("score")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
        assert found == stored_runs("score")
    (run,) = found.values()
    assert set(run["curves"]["source_accuracy"]) == {0, 1, 2, 3} and len(run["files"]) == 10
    assert publish(tiny_params().score, PREPARED, CHECKPOINTS) == 0
    monkeypatch.setattr(scorer, "measure", None)
    study.score(tiny_params())
    assert len(tracking.read_runs("score")) == 1


@pytest.mark.parametrize("closed", [FOLDER.parents[1], FOLDER.parent, FOLDER])
def test_a_closed_folder_of_scores_is_named(closed, elsewhere, tiny_params, closed_folder, caplog):
    closed_folder(closed)
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(tiny_params().score, PREPARED, CHECKPOINTS) == 0
    assert f"1 folder of scores on disk cannot be read; only what the tracking store already has is used: {closed} (" in caplog.text


def test_another_default_makes_another_run(elsewhere, tiny_params):
    assert publish(tiny_params().score, PREPARED, CHECKPOINTS) == 1
    other = tiny_params({"score.distance": "l2", "score.margin": 0.25, "score.level": -1, "score.indicators": ["robustness"]})
    assert publish(other.score, PREPARED, CHECKPOINTS) == 1
    run = tracking.read_runs("score")[0]
    assert (run.params["distance"], run.params["margin"], run.params["level"]) == ("l2", "0.25", "-1")
    study.score(other)
    assert len(tracking.read_runs("score")) == 2


def test_scores_at_another_level_make_no_run_of_a_part_of_them(workplace, tiny_params, caplog):
    """Robustness is measured at all levels, LogME at one: a run at the default level would lack LogME and hide the earlier one."""
    both = {"score.indicators": ["robustness", "logme"]}
    study.score(tiny_params(both))
    study.score(tiny_params({**both, "score.level": -1}))
    before = {run.id for run in tracking.read_runs("score")}
    caplog.set_level(logging.INFO, "medtransfer")
    assert publish(tiny_params(both).score, PREPARED, CHECKPOINTS) == 0
    assert {run.id for run in tracking.read_runs("score")} == before and len(before) == 2
    assert "holds scores at other settings" in caplog.text and "cannot be read" not in caplog.text


def drop(name: str) -> None:
    (FOLDER / name).unlink()


def change(**fields: Any) -> None:
    """Change fields of the record of epoch 1."""
    path = FOLDER / "epoch-001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def promise() -> None:
    """Name an indicator in the index that no epoch has."""
    index = ScoreIndex.read(FOLDER / "scores.json")
    ScoreIndex(index.epochs, [*index.indicators, "another"]).write(FOLDER / "scores.json")


FAULTS = {
    "without an index": (lambda: drop("scores.json"), "expected the file .*scores.json, but it does not exist; make it"),
    "unfinished": (lambda: drop("epoch-001.json"), "expected the file .*epoch-001.json, but it does not exist; make it"),
    "no distances": (lambda: drop("epoch-001.npz"), "epoch-001.npz beside the scores, .*; score again"),
    "cut off": (lambda: (FOLDER / "epoch-001.json").write_text('{"format": "medtr'), "epoch-001.json"),
    "of another version": (lambda: change(format="medtransfer/scores/99"), "medtransfer/scores/4"),
    "of two pretrainings": (lambda: change(pretraining="another"), "one pretraining on one dataset"),
    "of two datasets": (lambda: change(data="another"), "one pretraining on one dataset"),
    "of two settings": (lambda: change(settings={"split": "test"}), "one pretraining on one dataset"),
    "foreign rows": (lambda: change(rows=[{"what": 1}]), "row 0.indicator: Field required"),
    "rows that are none": (lambda: change(rows=5), "must be a list"),
    "other rows": (lambda: change(rows=[]), "at the same settings, but they differ"),
    "another indicator": (promise, "expected the indicator another of epoch 0"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_unfinished_or_foreign_is_left_out_with_one_warning(name, elsewhere, tiny_params, caplog):
    shutil.copytree(FOLDER, FOLDER.with_name("unet-advanced"))  # whole, and written all the same
    fault, words = FAULTS[name]
    fault()
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(tiny_params().score, PREPARED, CHECKPOINTS) == 1
    (message,) = caplog.messages
    assert (
        f"1 folder of scores on disk cannot be read; only what the tracking store already has is used: {FOLDER} (" in message
        and re.search(words, message)
    )

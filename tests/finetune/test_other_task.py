"""A task without masks and without Dice goes the whole way: fine-tuned, recorded, filled into another store, and reported."""

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.fakes import Presence

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.finetune.stage import run
from medtransfer.finetune.sync import publish
from medtransfer.hashing import file_sha256
from medtransfer.records import CellName, PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result

pytestmark = pytest.mark.long

CHECKPOINTS, PREPARED, MODELS = Path("checkpoints"), Path("data/prepared"), Path("models")


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Prepare a target whose labels are 0 or 1 for each image, and checkpoints."""
    target = study.prepare(tiny_params({"prepare.targets.sample.validation": 0.34}))
    areas = (target.masks > 0).sum(axis=(1, 2))
    np.save(target.folder / "labels.npy", (areas > np.median(areas)).astype(np.uint8))
    record = json.loads((target.folder / "dataset.json").read_text())
    (target.folder / "masks.npy").unlink()
    arrays = {**record["arrays"], "labels.npy": file_sha256(target.folder / "labels.npy")}
    del arrays["masks.npy"]
    (target.folder / "dataset.json").write_text(json.dumps({**record, "task": "presence", "arrays": arrays}))
    study.pretrain(tiny_params())
    return shared_workplace


@pytest.fixture
def presence(inputs: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Presence:
    """Register the task and work in an empty folder with the inputs."""
    for name in ("checkpoints", "data"):
        shutil.copytree(inputs / name, workplace / name)
    task = Presence()
    monkeypatch.setitem(TASKS, "presence", task)
    return task


def test_the_whole_way(presence, tiny_params, caplog, empty_store, monkeypatch):
    caplog.set_level(logging.INFO, "medtransfer")
    cell = CellName("sample", "unet", "simple", 3, "decoder", 7)
    params = tiny_params({"finetune.select": "validation", "finetune.overlays": 2})
    (result,) = run(params.finetune, [cell], CHECKPOINTS, PREPARED)
    accuracy = result.metrics["accuracy"]
    assert (result.task, result.primary) == ("presence", "accuracy") and result.metrics.keys() == {
        "accuracy", "test_images", "best_epoch",
    }  # fmt: skip
    assert f"{cell.name}: Accuracy {accuracy:.4f}" in caplog.text
    assert {name: len(curve) for name, curve in result.curves.items()} == {"train_loss": 2, "lr": 2, "validation_accuracy": 2}
    assert read_result(cell.folder(MODELS) / "metrics.json") == result
    with (cell.folder(MODELS) / result.per_sample).open() as file:
        values = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert len(values) == 10 and set(values) <= {0.0, 100.0} and np.mean(values) == pytest.approx(accuracy)
    assert len(presence.drawn) == 2
    (before,) = tracking.read_runs("finetune")
    assert before.metrics["accuracy"] == accuracy and before.params["primary"] == "accuracy"
    shutil.copy(empty_store, "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'other.db'}")
    assert publish(MODELS, PREPARED) == 1
    (after,) = tracking.read_runs("finetune")
    assert (after.params, after.metrics) == (before.params, before.metrics)
    with tracking.open_run("finetune", "another", "another", {**after.params, "epoch": 0}, {}) as handle:
        handle.log_metrics({"accuracy": (accuracy + 100) / 4})  # of ten images none has this accuracy, so one is the best
    study.report(params)
    for text in (Path("reports/report.html").read_text(), Path("reports/report.md").read_text()):
        assert "Of the best checkpoint’s Accuracy, plain choices keep" in text
        assert "share of right decisions in percent on the test images, from 0 to 100, after fine-tuning" in text
        assert "Dice" not in text


def test_robustness_needs_no_labels_and_other_indicators_say_so(presence: Presence, tiny_params: Callable[..., Params]) -> None:
    folder = study.score(tiny_params({"score.indicators": ["robustness"]}))
    assert (folder / "scores.json").is_file()
    with pytest.raises(InputError, match=r"masks\.npy among .*dataset\.json, .*; name another one in score\.indicators"):
        study.score(tiny_params({"score.indicators": ["robustness", "logme"]}))


def test_a_target_without_the_labels_of_its_task_is_refused(presence: Presence, tiny_params: Callable[..., Params]) -> None:
    path = PreparedTarget.open(PREPARED / "sample").folder / "dataset.json"
    record = json.loads(path.read_text())
    del record["arrays"]["labels.npy"]
    path.write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=r"presence with labels\.npy.* in .*dataset\.json, but got 'presence' with images\.npy, index"
    ):
        run(tiny_params().finetune, [CellName("sample", "unet", "simple", 3, "full", 7)], CHECKPOINTS, PREPARED)
    assert not MODELS.exists()

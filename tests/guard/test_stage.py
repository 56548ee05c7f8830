"""Whole guards of tiny models: what they train, read and write, and that an interruption changes nothing."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.fakes import Watched

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.guard.stage import run
from medtransfer.records import PRETRAINING_FILE, PreparedTarget
from medtransfer.tasks import TASKS

pytestmark = pytest.mark.long

CHOSEN = {
    "pretrain.epochs": 2, "pretrain.checkpoints": [1], "finetune.train_epochs": 4, "finetune.seed": 7, "guard.seeds": 2,
    "guard.workers": 1, "guard.validation": 0.67,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    study.prepare(tiny_params(CHOSEN))
    study.pretrain(tiny_params(CHOSEN))
    return shared_workplace


@pytest.fixture(scope="module")
def text(inputs: Path, tiny_params: Callable[..., Params]) -> str:
    """Return what a guard of two checkpoints says, in the folder of the inputs."""
    return run(tiny_params({**CHOSEN, "guard.epoch": [1, 2]}))


@pytest.fixture
def guard(text: str, inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., str]:
    """Return a function that runs in a folder of the test's own, with the inputs but without their results."""
    (workplace / "data").symlink_to(inputs / "data")
    shutil.copytree(inputs / "checkpoints", workplace / "checkpoints")
    return lambda **changed: run(tiny_params({**CHOSEN, **{f"guard.{key}": value for key, value in changed.items()}}))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    task = Watched()
    monkeypatch.setitem(TASKS, "segmentation", task)
    return task


def found(folder: Path = Path()) -> dict:
    return json.loads((folder / "guard/guard.json").read_text(encoding="utf-8"))


def dice(images: list[dict[str, str]]) -> float:
    """Return the mean Dice of three classes from the counts of images."""
    tp, fp, fn = (
        np.array([[float(i[f"{cell}_class_{c}"]) for c in (1, 2, 3)] for i in images]).sum(0) for cell in ("tp", "fp", "fn")
    )
    return float(((2 * tp + 1) / (2 * tp + fp + fn + 1)).mean())


def test_a_quarter_of_the_schedule_from_every_start_with_the_same_seeds(text, inputs):
    cells = tracking.read_runs("finetune")
    assert sorted((int(cell.params["epoch"]), cell.params["seed"]) for cell in cells) == [(e, s) for e in (0, 1, 2) for s in "78"]
    assert {(cell.params["train_epochs"], cell.params["evaluate"]) for cell in cells} == {("1", "validation")}
    summary = found(inputs)
    assert (summary["train_epochs"], summary["full_epochs"], summary["seeds"]) == (1, 4, [7, 8])
    assert [row["epoch"] for row in summary["checkpoints"]] == [1, 2] and text.count("no pretraining") >= 2
    assert not list((inputs / "guard").rglob("weights.safetensors"))


def test_the_numbers_follow_from_the_images(text, inputs):
    """Recomputed from the counts of the validation images, without our code."""
    values, without = {}, {}
    for epoch in (0, 1, 2):
        for seed in (7, 8):
            path = next((inputs / "guard/001-epochs").rglob(f"e{epoch:03d}-full-s{seed}"))
            with (path / "per_image.csv").open() as file:
                images = list(csv.DictReader(file))
            patients = sorted({image["group"] for image in images})
            values[epoch, seed] = dice(images)
            without[epoch, seed] = [dice([i for i in images if i["group"] != patient]) for patient in patients]
    test = set(PreparedTarget.open(inputs / "data/prepared/sample").samples("test")["group"])
    assert len(patients) > 1 and not test & set(patients)
    summary = found(inputs)
    assert summary["none"]["by_seed"] == pytest.approx([values[0, 7], values[0, 8]]) and summary["patients"] == len(patients)
    for row in summary["checkpoints"]:
        gains = [values[row["epoch"], seed] - values[0, seed] for seed in (7, 8)]
        rest = np.mean([np.subtract(without[row["epoch"], seed], without[0, seed]) for seed in (7, 8)], axis=0)
        assert row["difference"] == pytest.approx(np.mean(gains))
        assert row["error_over_seeds"] == pytest.approx(abs(gains[0] - gains[1]) / 2)
        jackknife = np.sqrt((len(rest) - 1) / len(rest) * ((rest - rest.mean()) ** 2).sum())
        assert row["error_over_patients"] == pytest.approx(jackknife)


def test_a_guard_is_one_run(text, inputs):
    (stored,) = tracking.read_runs("guard")
    summary = found(inputs)
    assert stored.params["epochs"] == "1 2" and stored.params["choice"] == str(summary["choice"])
    curve = tracking.read_curve(stored.id, "difference")
    assert curve == pytest.approx({row["epoch"]: row["difference"] for row in summary["checkpoints"]})
    assert set(tracking.read_curve(stored.id, "validation_dice")) == {0, 1, 2}


def test_a_killed_guard_ends_in_the_same_file_and_a_repeated_one_trains_nothing(guard, inputs, watched):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("medtransfer.guard.stage.read_scores", interrupt)
        guard(epoch=[1])
    assert len(watched.epochs) == 4 and not Path("guard/guard.json").exists()
    guard(epoch=[1, 2])
    assert len(watched.epochs) == 6  # the four are reused
    assert Path("guard/guard.json").read_bytes() == (inputs / "guard/guard.json").read_bytes()
    shutil.rmtree("guard")
    guard(epoch=[1, 2])  # from the store alone
    assert len(watched.epochs) == 6 and len(tracking.read_runs("guard")) == 1
    assert Path("guard/guard.json").read_bytes() == (inputs / "guard/guard.json").read_bytes()


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("kept", "epoch"), [(None, 2), ("1", 1)])
def test_the_last_checkpoint_or_the_one_that_a_rule_kept_is_compared(kept, epoch, guard, monkeypatch):
    file = next(Path("checkpoints").rglob(PRETRAINING_FILE))
    record = json.loads(file.read_text())
    record["tags"] |= {"kept": kept} if kept else {}
    file.write_text(json.dumps(record))
    asked = []
    monkeypatch.setattr("medtransfer.guard.stage._train", lambda params, target, epochs, *_: (asked.extend(epochs), interrupt())[1])
    with pytest.raises(KeyboardInterrupt):
        guard()
    assert asked == [0, epoch]


def test_what_is_missing_is_refused_before_any_work(guard, watched):
    with pytest.raises(InputError, match="expected a checkpoint of epoch 9"):
        guard(epoch=[9])
    for path in Path("checkpoints/unet-simple").glob("epoch-00[12].*"):
        path.unlink()
    with pytest.raises(InputError, match="a checkpoint after epoch 0 in checkpoints/unet-simple, but there is none"):
        guard()
    assert watched.epochs == [] and not Path("guard").exists()

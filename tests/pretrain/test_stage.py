"""Whole pretrainings of a tiny encoder: what they leave, and that interruption, reuse and changes lose or mix nothing."""

import json
import logging
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.encoders.build import ENCODERS
from medtransfer.errors import StageError
from medtransfer.pretrain import trainer
from medtransfer.pretrain.objectives import classification
from medtransfer.records import find_checkpoint, list_checkpoints, read_tensors, write_json
from medtransfer.records.state import read_progress
from medtransfer.training import parts
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.steps import Steps

pytestmark = pytest.mark.long

FOLDER, STATE = Path("checkpoints/unet-simple"), Path("checkpoints/unet-simple/.resume.safetensors")
STEPS = 3  # an epoch: 50 pictures in batches of 16
EPOCHS = (0, 1, 2, 3)
CURVES = {"train_loss": [1, 2, 3], "lr": [1, 2, 3], "source_accuracy": [0, 1, 2, 3]}  # metric -> epochs


def weights(folder: Path = FOLDER) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


def runs(status: str = "FINISHED") -> list[tracking.StoredRun]:
    return tracking.read_runs("pretrain", status=status)


def interrupt(patch: pytest.MonkeyPatch, at: int, *, observed: bool) -> None:
    """Raise KeyboardInterrupt before or after the numbers of an epoch are logged."""
    log = tracking.Run.log_metrics

    def log_or_raise(run: tracking.Run, metrics: dict[str, float], step: int = 0) -> None:
        if step != at or observed:
            log(run, metrics, step)
        if step == at:
            raise KeyboardInterrupt

    patch.setattr(tracking.Run, "log_metrics", log_or_raise)


def save_every_step(patch: pytest.MonkeyPatch) -> None:
    """Let every optimiser step be a part of its epoch, after which the state is saved."""
    patch.setattr(parts, "PART", 1)
    patch.setattr(trainer, "SECONDS_BETWEEN_STATES", -1.0)
    patch.setattr(trainer, "SAVING_SHARE", math.inf)


@pytest.fixture(scope="module")
def finished(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of work in which one pretraining was done."""
    assert study.pretrain(tiny_params()) == FOLDER
    return shared_workplace


@pytest.fixture
def copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of that folder, which a test may change."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'copy' / 'mlflow.db'}")
    return finished


def test_a_run_leaves_a_checkpoint_pair_an_epoch_and_nothing_else(finished):
    folder = finished / FOLDER
    pairs = {f"epoch-00{epoch}.{suffix}" for epoch in EPOCHS for suffix in ("json", "safetensors")}
    assert {path.name for path in folder.iterdir()} == pairs | {"curves.json", "pretraining.json"}
    assert len(set(weights(folder).values())) == 4
    curves = {row["epoch"]: row for row in json.loads((folder / "curves.json").read_text())}
    for epoch, info in list_checkpoints(folder).items():
        assert (info.encoder, info.origin, info.source, info.epoch, info.seed) == ("unet", "simple", "sample", epoch, 5)
        assert info.arguments == {"width": 4, "depth": 4}
        assert info.input["size"] == 32
        assert len(info.source_classes) == 10
        assert (info.kind, info.build, info.parts) == ("supervised", "unet", ["encoder", "head"])
        assert (info.levels, info.multiple) == ([[1, 4], [2, 8], [4, 16], [8, 32]], 8)
        assert (info.lineage, info.loaded) == ([], None)
        assert info.source_accuracy == curves[epoch]["source_accuracy"]
    assert read_tensors(folder / "epoch-003.safetensors")["head.weight"].shape == (10, 32)


def test_the_run_holds_params_curves_tags_and_artifacts(finished, tmp_path):
    (run,) = runs()
    assert run.params["encoder"] == "unet"
    assert run.params["accumulation"] == "1"
    assert run.params["stop_on"] == "None"
    assert run.tags["saved"] == "0 1 2 3"
    assert run.tags["stopped"] == "reached the last epoch, 3"
    for name, epochs in CURVES.items():
        assert sorted(tracking.read_curve(run.id, name)) == epochs
    inputs = tracking.connect().get_run(run.id).inputs.dataset_inputs
    assert [one.dataset.name for one in inputs] == ["sample"]
    tracking.fetch_artifacts(run.id, "checkpoints", tmp_path)
    assert weights(tmp_path / "checkpoints") == weights(finished / FOLDER)


def test_force_does_it_again_with_the_same_bits(copy, tiny_params):
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    study.pretrain(tiny_params(), force=True)
    assert all(path.stat().st_mtime_ns > before[path] for path in FOLDER.iterdir())
    assert weights() == weights(copy / FOLDER)
    assert len(runs()) == 1  # the newest; the older one is superseded


def test_another_seed_moves_the_old_checkpoints_aside(copy, tiny_params):
    (old,) = {info.pretraining for info in list_checkpoints(FOLDER).values()}
    study.pretrain(tiny_params({"pretrain.seed": 6}))
    assert weights(FOLDER.with_name(f"unet-simple.{old}")) == weights(copy / FOLDER)
    assert set(weights()) == set(EPOCHS)
    assert not set(weights().values()) & set(weights(copy / FOLDER).values())
    (new,) = {info.pretraining for info in list_checkpoints(FOLDER).values()}
    study.pretrain(tiny_params())  # and back: the store knows the first ones
    assert weights() == weights(copy / FOLDER)
    assert weights(FOLDER.with_name(f"unet-simple.{new}")).keys() == set(EPOCHS)
    assert len(runs()) == 2


def test_checkpoints_of_an_older_format_are_moved_aside(workplace, tiny_params):
    write_json(FOLDER / "epoch-001.json", {"format": "medtransfer/checkpoint/1", "pretraining": "a1"})
    study.pretrain(tiny_params({"pretrain.epochs": 1, "pretrain.checkpoints": []}))
    assert set(weights()) == {0, 1}
    assert [path.name for path in FOLDER.with_name("unet-simple.older").iterdir()] == ["epoch-001.json"]


@pytest.mark.parametrize("lost", ["folder", "one epoch", "one weights file"])
def test_lost_files_come_back_from_the_store(copy, tiny_params, lost):
    if lost == "folder":
        shutil.rmtree(FOLDER)
    (FOLDER / "epoch-002.safetensors").unlink(missing_ok=True)
    if lost != "one weights file":
        (FOLDER / "epoch-002.json").unlink(missing_ok=True)
    study.pretrain(tiny_params())
    assert weights() == weights(copy / FOLDER)
    for epoch in EPOCHS:
        load_encoder(*find_checkpoint(FOLDER, epoch))
    assert len(runs()) == 1
    assert not list(FOLDER.parent.glob(".*"))


@pytest.mark.parametrize(("at", "observed"), [(0, False), (2, True), (3, False)])
def test_an_interrupted_pretraining_resumes_to_the_same_bits(finished, workplace, tiny_params, at, observed):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, at, observed=observed)
        study.pretrain(tiny_params())
    assert runs() == []
    assert (read_progress(STATE) or {}).get("epoch", -1) == at - 1
    study.pretrain(tiny_params())
    assert weights() == weights(finished / FOLDER)
    assert (FOLDER / "curves.json").read_text() == (finished / FOLDER / "curves.json").read_text()
    assert not STATE.exists()
    (run,) = runs()
    assert {name: sorted(tracking.read_curve(run.id, name)) for name in CURVES} == CURVES
    assert len(runs("KILLED")) == 1


def test_the_progress_is_that_of_all_epochs_after_a_resumption_too(workplace, tiny_params):
    shown = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2, observed=True)
        study.pretrain(tiny_params())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medtransfer.pretrain.trainer.track", lambda items, *said: (shown.append(said), items)[1])
        study.pretrain(tiny_params())
    steps = shown[0][1] // 3
    assert steps > 0 and shown == [
        (f"pretrain epoch {epoch}/3 unet-simple", 3 * steps, "batches", (epoch - 1) * steps) for epoch in (2, 3)
    ]  # fmt: skip


def test_an_interrupted_publication_is_not_trained_again(finished, workplace, tiny_params, monkeypatch):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking.Run, "log_record", Mock(side_effect=KeyboardInterrupt))
        study.pretrain(tiny_params())
    monkeypatch.setattr(trainer, "train_epoch", lambda *_: pytest.fail("trained again"))
    study.pretrain(tiny_params())
    assert weights() == weights(finished / FOLDER)
    assert len(runs()) == 1


def test_a_state_that_a_kill_after_the_end_left_is_removed(workplace, tiny_params):
    unlink = Path.unlink

    def stop(path, missing_ok=False):
        if path == STATE:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", stop)
        study.pretrain(tiny_params())
    assert STATE.exists() and len(runs()) == 1
    study.pretrain(tiny_params())
    assert not STATE.exists() and set(weights()) == set(EPOCHS)


def test_a_state_of_other_settings_is_not_resumed(workplace, tiny_params):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2, observed=True)
        study.pretrain(tiny_params())
    study.pretrain(tiny_params({"pretrain.seed": 6}))
    (aside,) = FOLDER.parent.glob("unet-simple.*")
    assert read_progress(aside / STATE.name)["epoch"] == 1  # type: ignore[index]
    assert set(weights()) == set(EPOCHS)


@pytest.mark.parametrize("name", ["unet", *(pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name != "unet")])
def test_the_advanced_origin_runs_and_resumes_with_every_encoder(name, workplace, tiny_params):
    """RandAugment, mixing, erasing and stochastic depth draw random numbers; a resumed epoch draws the same."""
    changed = {"pretrain.encoder": name, "pretrain.origin": "advanced", "pretrain.epochs": 2, "pretrain.checkpoints": [1]}
    folder = study.pretrain(tiny_params(changed))
    whole = weights(folder)
    assert set(whole) == {0, 1, 2}
    folder.rename("whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2, observed=False)
        study.pretrain(tiny_params(changed), force=True)
    tracking.connect().delete_run(runs()[0].id)  # of the undisturbed pretraining
    study.pretrain(tiny_params(changed))
    assert weights(folder) == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_that_was_interrupted_is_resumed_at_its_last_saved_step(workplace, tiny_params, monkeypatch, caplog, workers):
    """Each part of an epoch has random numbers of its own; what is done of it is not done again."""
    save_every_step(monkeypatch)
    changed = {
        "pretrain.origin": "advanced", "pretrain.epochs": 2, "pretrain.checkpoints": [], "pretrain.workers": workers,
        "pretrain.micro_batch": 8,
    }  # fmt: skip
    folder = study.pretrain(tiny_params(changed))
    whole, curves = weights(folder), (folder / "curves.json").read_text()
    folder.rename("whole")
    tracking.connect().delete_run(runs()[0].id)
    update, steps, shown = Steps.update, list[int](), list[tuple[Any, ...]]()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Steps, "update", lambda self, step: step != STEPS + 1 and update(self, step) or _stop(step == STEPS + 1))
        study.pretrain(tiny_params(changed))
    progress = read_progress(folder / STATE.name) or {}
    assert (progress["epoch"], progress["part"]["steps"], progress["part"]["count"]) == (1, 1, 2)
    assert progress["part"].keys() == {field.name for field in fields(parts.PartialEpoch)}
    caplog.set_level(logging.INFO, "medtransfer")
    monkeypatch.setattr(Steps, "update", lambda self, step: (steps.append(step), update(self, step)))
    monkeypatch.setattr(trainer, "track", lambda items, *said: (shown.append(said), items)[1])
    study.pretrain(tiny_params(changed))
    assert "unet-advanced resumes after epoch 1 and 1 step of epoch 2" in caplog.text
    assert steps == [STEPS + 1, STEPS + 2] and [said[-1] for said in shown] == [2 * (STEPS + 1)]  # batches that were done before
    assert weights(folder) == whole and (folder / "curves.json").read_text() == curves


def _stop(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


def test_the_state_within_an_epoch_is_saved_where_it_is_time(workplace, tiny_params, monkeypatch):
    """Small pretrainings save it at the end of their epochs alone, and check their weights there alone, which waits for a GPU."""
    saved, checked = [], list[int]()
    save_state, reached = trainer.save_state, FiniteGuard.reached
    monkeypatch.setattr(
        FiniteGuard, "reached", lambda self, steps, *terms: (checked.append(steps), reached(self, steps, *terms))[1]
    )
    monkeypatch.setattr(trainer, "save_state", lambda path, *rest: (saved.append(rest[2].get("part")), save_state(path, *rest))[1])
    monkeypatch.setattr(parts, "PART", 2)
    study.pretrain(tiny_params({"pretrain.epochs": 1, "pretrain.checkpoints": []}))
    assert saved == [None, None] and checked == [0]
    saved.clear()
    checked.clear()
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)
    study.pretrain(tiny_params({"pretrain.epochs": 1, "pretrain.checkpoints": []}), force=True)
    assert [part and part["steps"] for part in saved] == [None, 2, None] and checked == [2, 0]


def test_saving_within_an_epoch_takes_a_small_share_of_the_time(workplace, tiny_params, monkeypatch):
    """A step takes 4 s here, a state 0.05 s: more than 10 s after the last one, that of the epoch before counted, it is saved."""
    clock, saved, update, save_state = [0.0], [], Steps.update, trainer.save_state
    monkeypatch.setattr(parts, "PART", 1)
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", 10.0)
    monkeypatch.setattr(parts.time, "monotonic", lambda: clock[0])

    def step(self: Steps, number: int) -> None:
        clock[0] += 4.0
        update(self, number)

    def save(path: Path, *rest: Any) -> None:
        saved.append((rest[2]["epoch"], rest[2].get("part", {}).get("steps", 0)))
        clock[0] += 0.05
        save_state(path, *rest)

    monkeypatch.setattr(Steps, "update", step)
    monkeypatch.setattr(trainer, "save_state", save)
    small = {"pretrain.origins.simple.batch_size": {"unet": 6}, "pretrain.micro_batch": 6}
    study.pretrain(tiny_params({**small, "pretrain.epochs": 2, "pretrain.checkpoints": []}))
    assert saved == [(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (1, 6), (2, 0)]  # eight steps an epoch


def gone_bad(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the loss of one step, counted from 1, be infinite."""
    seen = list[int]()

    def loss(logits: Tensor, targets: Tensor, **chosen: Any) -> Tensor:
        seen.append(1)
        return cross_entropy(logits, targets, **chosen) * (math.inf if len(seen) == step else 1)

    patch.setattr(classification, "cross_entropy", loss)


def poisoned(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the weights be not a number after one step, though its loss was finite."""
    seen, original = list[int](), torch.optim.AdamW.step

    def do(self: torch.optim.AdamW, *arguments: Any, **chosen: Any) -> None:
        original(self, *arguments, **chosen)
        seen.append(1)
        if len(seen) == step:
            self.param_groups[0]["params"][-1].data[0] = math.nan

    patch.setattr(torch.optim.AdamW, "step", do)


@pytest.mark.parametrize(
    ("spoil", "step", "what"),
    [
        (gone_bad, 2 * STEPS + 2, "the training loss is inf at optimiser step 8 (epoch 3, "),
        (poisoned, 3 * STEPS, "the weight head.bias is not finite, though the training loss was "),
    ],
)
def test_training_resumes_before_a_value_that_is_not_finite(finished, workplace, tiny_params, spoil, step, what):
    good = f"checkpoint is that of epoch 2, {FOLDER / 'epoch-002.json'}, and the last good state that of epoch 2, {STATE}; lower "
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StageError, match=f"{re.escape(what)}.*{re.escape(good)}"):
        spoil(patch, step)
        study.pretrain(tiny_params())
    assert set(weights()) == {0, 1, 2}
    assert (read_progress(STATE) or {})["epoch"] == 2
    assert [len(runs(status)) for status in ("FINISHED", "FAILED")] == [0, 1]
    study.pretrain(tiny_params())
    assert weights() == weights(finished / FOLDER)
    assert not STATE.exists()

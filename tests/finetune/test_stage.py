"""Whole fine-tunings of tiny models: what a cell leaves, and that it is computed once, whatever is lost or interrupted."""

import csv
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from tests.tasks.fakes import Watched

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.errors import InputError, StageError
from medtransfer.finetune import trainer
from medtransfer.finetune.evaluation import evaluate
from medtransfer.finetune.stage import run
from medtransfer.hashing import file_sha256
from medtransfer.metrics.overlap import OVERLAP
from medtransfer.modes import MODES
from medtransfer.records import CellName, PreparedTarget, Result, find_checkpoint, read_tensors, series_folder
from medtransfer.tasks import TASKS
from medtransfer.training.checkpoints import load_encoder

CHECKPOINTS, PREPARED = Path("checkpoints"), Path("data/prepared")
FILES = {"weights.safetensors", "metrics.json", "per_image.csv", "overlays.png"}


def wanted(encoder: str = "unet", epoch: int = 3, mode: str = "full", seed: int = 7) -> CellName:
    return CellName("sample", encoder, "simple", epoch, mode, seed)


def folder_of(one: CellName, out: str = "models") -> Path:
    return one.folder(Path(out))


def weights_of(one: CellName, out: str = "models") -> str:
    return file_sha256(folder_of(one, out) / "weights.safetensors")


def runs(status: str = "FINISHED") -> list[tracking.StoredRun]:
    return tracking.read_runs("finetune", status=status)


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of work with a prepared target, also with validation samples, and checkpoints of every encoder."""
    study.prepare(tiny_params())
    study.prepare(tiny_params({"prepare.out": "data/validated", "prepare.targets.sample.validation": 0.34}))
    for encoder in ENCODERS:
        study.pretrain(tiny_params({"pretrain.encoder": encoder}))
    return shared_workplace


@pytest.fixture
def finetune(inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Result]:
    """Return `finetune(wanted)` in an empty folder of work with the inputs."""
    for name in ("checkpoints", "data"):
        (workplace / name).symlink_to(inputs / name)

    def tune(one: CellName, overrides: dict[str, Any] | None = None, force: bool = False) -> Result:
        changed = {f"finetune.{key}": value for key, value in (overrides or {}).items() if key != "prepared"}
        prepared = Path((overrides or {}).get("prepared", PREPARED))
        (result,) = run(tiny_params(changed).finetune, [one], CHECKPOINTS, prepared, force)
        return result

    return tune


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Put a task in place of segmentation that notes the epochs trained from now on; states are saved after every epoch."""
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)
    task = Watched()
    monkeypatch.setitem(TASKS, "segmentation", task)
    return task


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_mode_trains_every_encoder(encoder: str, mode: str, finetune: Callable[..., Result]):
    """A frozen encoder is that of the checkpoint, batch-norm statistics included; any other changes in every weight."""
    one = wanted(encoder, mode=mode)
    result = finetune(one)
    path, info = find_checkpoint(series_folder(CHECKPOINTS, encoder, "simple"), 3)
    start, before = state_hash(load_encoder(path, info)), result.encoder_hash[0]
    assert before == start
    assert (result.encoder_hash[1] == start) == MODES[mode].encoder_frozen
    tensors = read_tensors(folder_of(one) / "weights.safetensors")
    kept = read_tensors(path.with_suffix(".safetensors"))
    same = [torch.equal(tensors[name], kept[name]) for name in kept if name.startswith("encoder.")]
    weights = [unchanged for unchanged, name in zip(same, kept, strict=False) if name.endswith("weight")]
    assert all(same) if MODES[mode].encoder_frozen else not any(weights)
    assert any(name.startswith("decoder.") for name in tensors)
    assert {file.name for file in folder_of(one).iterdir()} == FILES


def test_the_record_holds_all_metrics_and_curves(finetune: Callable[..., Result]):
    result = finetune(wanted())
    assert Result.read(folder_of(wanted()) / "metrics.json") == result
    names = {*OVERLAP, "average_precision", "hd95"}
    assert {"dice", "jaccard", "mcc", "precision", "sensitivity", "specificity"} <= names
    per_class = {f"{name}_class_{c}" for name in names for c in (1, 2, 3)}
    pooled = {f"{name}_per_{case}" for name in ("dice", "jaccard") for case in ("image", "patient")}
    assert result.metrics.keys() == names | per_class | pooled
    assert {name: len(curve) for name, curve in result.curves.items()} == {"train_loss": 2, "lr": 2}
    assert result.curves["lr"] == pytest.approx([0.05 * (1 - 2 / 6) ** 0.9, 0.05 * (1 - 5 / 6) ** 0.9])  # 3 steps an epoch
    assert result.settings["class_names"] == PreparedTarget.open(PREPARED / "sample").info.classes
    with (folder_of(wanted()) / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (result.task, result.primary, result.per_sample) == ("segmentation", "dice", "per_image.csv")
    assert len(rows) == 10
    assert {"image", "group", "dice", "hd95", "dice_class_1", "tp_class_3"} <= rows[0].keys()


def test_the_run_holds_params_curves_metrics_inputs_and_the_model(finetune: Callable[..., Result], tmp_path: Path):
    result = finetune(wanted(mode="decoder"))
    (found,) = runs()
    chosen = {"source": "sample", "origin": "simple", "encoder": "unet", "epoch": "3", "target": "sample", "mode": "decoder",
              "seed": "7", "train_epochs": "2", "classes": "3", "task": "segmentation", "primary": "dice"}  # fmt: skip
    assert found.params.items() >= chosen.items()
    assert found.metrics["dice"] == result.metrics["dice"]
    assert found.metrics.keys() == result.metrics.keys() | result.curves.keys()
    for name, curve in result.curves.items():
        history = tracking.connect().get_metric_history(found.id, name)
        assert [(point.step, point.value) for point in history] == list(enumerate(curve, start=1))
    inputs = tracking.connect().get_run(found.id).inputs.dataset_inputs
    assert [(one.dataset.name, one.dataset.digest) for one in inputs] == [("sample", found.params["data"])]
    tracking.fetch_artifacts(found.id, "model", tmp_path / "fetched")
    assert {file.name for file in (tmp_path / "fetched" / "model").iterdir()} == FILES


def test_the_stored_weights_are_those_that_were_tested(finetune: Callable[..., Result]):
    result = finetune(wanted())
    segmenter = build_segmenter(build_encoder("unet", **result.settings["arguments"]), 3)
    segmenter.load_state_dict(read_tensors(folder_of(wanted()) / "weights.safetensors"))
    _, info = find_checkpoint(CHECKPOINTS / "unet-simple", 3)
    contract = {"mean": info.input["mean"], "std": info.input["std"], "seed": 0}
    task = TASKS[result.task]
    samples = task.samples(PreparedTarget.open(PREPARED / "sample"), "test", augment=False, **contract)
    evaluation = evaluate(Fabric(accelerator="cpu", devices=1), task, segmenter, samples, result.settings["class_names"], 10, 0)
    assert evaluation.metrics == result.metrics


def test_another_decoder_is_trained_and_named(finetune: Callable[..., Result]):
    result = finetune(wanted(), {"decoder": "attention"})
    assert result.settings["decoder"] == "attention" and result.settings["build"] == "unet"
    segmenter = build_segmenter(build_encoder("unet", **result.settings["arguments"]), 3, "attention")
    segmenter.load_state_dict(read_tensors(folder_of(wanted()) / "weights.safetensors"))


def test_a_decoder_that_does_not_fit_is_refused(finetune: Callable[..., Result]):
    with pytest.raises(InputError, match=r"Swin encoder.*that fit: attention, unet"):
        finetune(wanted(), {"decoder": "swin"})


def test_overlays_are_a_picture_that_shows_something(finetune: Callable[..., Result]):
    finetune(wanted(), {"overlays": 3})
    picture = Image.open(folder_of(wanted()) / "overlays.png").convert("RGB")
    width, height = picture.size
    rows = [picture.crop((0, height * row // 4, width, height * (row + 1) // 4)) for row in range(3)]
    for part in [picture, *rows]:
        assert len(part.getcolors(maxcolors=2**24)) > 100
    # the truth's first class colour, blended over the grey picture, is more red than blue somewhere in the middle column
    middle = picture.crop((width // 3, 0, 2 * width // 3, height * 3 // 4))
    assert any(red - blue > 60 for _, (red, _, blue) in middle.getcolors(maxcolors=2**24))


def test_no_overlays_are_drawn_when_none_are_wanted(finetune: Callable[..., Result]):
    finetune(wanted(), {"overlays": 0})
    assert {file.name for file in folder_of(wanted()).iterdir()} == FILES - {"overlays.png"}


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finetune: Callable[..., Result]):
    first, sha = finetune(wanted(), {"overlays": 0}), weights_of(wanted())
    second = finetune(wanted(), {"overlays": 0}, force=True)
    assert (weights_of(wanted()), second.metrics, second.curves) == (sha, first.metrics, first.curves)
    assert len(runs()) == 1  # the newest; the older one is superseded
    finetune(wanted(seed=8), {"overlays": 0})
    assert weights_of(wanted(seed=8)) != sha


def test_a_finished_cell_is_reused(finetune: Callable[..., Result], watched: Watched):
    first = finetune(wanted())
    assert finetune(wanted(), {"overlays": 3, "workers": 1}) == first  # neither changes the result
    assert watched.epochs == [1, 2]
    assert len(runs()) == 1


@pytest.mark.parametrize("lost", ["folder", "weights.safetensors", "metrics.json"])
def test_lost_files_come_back_from_the_store(finetune: Callable[..., Result], watched: Watched, lost: str):
    first, sha, folder = finetune(wanted()), weights_of(wanted()), folder_of(wanted())
    if lost == "folder":
        shutil.rmtree(folder)
    else:
        (folder / lost).unlink()
    assert finetune(wanted()) == first
    assert weights_of(wanted()) == sha
    assert {file.name for file in folder.iterdir()} == FILES
    assert watched.epochs == [1, 2]
    assert len(runs()) == 1
    assert not list(folder.parent.glob(".*"))


def test_a_kept_folder_fills_an_empty_store(
    finetune: Callable[..., Result], watched: Watched, empty_store: Path, monkeypatch: pytest.MonkeyPatch
):
    first = finetune(wanted())
    shutil.copy(empty_store, "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'other.db'}")
    assert finetune(wanted()) == first
    assert watched.epochs == [1, 2]
    (found,) = runs()
    assert found.metrics["dice"] == first.metrics["dice"]
    assert tracking.read_curve(found.id, "train_loss") == dict(enumerate(first.curves["train_loss"], start=1))


def test_another_recipe_is_another_cell_and_takes_the_folder(finetune: Callable[..., Result], watched: Watched):
    first = finetune(wanted())
    second = finetune(wanted(), {"lr": 0.01})
    assert second.key != first.key
    assert Result.read(folder_of(wanted()) / "metrics.json") == second
    assert len(runs()) == 2
    assert finetune(wanted()) == first  # fetched back
    assert watched.epochs == [1, 2, 1, 2]


def test_another_checkpoint_of_the_same_epoch_is_another_cell(finetune: Callable[..., Result]):
    first, second = finetune(wanted(epoch=0)), finetune(wanted(epoch=1))
    assert first.key != second.key
    assert first.cell["weights"] != second.cell["weights"]


@pytest.mark.parametrize(
    ("one", "changed"),
    [
        (wanted(), {}),
        pytest.param(wanted("swin"), {}, marks=pytest.mark.slow),
        pytest.param(wanted("resnet50", mode="decoder"), {}, marks=pytest.mark.slow),
        (wanted(), {"prepared": "data/validated", "select": "validation"}),
        pytest.param(wanted(), {"epoch_steps": 2}, marks=pytest.mark.slow),
    ],
    ids=["full", "swin", "decoder", "validation", "short epochs"],
)
def test_an_interrupted_cell_goes_on_to_the_same_bits(
    one: CellName, changed: dict[str, Any], finetune: Callable[..., Result], watched: Watched,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    changed = {"train_epochs": 4, "overlays": 0, **changed}
    whole = finetune(one, {**changed, "out": "whole"})
    (before,) = runs()
    tracking.connect().delete_run(before.id)
    watched.interrupt_epoch = 3
    with pytest.raises(KeyboardInterrupt):
        finetune(one, changed)
    watched.interrupt_epoch = None
    assert runs() == []
    caplog.set_level(logging.INFO, "medtransfer")
    resumed = finetune(one, changed)
    assert "resumes after epoch 2" in caplog.text
    assert weights_of(one) == weights_of(one, "whole")
    assert (resumed.metrics, resumed.curves, resumed.encoder_hash) == (whole.metrics, whole.curves, whole.encoder_hash)
    (found,) = runs()
    for name, curve in whole.curves.items():
        assert tracking.read_curve(found.id, name) == dict(enumerate(curve, start=1))
    assert len(runs("KILLED")) == 1
    assert not [file for file in folder_of(one).iterdir() if file.name not in FILES]


def test_an_interrupted_evaluation_is_done_again_without_training(finetune: Callable[..., Result], watched: Watched):
    chosen = {"prepared": "data/validated", "select": "validation", "overlays": 1}
    watched.interrupt_drawing = True
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted(), chosen)
    watched.interrupt_drawing = False
    finetune(wanted(), chosen)
    assert watched.epochs == [1, 2]
    assert len(runs()) == 1


def test_a_state_of_another_recipe_is_not_resumed(finetune: Callable[..., Result], watched: Watched):
    watched.interrupt_epoch = 2
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted())
    watched.interrupt_epoch = None
    curve = finetune(wanted(), {"lr": 0.01}).curves["lr"]
    assert curve == pytest.approx([0.01 * (1 - 2 / 6) ** 0.9, 0.01 * (1 - 5 / 6) ** 0.9])


def test_validation_samples_are_kept_from_training_and_give_a_curve(finetune: Callable[..., Result]):
    result = finetune(wanted(), {"prepared": "data/validated"})
    assert len(result.curves["validation_dice"]) == 2
    steps = -(-PreparedTarget.open(Path("data/validated/sample")).info.counts["train"] // 10)
    assert result.curves["lr"][0] == pytest.approx(0.05 * (1 - (steps - 1) / (2 * steps)) ** 0.9)


def test_select_validation_tests_the_best_epochs_weights(finetune: Callable[..., Result], watched: Watched):
    """Validation is made to say that epoch 1 is better than epoch 2."""
    watched.primary_values = [0.9, 0.8]
    result = finetune(wanted(), {"prepared": "data/validated", "select": "validation", "overlays": 0})
    tensors = read_tensors(folder_of(wanted()) / "weights.safetensors")
    assert result.curves["validation_dice"] == [0.9, 0.8]
    first, second = watched.weights[:2]  # at the two validations
    assert all(torch.equal(tensors[name], value) for name, value in first.items())
    assert not all(torch.equal(tensors[name], value) for name, value in second.items())


def test_select_validation_without_validation_samples_is_refused_before_any_work(finetune: Callable[..., Result]):
    with pytest.raises(InputError, match="validation samples in data/prepared/sample, since finetune.select"):
        finetune(wanted(), {"select": "validation"})
    assert not Path("models").exists()
    assert all(runs(status) == [] for status in ("FINISHED", "FAILED", "RUNNING"))


def test_a_loss_that_is_not_finite_finishes_nothing(finetune: Callable[..., Result], watched: Watched):
    watched.factor = math.nan
    with pytest.raises(
        StageError, match=r"training loss is nan at optimiser step 1 \(epoch 1, .*\); no state was saved .* lower finetune.lr"
    ):
        finetune(wanted())
    assert runs() == []
    assert len(runs("FAILED")) == 1
    assert not (folder_of(wanted()) / "metrics.json").exists()


def test_a_frozen_encoder_that_changes_is_a_failure(finetune: Callable[..., Result], watched: Watched):
    watched.spoil = True
    with pytest.raises(StageError, match="the frozen encoder of .* changed in training"):
        finetune(wanted(mode="decoder"))
    assert runs() == []


def test_every_fault_shows_before_any_work(inputs: Path, finetune: Callable[..., Result], tiny_params: Callable[..., Params]):
    with pytest.raises(InputError, match="a checkpoint of epoch 99"):
        run(tiny_params().finetune, [wanted(), wanted(epoch=99)], CHECKPOINTS, PREPARED)
    assert not Path("models").exists()
    assert runs() == []


def test_a_run_that_mlflow_opened_becomes_the_only_cell(finetune: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    client = tracking.connect()
    opened = client.create_run("0", run_name="opened").info.run_id
    client.log_param(opened, "seed", "7")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    finetune(wanted())
    assert [one.id for one in runs()] == [opened]


def test_a_run_that_mlflow_opened_is_none_of_several_cells(
    finetune: Callable[..., Result], tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
):
    client = tracking.connect()
    opened = client.create_run("0", run_name="opened").info.run_id
    client.log_param(opened, "seed", "7,8")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    run(tiny_params({"finetune.overlays": 0}).finetune, [wanted(), wanted(seed=8)], CHECKPOINTS, PREPARED)
    assert sorted(one.params["seed"] for one in runs()) == ["7", "8"]
    assert opened not in [one.id for one in runs()]


def test_metrics_json_is_plain_json(finetune: Callable[..., Result]):
    finetune(wanted())
    record = json.loads((folder_of(wanted()) / "metrics.json").read_text())
    assert record["format"] == "medtransfer/result/2"
    assert 0 <= record["metrics"]["dice"] <= 1

"""Whole fine-tunings of tiny models: what a cell leaves, and that it is computed once, whatever is lost or interrupted."""

import csv
import gc
import json
import logging
import math
import re
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tasks.fakes import Watched

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.errors import InputError, StageError
from medtransfer.finetune import stage, trainer
from medtransfer.finetune.evaluation import evaluate
from medtransfer.finetune.stage import REMEDY, SOLVED, _note_poor_labels, _note_poor_masks, _note_time, run
from medtransfer.finetune.train import build_model
from medtransfer.hashing import file_sha256
from medtransfer.metrics.counts import OVERLAP
from medtransfer.modes import MODES
from medtransfer.predict.model import load_model
from medtransfer.records import CellName, PreparedTarget, Result, find_checkpoint, read_tensors, series_folder
from medtransfer.tasks import TASKS
from medtransfer.tasks.segmentation import Segmentation
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.fabric import Fabric

pytestmark = pytest.mark.long

CHECKPOINTS, PREPARED = Path("checkpoints"), Path("data/prepared")
FILES = {"weights.safetensors", "model.json", "metrics.json", "per_image.csv", "overlays.png"}
DICE = TASKS["segmentation"].primary
TRAINED = [name for name, mode in MODES.items() if not mode.on_features and not mode.decoder_transferred]


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
        chosen = {"overlays": 1, **(overrides or {})}
        changed = {f"finetune.{key}": value for key, value in chosen.items() if key != "prepared"}
        prepared = Path((overrides or {}).get("prepared", PREPARED))
        (result,) = run(tiny_params(changed).finetune, [one], CHECKPOINTS, prepared, force)
        return result

    return tune


@pytest.fixture(scope="module")
def tuned(inputs: Path, tiny_params: Callable[..., Params]) -> Result:
    """Fine-tune one cell in the folder of the inputs."""
    (result,) = run(tiny_params({"finetune.overlays": 3}).finetune, [wanted()], CHECKPOINTS, PREPARED)
    return result


@pytest.fixture
def copied(tuned: Result, inputs: Path, finetune: Callable[..., Result]) -> Callable[..., Result]:
    """Return `finetune(wanted)` in a copy of that folder and its store, which a test may change."""
    shutil.copytree(inputs / "models", "models")
    shutil.copy(inputs / "mlflow.db", "mlflow.db")
    return finetune


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Put a task in place of segmentation that notes the epochs trained from now on; states are saved after every epoch."""
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)
    task = Watched()
    monkeypatch.setitem(TASKS, "segmentation", task)
    return task


@pytest.mark.parametrize("mode", TRAINED)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_mode_trains_every_encoder(encoder, mode, finetune):
    """A frozen encoder is that of the checkpoint, batch-norm statistics included; any other changes in every weight."""
    one = wanted(encoder, mode=mode)
    result = finetune(one)
    path, info = find_checkpoint(series_folder(CHECKPOINTS, encoder, "simple"), 3)
    start, before = state_hash(load_encoder(path, info)), result.encoder_hash[0]
    assert before == start
    assert (result.encoder_hash[1] == start) == MODES[mode].encoder_frozen
    tensors = read_tensors(folder_of(one) / "weights.safetensors")
    kept = read_tensors(path.with_suffix(".safetensors"))
    assert any(name.startswith("decoder.") for name in tensors)
    if MODES[mode].encoder_frozen:
        assert not any(name.startswith("encoder.") for name in tensors)  # it is that of the checkpoint
    else:
        assert not any(torch.equal(tensors[name], kept[name]) for name in kept if re.match(r"encoder\..*weight$", name))
    model = load_model(folder_of(one), CHECKPOINTS, "cpu")
    assert state_hash(model.network.encoder) == result.encoder_hash[1]
    assert {file.name for file in folder_of(one).iterdir()} == FILES


def test_the_record_holds_all_metrics_and_curves(tuned):
    path = folder_of(wanted()) / "metrics.json"
    assert Result.read(path) == tuned
    record = json.loads(path.read_text())
    assert record["format"] == "medtransfer/result/2" and 0 <= record["metrics"]["dice"] <= 1
    names = {*OVERLAP, "average_precision", "hd95", "hd95_mm"}
    assert {"dice", "jaccard", "mcc", "precision", "sensitivity", "specificity"} <= names
    per_class = {f"{name}_class_{c}" for name in names for c in (1, 2, 3)}
    pooled = {f"{name}_per_{case}" for name in ("dice", "jaccard") for case in ("image", "patient")}
    counts = {"test_images", "test_images_truly_empty", "test_images_predicted_empty", "test_constant_dice"}
    assert tuned.metrics.keys() == names | per_class | pooled | counts
    assert {name: len(curve) for name, curve in tuned.curves.items()} == {"train_loss": 2, "lr": 2}
    assert tuned.curves["lr"] == pytest.approx([0.05 * (1 - 2 / 6) ** 0.9, 0.05 * (1 - 5 / 6) ** 0.9])  # 3 steps an epoch
    assert tuned.settings["class_names"] == PreparedTarget.open(PREPARED / "sample").info.classes
    with (folder_of(wanted()) / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (tuned.task, tuned.primary, tuned.per_sample) == ("segmentation", "dice", "per_image.csv")
    assert len(rows) == 10
    assert {"image", "group", "dice", "hd95", "dice_class_1", "tp_class_3"} <= rows[0].keys()


def test_cells_say_how_long_the_rest_takes(inputs, finetune, tiny_params, caplog, monkeypatch):
    """Reused cells say no time, and count for nothing, wherever they are in the list."""
    for seed in (1, 3):
        finetune(wanted(seed=seed), {"overlays": 0})
    caplog.clear()
    caplog.set_level(logging.INFO, "medtransfer")
    known: list[tuple[int, int]] = []
    monkeypatch.setattr(stage, "_note_time", lambda spent, left: known.append((len(spent), left)) or _note_time(spent, left))
    section = tiny_params({"finetune.overlays": 0}).finetune
    run(section, [wanted(seed=seed) for seed in (1, 2, 3, 4)], CHECKPOINTS, PREPARED)
    first, second, third, fourth = [line for line in caplog.messages if ": Dice " in line]
    assert known == [(1, 1), (2, 0)] and re.match(r"finetune 2/4 .*: Dice 0\.\d{4} \(about \d+ s left\)", second)
    assert fourth.startswith("finetune 4/4") and "left" not in first + third + fourth
    assert _note_time([900.0, 200.0, 400.0], 3) == " (about 20 min left)" and not _note_time([], 3) + _note_time([200.0], 0)


def test_a_target_with_regions_is_judged_by_their_mean(tuned, finetune, caplog):
    """Also in validation, the run, the table of images and the model's record; the same model as without."""
    shutil.copytree("data/validated/sample", "data/regions/sample")
    target = PreparedTarget.open(Path("data/regions/sample"))
    regions = {"heart": [1, 2, 3], "LV": [2, 3]}
    replace(target.info, regions=regions).write(target.folder / "dataset.json")
    with caplog.at_level("INFO", "medtransfer"):
        result = finetune(wanted(), {"prepared": "data/regions"})
    assert f"Dice {result.metrics['dice']:.4f} (mean over the regions heart, LV)" in caplog.text
    means = [
        result.metrics[f"{name}_region_1"] + result.metrics[f"{name}_region_2"] for name in ("dice", "hd95", "average_precision")
    ]
    assert [2 * result.metrics[name] for name in ("dice", "hd95", "average_precision")] == pytest.approx(means)
    with (folder_of(wanted()) / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    sums = {cell: sum(int(row[f"{cell}_region_2"]) for row in rows) for cell in ("tp", "fp", "fn")}
    assert result.metrics["dice_region_2"] == (2 * sums["tp"] + 1) / (2 * sums["tp"] + sums["fp"] + sums["fn"] + 1)
    assert result.curves["validation_dice"][-1] is not None and result.settings["regions"] == regions
    (found,) = runs()
    assert found.params["regions"] == "heart; LV" and "dice_region_1" in found.metrics
    assert load_model(folder_of(wanted()), CHECKPOINTS, "cpu").info.regions == regions


def test_the_run_holds_params_curves_metrics_inputs_and_the_model(tuned, tmp_path):
    (found,) = runs()
    chosen = {"source": "sample", "origin": "simple", "encoder": "unet", "epoch": "3", "target": "sample", "mode": "full",
              "seed": "7", "train_epochs": "2", "classes": "3", "task": "segmentation", "primary": "dice"}  # fmt: skip
    assert found.params.items() >= chosen.items()
    assert found.metrics["dice"] == tuned.metrics["dice"]
    assert found.metrics.keys() == tuned.metrics.keys() | tuned.curves.keys()
    for name, curve in tuned.curves.items():
        history = tracking.connect().get_metric_history(found.id, name)
        assert [(point.step, point.value) for point in history] == list(enumerate(curve, start=1))
    inputs = tracking.connect().get_run(found.id).inputs.dataset_inputs
    assert [(one.dataset.name, one.dataset.digest) for one in inputs] == [("sample", found.params["data"])]
    tracking.fetch_artifacts(found.id, "model", tmp_path / "fetched")
    assert {file.name for file in (tmp_path / "fetched" / "model").iterdir()} == FILES


def test_the_stored_weights_are_those_that_were_tested(tuned):
    segmenter = build_segmenter(build_encoder("unet", **tuned.settings["arguments"]), 3)
    segmenter.load_state_dict(read_tensors(folder_of(wanted()) / "weights.safetensors"))
    _, info = find_checkpoint(CHECKPOINTS / "unet-simple", 3)
    contract = {"mean": info.input["mean"], "std": info.input["std"], "seed": 0}
    task = TASKS[tuned.task]
    samples = task.samples(PreparedTarget.open(PREPARED / "sample"), "test", augment=False, **contract)
    evaluation = evaluate(Fabric(accelerator="cpu", devices=1), task, segmenter, samples, tuned.settings["class_names"], 10, 0)
    assert evaluation.metrics == {name: tuned.metrics[name] for name in evaluation.metrics}


@pytest.mark.parametrize(
    ("bias", "level", "clause"),
    [
        (
            30.0,
            logging.WARNING,
            "predicts no foreground in 10 of 10 test images; raise finetune.train_epochs, try another finetune.lr",
        ),
        (-30.0, logging.INFO, None),
    ],
    ids=["nothing", "everything"],
)
def test_a_model_that_predicts_no_foreground_is_named(finetune, monkeypatch, caplog, bias, level, clause):
    """The background's logit is made to win, or to lose, in every pixel; every test slice shows the heart."""
    original = Segmentation.probabilities

    def probabilities(self, logits):
        return original(self, logits + torch.tensor([bias, 0, 0, 0])[:, None, None])

    monkeypatch.setattr(Segmentation, "probabilities", probabilities)
    caplog.set_level(logging.INFO, "medtransfer")
    result = finetune(wanted(), {"overlays": 0})
    (line,) = [record for record in caplog.records if ": Dice " in record.message]
    assert line.levelno == level
    assert clause in line.message if clause else "foreground" not in line.message
    assert result.metrics["test_images"] == 10 and result.metrics["test_images_truly_empty"] == 0
    assert result.metrics["test_images_predicted_empty"] == (10 if clause else 0)
    (found,) = runs()
    assert found.metrics["test_images_predicted_empty"] == result.metrics["test_images_predicted_empty"]
    with (folder_of(wanted()) / "per_image.csv").open() as file:
        predicted = [sum(int(row[f"{cell}_class_{c}"]) for cell in ("tp", "fp") for c in (1, 2, 3)) for row in csv.DictReader(file)]
    assert predicted.count(0) == result.metrics["test_images_predicted_empty"]


@pytest.mark.parametrize(
    ("images", "empty", "true", "alarming"), [(50, 47, 47, False), (50, 49, 47, True), (10, 5, 0, False), (10, 6, 0, True)]
)
def test_images_that_show_nothing_are_no_alarm(images, empty, true, alarming):
    counts = {"test_images": images, "test_images_predicted_empty": empty, "test_images_truly_empty": true, "dice": 0.1}
    clause, alarm = _note_poor_masks(counts, DICE)
    assert f"{empty} of {images} test images" in clause and alarm == alarming
    assert (f"({true} show none)" in clause) == bool(true)


@pytest.mark.parametrize(
    ("dice", "constant", "poor"), [(0.2, 0.25, True), (0.25, 0.25, True), (0.26, 0.25, False), (1.0, 1.0, False)]
)
@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_model_no_better_than_a_constant_mask_is_named(split, dice, constant, poor):
    """Only on test images it is a warning with a remedy: on validation images a short schedule may be meant."""
    metrics = {"dice": dice, f"{split}_constant_dice": constant, f"{split}_images": 10, f"{split}_images_truly_empty": 2}
    clause, alarm = _note_poor_masks(metrics, DICE, split)
    assert (clause.startswith(", no better than the same label in every pixel (0.2500)"), bool(clause)) == (poor, poor)
    assert alarm == ("; raise finetune" in clause) == (poor and split == "test")


@pytest.mark.parametrize("mode", TRAINED)
def test_a_loaded_model_predicts_what_was_tested(finetune, mode):
    one = wanted("resnet50", mode=mode)
    result = finetune(one, {"overlays": 0})
    model = load_model(folder_of(one), CHECKPOINTS, "cpu")
    assert model.info.key == result.key and not model.network.training
    samples = TASKS["segmentation"].samples(
        PreparedTarget.open(PREPARED / "sample"),
        "test",
        augment=False,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        seed=0,
    )
    evaluation = evaluate(
        Fabric(accelerator="cpu", devices=1), TASKS["segmentation"], model.network, samples, ["1", "2", "3"], 10, 0
    )
    assert evaluation.metrics == {name: result.metrics[name] for name in evaluation.metrics}


def test_a_decoder_is_not_loaded_onto_another_encoder(finetune):
    one = wanted(mode="decoder")
    finetune(one, {"overlays": 0})
    shutil.copytree(CHECKPOINTS, "others")
    record = Path("others/unet-simple/epoch-003.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "weights": "0" * 64}))
    with pytest.raises(
        InputError, match=r"the encoder that the decoder was trained on .* in others/unet-simple/epoch-003.json, but"
    ):
        load_model(folder_of(one), Path("others"))


def test_a_model_of_an_earlier_version_gets_its_record_without_training(finetune, watched):
    finetune(wanted(), {"overlays": 0})
    path = folder_of(wanted()) / "model.json"
    written = json.loads(path.read_text())
    path.unlink()
    with pytest.raises(InputError, match=r"earlier version.*run the same `medtransfer finetune` again"):
        load_model(folder_of(wanted()))
    for old in (None, {**written, "image_rule": None}, {"format": "medtransfer/model/1"}):
        if old:
            path.write_text(json.dumps(old))
        finetune(wanted(), {"overlays": 0})
        assert json.loads(path.read_text()) == written
    assert watched.epochs == [1, 2]


def test_without_its_weights_a_cell_is_finished_and_says_so(finetune, watched, caplog):
    result = finetune(wanted(), {"keep": "metrics"})
    assert {file.name for file in folder_of(wanted()).iterdir()} == FILES - {"weights.safetensors", "model.json"}
    (found,) = runs()
    assert [file.path for file in tracking.connect().list_artifacts(found.id, "model")] == [
        f"model/{name}" for name in sorted(FILES - {"weights.safetensors", "model.json"})
    ]
    with pytest.raises(InputError, match="finetune.keep was `metrics`; fine-tune again with `--keep weights --force`"):
        load_model(folder_of(wanted()), CHECKPOINTS)
    caplog.clear()
    assert finetune(wanted(), {"keep": "metrics"}) == result
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    shutil.rmtree(folder_of(wanted()))
    assert finetune(wanted()) == result
    assert "was not kept (finetune.keep); --force trains it again" in caplog.text
    assert watched.epochs == [1, 2]
    assert finetune(wanted(), force=True).metrics == result.metrics
    assert {file.name for file in folder_of(wanted()).iterdir()} == FILES
    finetune(wanted(), {"keep": "metrics"}, force=True)
    assert {file.name for file in folder_of(wanted()).iterdir()} == FILES - {"weights.safetensors", "model.json"}


def test_another_decoder_is_trained_and_named_or_refused(finetune):
    with pytest.raises(InputError, match=r"Swin encoder.*that fit: attention, nearest, unet"):
        finetune(wanted(), {"decoder": "swin"})
    result = finetune(wanted(), {"decoder": "attention", "overlays": 0})
    assert result.settings["decoder"] == "attention" and result.settings["build"] == "unet"
    segmenter = build_segmenter(build_encoder("unet", **result.settings["arguments"]), 3, "attention")
    segmenter.load_state_dict(read_tensors(folder_of(wanted()) / "weights.safetensors"))
    assert {file.name for file in folder_of(wanted()).iterdir()} == FILES - {"overlays.png"}


def test_overlays_are_a_picture_that_shows_something(tuned):
    picture = Image.open(folder_of(wanted()) / "overlays.png").convert("RGB")
    width, height = picture.size
    rows = [picture.crop((0, height * row // 4, width, height * (row + 1) // 4)) for row in range(3)]
    for part in [picture, *rows]:
        assert len(part.getcolors(maxcolors=2**24)) > 100
    # the truth's first class colour, blended over the grey picture, is more red than blue somewhere in the middle column
    middle = picture.crop((width // 3, 0, 2 * width // 3, height * 3 // 4))
    assert any(red - blue > 60 for _, (red, _, blue) in middle.getcolors(maxcolors=2**24))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(copied, tuned):
    sha = weights_of(wanted())
    again = copied(wanted(), {"overlays": 0}, force=True)
    assert (weights_of(wanted()), again.metrics, again.curves) == (sha, tuned.metrics, tuned.curves)
    assert len(runs()) == 1  # the newest; the older one is superseded
    copied(wanted(seed=8), {"overlays": 0})
    assert weights_of(wanted(seed=8)) != sha


@pytest.mark.parametrize("lost", ["folder", "weights.safetensors", "metrics.json"])
def test_lost_files_come_back_from_the_store(copied, tuned, watched, lost):
    sha, folder = weights_of(wanted()), folder_of(wanted())
    if lost == "folder":
        shutil.rmtree(folder)
    else:
        (folder / lost).unlink()
    assert copied(wanted()) == tuned
    assert weights_of(wanted()) == sha
    assert {file.name for file in folder.iterdir()} == FILES
    assert watched.epochs == []
    assert len(runs()) == 1
    assert not list(folder.parent.glob(".*"))


def test_a_cell_is_reused_for_the_same_recipe_and_checkpoint(copied, tuned, watched, caplog):
    with caplog.at_level("INFO", logger="medtransfer"):
        assert copied(wanted(), {"overlays": 1, "workers": 1}) == tuned  # neither changes the result
    line, result = (message for message in caplog.messages if message.startswith("finetune"))
    assert line.endswith("reused; --force does it again")
    assert result.startswith("finetune 1/1 ") and result.partition(": ")[2].startswith(f"Dice {tuned.metrics['dice']:.4f}")
    assert watched.epochs == [] and len(runs()) == 1
    replaced = f"finetune: {folder_of(wanted())} holds the model of other options or data, which this training replaces"
    with caplog.at_level("INFO", logger="medtransfer"):
        second = copied(wanted(), {"lr": 0.01})
    assert replaced in caplog.text
    assert second.key != tuned.key
    assert Result.read(folder_of(wanted()) / "metrics.json") == second
    assert len(runs()) == 2
    caplog.clear()
    with caplog.at_level("INFO", logger="medtransfer"):
        assert copied(wanted()) == tuned  # fetched back
        assert replaced in caplog.text
        caplog.clear()
        assert copied(wanted()) == tuned and "replaced" not in caplog.text
    assert watched.epochs == [1, 2]
    other = copied(wanted(epoch=0))
    assert other.key != tuned.key and other.cell["weights"] != tuned.cell["weights"]


@pytest.mark.parametrize(
    ("one", "changed"),
    [
        (wanted("resnet50", mode="decoder"), {}),
        pytest.param(wanted("swin"), {}, marks=pytest.mark.slow),
        (wanted(), {"prepared": "data/validated", "select": "validation", "epoch_steps": 2}),
        (
            wanted(),
            {
                "optimiser": "adamw",
                "loss": "dice-ce",
                "decay_norms": False,
                "clip_grad": 1.0,
                "ema_decay": 0.9,
                "warmup": 1,
                "schedule": "cosine",
                "layer_decay": 0.7,
                "class_weights": [1, 2, 2, 2],
                "validate_every": 2,
                "patience": 3,
                "prepared": "data/validated",
                "augmentation": [{"Affine": {"rotate": 20}}, {"RandomGamma": {}}],
            },
        ),
    ],
    ids=["decoder", "swin", "validation and short epochs", "every option"],
)
def test_an_interrupted_cell_resumes_to_the_same_bits(one, changed, finetune, watched, caplog):
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
        points = {epoch: value for epoch, value in enumerate(curve, start=1) if value is not None}
        assert tracking.read_curve(found.id, name) == points
    assert len(runs("KILLED")) == 1
    assert not [file for file in folder_of(one).iterdir() if file.name not in FILES]


def test_an_interrupted_evaluation_is_done_again_without_training(finetune, watched):
    chosen = {"prepared": "data/validated", "select": "validation", "overlays": 1}
    watched.interrupt_drawing = True
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted(), chosen)
    watched.interrupt_drawing = False
    finetune(wanted(), chosen)
    assert watched.epochs == [1, 2]
    assert len(runs()) == 1


def test_an_interrupted_training_keeps_the_finished_model_of_other_options(copied, tuned, watched):
    sha, watched.interrupt_epoch = weights_of(wanted()), 2
    with pytest.raises(KeyboardInterrupt):
        copied(wanted(), {"lr": 0.01})
    watched.interrupt_epoch = None
    assert Result.read(folder_of(wanted()) / "metrics.json") == tuned and weights_of(wanted()) == sha
    watched.epochs.clear()
    assert copied(wanted()) == tuned and watched.epochs == []


def test_a_state_of_another_recipe_is_not_resumed(finetune, watched):
    watched.interrupt_epoch = 2
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted())
    watched.interrupt_epoch = None
    curve = finetune(wanted(), {"lr": 0.01}).curves["lr"]
    assert curve == pytest.approx([0.01 * (1 - 2 / 6) ** 0.9, 0.01 * (1 - 5 / 6) ** 0.9])


@pytest.mark.parametrize("mode", TRAINED)
def test_no_model_outlives_its_cell(mode, finetune, monkeypatch):
    """Not even until Python looks for garbage, which may be after many cells, and their models would fill a GPU."""
    models = []

    def build(tuning):
        model = build_model(tuning)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr("medtransfer.finetune.train.build_model", build)
    gc.disable()
    try:
        for seed in (7, 8):  # PyTorch may keep what the first training of a process imports it from
            finetune(wanted(mode=mode, seed=seed))
        assert len(models) == 2 and models[1]() is None
    finally:
        gc.enable()


def test_validation_samples_select_the_epoch(finetune, watched):
    """The evaluation is made to say that epoch 1 is better than epoch 2."""
    watched.primary_values = [0.9, 0.8]
    result = finetune(wanted(), {"prepared": "data/validated", "select": "validation", "overlays": 0})
    tensors = read_tensors(folder_of(wanted()) / "weights.safetensors")
    assert result.curves["validation_dice"] == [0.9, 0.8]
    first, second = watched.weights[:2]  # at the two validations
    assert all(torch.equal(tensors[name], value) for name, value in first.items())
    assert not all(torch.equal(tensors[name], value) for name, value in second.items())
    steps = -(-PreparedTarget.open(Path("data/validated/sample")).info.counts["train"] // 10)
    assert result.curves["lr"][0] == pytest.approx(0.05 * (1 - (steps - 1) / (2 * steps)) ** 0.9)


@pytest.mark.parametrize("select", ["last", "validation"])
def test_patience_stops_and_both_epochs_are_recorded(finetune, watched, caplog, select):
    """The evaluations are made to say that epoch 2 is the best; the training is interrupted in epoch 4."""
    chosen = {"prepared": "data/validated", "select": select, "overlays": 0, "train_epochs": 9, "patience": 2}
    values = [0.1, 0.9, 0.5, 0.6]
    watched.primary_values, watched.interrupt_epoch = list(values), 4
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted(), chosen)
    assert watched.primary_values == [0.6]
    watched.interrupt_epoch = None
    with caplog.at_level("INFO", logger="medtransfer"):
        result = finetune(wanted(), chosen)
    assert "stopped after epoch 4 of 9: no better validation since epoch 2" in caplog.text
    assert watched.epochs == [1, 2, 3, 4, 4]
    assert result.curves["validation_dice"] == values and len(result.curves["train_loss"]) == 4
    assert (result.metrics["best_epoch"], result.metrics["trained_epochs"]) == (2, 4)
    steps = -(-PreparedTarget.open(Path("data/validated/sample")).info.counts["train"] // 10)
    assert result.curves["lr"][-1] == pytest.approx(0.05 * (1 - (4 * steps - 1) / (9 * steps)) ** 0.9)
    tensors = read_tensors(folder_of(wanted()) / "weights.safetensors")
    kept = watched.weights[1 if select == "validation" else 3]
    assert all(torch.equal(tensors[name], value) for name, value in kept.items())
    (found,) = runs()
    assert (found.metrics["best_epoch"], found.metrics["trained_epochs"]) == (2, 4)


def test_validation_every_few_epochs_leaves_the_training_as_it_is(finetune):
    chosen = {"prepared": "data/validated", "overlays": 0, "train_epochs": 3}
    often, seldom = (finetune(wanted(), {**chosen, "validate_every": every, "out": f"m{every}"}) for every in (1, 2))
    assert weights_of(wanted(), "m1") == weights_of(wanted(), "m2") and often.metrics == seldom.metrics
    assert often.key != seldom.key and "best_epoch" not in often.metrics
    dice = often.curves["validation_dice"]
    assert seldom.curves == {**often.curves, "validation_dice": [None, *dice[1:]]}
    points = tracking.connect().get_metric_history(
        next(one.id for one in runs() if one.params["validate_every"] == "2"), "validation_dice"
    )
    assert [(point.step, point.value) for point in points] == [(2, dice[1]), (3, dice[2])]


def test_a_curve_on_the_test_samples_leaves_the_training_as_it_is_and_ends_at_the_result(finetune):
    chosen = {"overlays": 0, "train_epochs": 3}
    plain, curved = (finetune(wanted(), {**chosen, "test_every": every, "out": f"m{every}"}) for every in (None, 2))
    assert weights_of(wanted(), "mNone") == weights_of(wanted(), "m2") and plain.metrics == curved.metrics
    first, second, last = curved.curves["test_dice"]
    assert first is None and second is not None and last == pytest.approx(curved.metrics["dice"], abs=1e-6)
    assert "test_dice" not in plain.curves and plain.key != curved.key
    history = tracking.read_curves([one.id for one in runs()], "test_dice")
    assert sorted(map(len, history.values())) == [0, 2]


def test_the_loss_of_the_validation_samples_is_monitored_and_lowers_the_rate(finetune, watched):
    """The published recipe of classification: Adam, a lower rate on a plateau, the lowest validation loss."""
    recipe = {"optimiser": "adam", "weight_decay": 0.0, "lr": 0.03, "schedule": "plateau", "plateau_patience": 0,
              "monitor": "loss", "select": "validation", "patience": 4, "train_epochs": 6}  # fmt: skip
    result = finetune(wanted(), {"prepared": "data/validated", "overlays": 0, **recipe})
    losses, rates = result.curves["validation_loss"], result.curves["lr"]
    assert len(losses) == len(rates) == result.metrics["trained_epochs"]
    assert result.metrics["best_epoch"] == 1 + losses.index(min(losses))
    best, expected = math.inf, [0.03]
    for loss in losses[:-1]:
        expected.append(expected[-1] if loss < best * (1 - 1e-4) else expected[-1] / 2)
        best = min(best, loss) if loss < best * (1 - 1e-4) else best
    assert rates == pytest.approx(expected)
    tensors = read_tensors(folder_of(wanted()) / "weights.safetensors")
    kept = watched.weights[int(result.metrics["best_epoch"]) - 1]
    assert all(torch.equal(tensors[name], value) for name, value in kept.items())


def test_every_fault_shows_before_any_work(finetune, tiny_params):
    with pytest.raises(InputError, match="validation samples in data/prepared/sample, since finetune.select"):
        finetune(wanted(), {"select": "validation"})
    with pytest.raises(InputError, match="validation samples in data/prepared/sample, since finetune.patience is set"):
        finetune(wanted(), {"patience": 3})
    with pytest.raises(InputError, match="finetune.loss to be one of dice, soft-dice, .* for the task segmentation .* got 'hinge'"):
        finetune(wanted(), {"loss": "hinge"})
    with pytest.raises(InputError, match=r"4 finetune.class_weights for .*, of the background and RV .* but got \[1.0, 5.0\]"):
        finetune(wanted(), {"class_weights": [1, 5]})
    with pytest.raises(InputError, match="a transform of albumentations in finetune.augmentation, .* but got 'Twirl'"):
        finetune(wanted(), {"augmentation": [{"Twirl": {}}]})
    with pytest.raises(InputError, match="a checkpoint of epoch 99"):
        run(tiny_params().finetune, [wanted(), wanted(epoch=99)], CHECKPOINTS, PREPARED)
    assert not Path("models").exists()
    assert all(runs(status) == [] for status in ("FINISHED", "FAILED", "RUNNING"))


def test_a_changed_frozen_encoder_or_an_infinite_loss_fails(finetune, watched):
    watched.spoil = True
    with pytest.raises(StageError, match="the frozen encoder of .* changed in training"):
        finetune(wanted(mode="decoder"))
    watched.spoil, watched.factor = False, math.nan
    with pytest.raises(StageError, match=r"nan at optimiser step 1 \(epoch 1, .*\); no state was saved .* lower finetune.lr"):
        finetune(wanted())
    assert [len(runs(status)) for status in ("FINISHED", "FAILED")] == [0, 2]
    assert not list(Path("models").rglob("metrics.json"))


@pytest.mark.parametrize("seeds", [[7], [7, 8]])
def test_a_run_that_mlflow_opened_becomes_a_single_cell(finetune, tiny_params, monkeypatch, seeds):
    client = tracking.connect()
    opened = client.create_run("0", run_name="opened").info.run_id
    client.log_param(opened, "seed", ",".join(map(str, seeds)))
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    run(tiny_params({"finetune.overlays": 0}).finetune, [wanted(seed=seed) for seed in seeds], CHECKPOINTS, PREPARED)
    assert sorted(int(one.params["seed"]) for one in runs()) == seeds
    assert (opened in [one.id for one in runs()]) == (len(seeds) == 1)


@pytest.mark.parametrize(
    ("task", "value", "alarming"),
    [("ordinal", 0.0, True), ("ordinal", 0.01, False), ("binary", 0.5, True), ("binary", 0.48, True), ("binary", 0.51, False)],
)
def test_labels_that_are_predicted_by_chance_are_an_alarm(task: str, value: float, alarming: bool):
    """Kappa is 0 and AUC .5 by chance."""
    primary = TASKS[task].primary
    clause, alarm = _note_poor_labels({primary.name: value}, primary, ["a", "b"])
    assert alarm == alarming and ("no better than chance" in clause) == alarming


@pytest.mark.parametrize(("mode", "remedy"), [("linear", SOLVED), ("full", REMEDY), ("fused", REMEDY)])
def test_what_is_solved_for_is_not_helped_by_longer_training(mode, remedy, tiny_params, monkeypatch, caplog):
    tuning = SimpleNamespace(
        cell=SimpleNamespace(name="one", mode=mode, key="k"), task=TASKS["binary"], protocol=SimpleNamespace(evaluate="test"),
        class_names=["large"], target=SimpleNamespace(info=SimpleNamespace(regions={})),
    )  # fmt: skip
    monkeypatch.setattr("medtransfer.finetune.stage._prepare", lambda *_: [tuning])
    monkeypatch.setattr("medtransfer.finetune.stage.complete", lambda *_: (SimpleNamespace(metrics={"auc": 0.5}), False))
    run(tiny_params().finetune, [], Path("checkpoints"), Path("prepared"))
    assert caplog.messages[-1].endswith(f", no better than chance (0.5); {remedy}")


@pytest.mark.parametrize(
    ("images", "most", "true", "alarming"),
    [(60, 59, 30, True), (60, 57, 30, True), (60, 56, 30, False), (100, 97, 96, False), (100, 99, 97, True), (9, 9, 9, False)],
)
def test_images_that_are_mostly_of_one_class_are_no_alarm(images: int, most: int, true: int, alarming: bool):
    counts = {"test_images": images, "test_images_commonest_class": 1, "test_images_predicted_commonest": most}
    metrics = {"auc": 0.9, **counts, "test_images_truly_commonest": true}
    clause, alarm = _note_poor_labels(metrics, TASKS["binary"].primary, ["not large", "large"])
    assert alarm == alarming
    assert (f", calls {most} of {images} test images large ({true} are); raise" in clause) == alarming

"""A target of four channels through every stage, from raw data of nnU-Net to masks and an ONNX file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.prepare.volume_layouts import write_nnunet

from medtransfer import study
from medtransfer.config import Params
from medtransfer.export.stage import run as export
from medtransfer.finetune.stage import run as finetune
from medtransfer.predict.model import load_model
from medtransfer.predict.stage import run as predict
from medtransfer.rank.stage import run as rank
from medtransfer.records import CellName, Scores, read_tensors

CHOSEN = {
    "prepare.target": "brain", "score.target": "brain", "finetune.target": "brain", "rank.target": "brain",
    "pretrain.epochs": 1, "pretrain.checkpoints": [], "rank.workers": 1, "rank.indicators": ["robustness", "logme"],
    "rank.by": "logme", "rank.repeats": 1, "rank.blocks": 3, "finetune.epoch": 1, "finetune.train_epochs": 1,
    "finetune.batch_size": 11,  # of 12: one slice is left over
}  # fmt: skip
MODES = pytest.mark.parametrize("mode", ["full", "decoder"])


@pytest.fixture(scope="module")
def params(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a maker of params; the target is prepared, the encoder pretrained."""
    root = write_nnunet(shared_workplace / "raw", channels=4)
    brain = {
        "reader": "nnunet", "root": str(root), "size": [32, 32], "subset": False, "split": "official", "validation": 0.0,
        "allow_duplicates": False, "options": {},
    }  # fmt: skip
    changed = CHOSEN | {f"prepare.targets.brain.{key}": value for key, value in brain.items()}

    def make(overrides: dict[str, Any] | None = None) -> Params:
        return tiny_params(changed | (overrides or {}))

    study.prepare(make())
    study.pretrain(make())
    return make


@pytest.fixture(scope="module")
def models(params: Callable[..., Params]) -> dict[str, Path]:
    cells = [CellName("brain", "unet", "simple", 1, mode, 7) for mode in ("full", "decoder")]
    finetune(params({"finetune.overlays": 1}).finetune, cells, Path("checkpoints"), Path("data/prepared"), False)
    return {cell.mode: cell.folder(Path("models")) for cell in cells}


@pytest.mark.slow
def test_pretrained_and_random_encoders_are_scored_and_ranked(params: Callable[..., Params]) -> None:
    text = rank(params({"rank.candidates": ["checkpoints/unet-simple", "random@test_resnet"], "rank.out": "rank"}))
    assert "Left out" not in text
    with Path("rank/candidates.csv").open(encoding="utf-8") as file:
        assert file.read().count("first layer adapted from 3 to 4 channels: weights repeated, times 3/4") == 3
    study.score(params())
    for epoch in (0, 1):
        scores = Scores.read(Path(f"scores/brain/unet-simple/epoch-{epoch:03d}.json"))
        assert all(row.value is not None and np.isfinite(row.value) for row in scores.rows)


@pytest.mark.slow
@MODES
def test_a_model_tells_how_its_encoder_was_adapted(mode: str, models: dict[str, Path]) -> None:
    record = json.loads((models[mode] / "model.json").read_text())
    assert record["channels"] == 4 and record["arguments"]["in_channels"] == 4
    assert record["mean"] == [*record["mean"][:3], record["mean"][0]] and len(record["std"]) == 4
    assert record["lineage"][-1] == "first layer adapted from 3 to 4 channels: weights repeated, times 3/4"
    assert record["image_rule"]["channels"] == [0, 1, 2, 3]
    assert (models[mode] / "overlays.png").exists()
    model = load_model(models[mode], accelerator="cpu")
    own = read_tensors(Path("checkpoints/unet-simple/epoch-001.safetensors"))["encoder.stem.0.weight"].numpy()
    adapted = model.network.encoder.stem[0].weight.detach().numpy()
    frozen = np.allclose(adapted, own[:, [0, 1, 2, 0]] * 0.75, atol=1e-7)
    assert adapted.shape[1] == 4 and frozen == (mode == "decoder")


@pytest.mark.slow
@pytest.mark.parametrize(("images", "seen"), [("imagesTr", True), ("imagesTs", False)])
def test_metrics_of_training_images_are_told_from_those_of_others(
    images: str, seen: bool, models: dict[str, Path], params: Callable[..., Params], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    values = {
        "predict.model": [str(models["full"])], "predict.images": f"raw/{images}", "predict.accelerator": "cpu",
        "predict.masks": f"raw/{images.replace('images', 'labels')}", "predict.out": str(tmp_path / "out"),
        "predict.channels": ["_0000", "_0001", "_0002", "_0003"],
    }  # fmt: skip
    predict(params(values).predict, Path("checkpoints"), Path("data/prepared"))
    count = len(list(Path(f"raw/{images}").glob("*_0000.nii.gz")))
    first = f"{images[-2:]}_00{int(not seen)}"
    said = f"{count} of the {count} images, such as {first}, are of the training or validation samples of brain"
    assert (said in caplog.text) == seen and ("training or validation" in caplog.text) == seen
    caplog.clear()
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in Path(f"raw/{images}").glob(f"{first}_*"):
        shutil.copy(path, alone)
    values |= {"predict.images": str(alone), "predict.out": str(tmp_path / "out-alone")}
    predict(params(values).predict, Path("checkpoints"), Path("data/prepared"))
    assert (f"predict: the image {first} is of the training or validation samples of brain" in caplog.text) == seen
    caplog.clear()
    predict(params(values).predict, Path("checkpoints"), tmp_path / "nothing")  # where the target is not, nothing is known
    assert "training or validation" not in caplog.text


@pytest.mark.slow
@MODES
def test_its_test_cases_are_predicted_from_files_of_their_channels(
    mode: str, models: dict[str, Path], params: Callable[..., Params]
) -> None:  # fmt: skip
    out = Path("predicted") / mode
    text = predict(
        params({
            "predict.model": [str(models[mode])], "predict.images": "raw/imagesTs", "predict.masks": "raw/labelsTs",
            "predict.channels": ["_0000", "_0001", "_0002", "_0003"], "predict.out": str(out), "predict.accelerator": "cpu",
        }).predict, Path("checkpoints"), Path("data/prepared"),
    )  # fmt: skip
    assert "masks of 2 volumes" in text
    assert nib.load(out / "masks/Ts_001.nii.gz").shape == (12, 10, 3)


@pytest.mark.slow
def test_it_is_exported_to_onnx(models: dict[str, Path], params: Callable[..., Params]) -> None:
    section = params({"export.model": str(models["decoder"]), "export.format": "onnx", "export.out": "exports"}).export
    export(section, Path("checkpoints"))  # which compares the predictions
    import onnxruntime

    (file,) = Path("exports").glob("**/model.onnx")
    (entry,) = onnxruntime.InferenceSession(file).get_inputs()
    assert entry.shape == ["batch", 32, 32, 4]

"""Models of random weights, and one that sees what is bright: where it finds something is known without our code."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_encoders import TINIEST
from torch import Tensor

from medtransfer.config import Predict, load_params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.hashing import file_sha256
from medtransfer.predict.model import Model
from medtransfer.predict.stage import run
from medtransfer.records import Cell, ImageRule, ModelInfo, write_tensors
from medtransfer.tasks import TASKS

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PARAMS = Path(__file__).parents[2] / "params.yaml"
OWN = ImageRule("percentiles", 0.5, 99.5, over="image")


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Return `make_model(name, seed, ...)`, which writes a model of random weights and returns its folder."""

    def make(name: str = "model", seed: int = 0, build: str = "unet", rule: ImageRule | None = OWN, **changed: Any) -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        cell = Cell("made", build, "simple", 1, "full", seed, "sample", "p", "a", "w", "d")
        fields: dict[str, Any] = {
            "cell": asdict(cell), "key": cell.key, "task": "segmentation", "classes": ["lesion"], "thresholds": [0.5],
            "build": build, "arguments": TINIEST[build], "decoder": None, "input": [32, 32], "size": [32, 32], "channels": 1,
            "mean": MEAN, "std": STD, "image_rule": rule and asdict(rule), "parts": ["encoder", "decoder"], "kind": "supervised",
            "lineage": [], "licence": "", "git_revision": "none", **changed,
        }  # fmt: skip
        network = TASKS[fields["task"]].model(build_encoder(build, **fields["arguments"]), len(fields["classes"]))
        for part, number in ((network.encoder, seed), (network.decoder, seed + 1)):
            initialise(part, number)
        write_tensors(folder / "weights.safetensors", network.state_dict())
        ModelInfo(**fields, weights=file_sha256(folder / "weights.safetensors")).write(folder / "model.json")
        return folder

    return make


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Let every model's probability be the stored value of a pixel; return the images that models are given."""
    seen: list[Tensor] = []

    def probabilities(self: Model, images: Tensor) -> Tensor:
        seen.append(images)
        return images[:, :1] * STD[0] + MEAN[0]

    monkeypatch.setattr(Model, "probabilities", probabilities)
    return seen


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def predict(tmp_path: Path, workplace: Path) -> Callable[..., str]:
    """Return `predict(models, images, **options)`, which predicts to the folder `out`, and has a store."""

    def call(models: list[Path], images: Path, force: bool = False, **options: Any) -> str:
        values = {
            "model": [str(model) for model in models], "images": str(images), "out": str(tmp_path / "out"), "accelerator": "cpu",
            **options,
        }  # fmt: skip
        section: Predict = load_params([PARAMS], {f"predict.{key}": value for key, value in values.items()}).predict
        return run(section, tmp_path / "checkpoints", tmp_path / "prepared", force)

    return call

"""Every format of every encoder, against the network with scaling and sigmoid written out here."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from tests.export.models import MEAN, RULE, STD, write_model
from tests.tiny_encoders import TINIEST

from medtransfer import load_model
from medtransfer.errors import InputError
from medtransfer.export.formats import FORMATS, mlflow_model
from medtransfer.export.graph import Graph
from medtransfer.predict.model import Model

pytestmark = pytest.mark.long

SIZE = 32
EVERY_ENCODER = pytest.mark.parametrize(
    "build", ["unet", *(pytest.param(name, marks=pytest.mark.slow) for name in TINIEST if name not in {"unet", "swin"})]
)


def model_of(folder: Path, build: str = "unet", **changes) -> Model:
    return load_model(write_model(folder, build, TINIEST[build], SIZE, **changes), accelerator="cpu")


def images(number: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (number, SIZE, SIZE, channels), np.uint8)


def by_hand(model: Model, pixels: np.ndarray) -> np.ndarray:
    """Scale, normalise, and apply the sigmoid or softmax in numpy, in double precision but for the network."""
    scaled = (np.repeat(pixels, 3 // pixels.shape[-1], axis=-1) / 255 - MEAN) / STD
    with torch.no_grad():
        logits = model.network(torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)).double().numpy()
    raised = np.exp(logits)
    return raised / (1 + raised) if logits.shape[1] == 1 else raised / raised.sum(1, keepdims=True)


def written(name: str, model: Model, folder: Path) -> Path:
    folder.mkdir()
    FORMATS[name].require()
    FORMATS[name].write(model, folder)
    assert FORMATS[name].difference(model, folder) < 1e-5
    return folder


@pytest.mark.parametrize("name", ["folder", "torch"])
def test_four_channels_are_exported(name, tmp_path):
    arguments = {**TINIEST["unet"], "in_channels": 4}
    rule = {**RULE, "over": "volume", "channels": [0, 1, 2, 3]}
    folder = write_model(
        tmp_path / "model", "unet", arguments, SIZE, channels=4, mean=[*MEAN, 0.4], std=[*STD, 0.2], image_rule=rule
    )
    model = load_model(folder, accelerator="cpu")
    assert FORMATS[name].interface(model.info)["input"]["shape"] == [None, SIZE, SIZE, 4]
    pixels = images(2, 4)
    scaled = (pixels / 255 - [*MEAN, 0.4]) / [*STD, 0.2]
    with torch.no_grad():
        expected = model.network(torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)).sigmoid().numpy()
    np.testing.assert_allclose(model.predict(pixels), expected, atol=1e-5)
    written(name, model, tmp_path / "out")


@pytest.mark.parametrize(("taken", "of", "count"), [([0, 2], 4, 4), ([1, 3], 6, 6), ([0, 2], None, 3)])
def test_an_mlflow_model_is_checked_by_images_of_the_channels_that_its_target_had(taken, of, count, tmp_path):
    rule = {**RULE, "over": "volume", "channels": taken, "of_channels": of}
    arguments = {**TINIEST["unet"], "in_channels": 2}
    folder = write_model(tmp_path / "model", "unet", arguments, SIZE, channels=2, mean=MEAN[:2], std=STD[:2], image_rule=rule)
    model = load_model(folder, accelerator="cpu")
    pixels = mlflow_model._images(model.info)
    assert pixels.shape[-1] == count
    assert len(model.predict(pixels.astype(np.uint8))) == 2


@EVERY_ENCODER
@pytest.mark.filterwarnings("error:No complete tensor")  # PyTorch's, of weights whose layout it does not know
def test_torch_programs_predict_as_the_model(build, tmp_path):
    model = model_of(tmp_path / "model", build)
    program = torch.export.load(written("torch", model, tmp_path / "out") / "model.pt2").module()
    for number in (1, 4):
        pixels = images(number)
        expected = by_hand(model, pixels)
        assert expected.std() > 1e-4  # not the same everywhere
        np.testing.assert_allclose(program(torch.from_numpy(pixels)).numpy(force=True), expected, atol=1e-5)


@pytest.mark.slow
@EVERY_ENCODER
def test_onnx_files_predict_as_the_model(build, tmp_path):
    import onnxruntime

    model = model_of(tmp_path / "model", build, classes=["disc", "cup"], channels=1)
    (file,) = written("onnx", model, tmp_path / "out").iterdir()
    session = onnxruntime.InferenceSession(file)
    (entry,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("pixels", "tensor(uint8)", ["batch", SIZE, SIZE, 1])
    assert (answer.name, answer.type, answer.shape) == ("probabilities", "tensor(float)", ["batch", 3, SIZE, SIZE])
    for number in (1, 4):
        pixels = images(number, 1)
        np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], by_hand(model, pixels), atol=1e-5)


def test_without_its_packages_onnx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        InputError, match=r"but onnxruntime cannot be imported; install them with `pip install 'medtransfer\[onnx\]'`"
    ):
        FORMATS["onnx"].require()


def test_a_folder_predicts_the_same_bits(tmp_path):
    model = model_of(tmp_path / "model", "timm")
    folder = written("folder", model, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {"model.json", "weights.safetensors"}
    np.testing.assert_array_equal(load_model(folder, accelerator="cpu").predict(images(2)), model.predict(images(2)))


@pytest.mark.parametrize("name", ["folder", "mlflow"])
def test_a_difference_is_seen(name, tmp_path):
    """The comparison runs what was written, not the model in memory."""
    model = model_of(tmp_path / "model")
    folder = written(name, model, tmp_path / "out")
    with torch.no_grad():
        for parameter in model.network.decoder.parameters():
            parameter.mul_(-1.5)
    assert FORMATS[name].difference(model, folder) > 1e-3


def test_the_graph_has_its_means_and_no_training(tmp_path):
    model = model_of(tmp_path / "model")
    with torch.no_grad():
        found = Graph(model)(torch.from_numpy(images(2))).numpy()
    np.testing.assert_allclose(found, by_hand(model, images(2)), atol=1e-5)
    assert not any(module.training for module in model.network.modules())


def test_an_mlflow_model_describes_itself(tmp_path):
    import yaml

    folder = written("mlflow", model_of(tmp_path / "model"), tmp_path / "out")
    described = yaml.safe_load((folder / "MLmodel").read_text())
    (entry,) = json.loads(described["signature"]["inputs"])
    assert entry["tensor-spec"] == {"dtype": "float32", "shape": [-1, -1, -1, 3]}
    assert (folder / "code/medtransfer/export/serving.py").exists() and (folder / "input_example.json").exists()
    assert not list(folder.rglob("*.pkl"))
    pinned = (folder / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in pinned) and {"torch", "mlflow"} <= {
        line.split("==")[0] for line in pinned
    }


@pytest.mark.slow
def test_a_served_model_imports_only_what_it_pins(tmp_path):
    """Else a server in a new environment, where medtransfer is not installed, would end at its first request."""
    folder = written("mlflow", model_of(tmp_path / "model"), tmp_path / "out")
    code = (
        "import sys; sys.path.insert(0, 'code'); import numpy as np; from medtransfer.export.serving import _load_pyfunc; "
        "_load_pyfunc('data/model').predict(np.zeros((1, 40, 40, 3), np.float32)); "
        "import medtransfer; assert 'code/medtransfer' in medtransfer.__file__; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    loaded = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    homes = importlib.metadata.packages_distributions()
    imported = {home.lower().replace("_", "-") for module in loaded.stdout.split() for home in homes.get(module, [])}
    required = {Requirement(line).name for line in (Path(__file__).parents[2] / "requirements.txt").read_text().split()}
    pinned = {line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    assert "torch" in imported and imported & required <= with_requirements(pinned)


def with_requirements(names: set[str]) -> set[str]:
    """Return distributions and all that pip installs with them."""
    done: set[str] = set()
    while waiting := names - done:
        done |= waiting
        installed = (importlib.metadata.requires(name) or [] for name in waiting)
        lines = [Requirement(line) for wanted in installed for line in wanted]
        names = names | {
            line.name.lower().replace("_", "-") for line in lines if not line.marker or line.marker.evaluate({"extra": ""})
        }
    return done

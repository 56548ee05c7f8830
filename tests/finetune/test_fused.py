"""A fusion of checkpoints goes the whole way: its sources stay frozen, features are stored, and the model is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.label_targets import relabel
from tests.tiny_encoders import TINIEST
from torch import nn

from medtransfer import study
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.finetune.evaluation import evaluate
from medtransfer.finetune.stage import run
from medtransfer.predict.model import load_model
from medtransfer.records import CellName, CheckpointInfo, ModelInfo, PreparedTarget, Provenance, Result
from medtransfer.tasks import TASKS
from medtransfer.training.checkpoints import load_encoder, save_checkpoint
from medtransfer.training.fabric import Fabric

pytestmark = pytest.mark.long

CHECKPOINTS, PREPARED, MODELS = Path("checkpoints"), Path("data/prepared"), Path("models")
SOURCES = ["checkpoints/unet-mine/epoch-004", "checkpoints/timm-mine/epoch-004.json"]
FUSIONS = {"dvme": {}, "plain": {"attention": False}, "by-source": {"tokens": "source"}}


def fused(params: Callable[..., Params], name: str, sources: list[str] = SOURCES, **changed: object) -> Params:
    return params({
        "pretrain.encoder": name, "pretrain.encoders": {name: {"build": "fused", "projection": 8, **FUSIONS.get(name, {})}},
        "pretrain.origin": "mine", "pretrain.origins.mine": {"kind": "fused", "sources": sources}, **changed,
    })  # fmt: skip


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Prepare a target of masks and one of labels, two checkpoints, and three fusions of them."""
    target = study.prepare(tiny_params({"prepare.targets.sample.validation": 0.34}))
    relabel(target, "binary", PREPARED / "binary")
    for name, mean in (("unet", 0.5), ("timm", 0.25)):
        encoder = build_encoder(name, **TINIEST[name])
        initialise(encoder, 1)
        save_checkpoint(CHECKPOINTS / f"{name}-mine", nn.ModuleDict({"encoder": encoder}), Provenance(
            encoder=name, origin="mine", kind="file", epoch=4, source=name, source_classes=[], seed=1, pretraining="p",
            lineage=["theirs.pth 77"], licence=f"of {name}",
            input={"size": 32, "mean": [mean] * 3, "std": [0.5] * 3, "channels": "RGB"},
        ))  # fmt: skip
    for name in FUSIONS:
        study.pretrain(fused(tiny_params, name))
    return shared_workplace


@pytest.fixture
def finetune(inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Result]:
    for name in ("checkpoints", "data"):
        shutil.copytree(inputs / name, workplace / name)

    def call(target: str, mode: str, encoder: str = "dvme", seed: int = 7, epoch: int = 1, **values: object) -> Result:
        params = tiny_params({f"finetune.{name}": value for name, value in values.items()})
        (result,) = run(params.finetune, [CellName(target, encoder, "mine", epoch, mode, seed)], CHECKPOINTS, PREPARED)
        return result

    return call


def folder_of(target: str, mode: str, encoder: str = "dvme") -> Path:
    return CellName(target, encoder, "mine", 1, mode, 7).folder(MODELS)


def test_a_fusion_records_its_parents(inputs: Path):
    parents = [CheckpointInfo.read(inputs / Path(source).with_suffix(".json")) for source in SOURCES]
    info = CheckpointInfo.read(inputs / "checkpoints/dvme-mine/epoch-001.json")
    lines = [f"{p.encoder}-mine/epoch-004.safetensors {p.weights}" for p in parents]
    assert info.lineage == ["theirs.pth 77", *lines]
    assert (info.source, info.licence, info.input["mean"]) == ("unet+timm", "of unet, of timm", [0.0] * 3)
    encoder = load_encoder(inputs / "checkpoints/dvme-mine/epoch-001.json", info)
    own = [load_encoder(inputs / Path(s).with_suffix(".json"), p) for s, p in zip(SOURCES, parents, strict=True)]
    assert [state_hash(source) for source in encoder.sources] == [state_hash(source) for source in own]
    assert CheckpointInfo.read(inputs / "checkpoints/dvme-mine/epoch-000.json").lineage == []


@pytest.mark.parametrize(
    ("target", "mode", "encoder", "values"),
    [
        ("binary", "fused", "dvme", {"select": "validation"}), ("binary", "fused", "by-source", {"ema_decay": 0.5}),
        ("binary", "fused", "plain", {}), ("binary", "linear", "dvme", {}), ("sample", "decoder", "dvme", {}),
    ],
)  # fmt: skip
def test_the_sources_stay_frozen_and_the_model_that_was_tested_is_loaded(target, mode, encoder, values, finetune):
    result = finetune(target, mode, encoder, **values)
    assert result.encoder_hash[0] == result.encoder_hash[1]
    model, opened = load_model(folder_of(target, mode, encoder), CHECKPOINTS, "cpu"), PreparedTarget.open(PREPARED / target)
    assert state_hash(model.network.encoder) == result.encoder_hash[0]
    assert any("unet-mine/epoch-004" in line for line in model.info.lineage)
    again = {}
    for split in ("test", "validation"):
        task = TASKS[opened.info.task]
        samples = task.samples(opened, split, augment=False, mean=model.info.mean, std=model.info.std, seed=0)
        fabric = Fabric(accelerator="cpu", devices=1)
        again[split] = evaluate(fabric, task, model.network, samples, opened.info.classes, 10, 0).metrics
    assert {name: result.metrics[name] for name in again["test"]} == again["test"]
    curve = result.curves[f"validation_{result.primary}"]  # on stored features, where the mode is for labels
    kept = int(result.metrics.get("best_epoch", len(curve)))
    assert curve[kept - 1] == pytest.approx(again["validation"][result.primary], abs=1e-6)


def test_heads_of_the_same_sources_share_the_stored_features(finetune):
    for encoder in ("dvme", "plain"):
        finetune("binary", "fused", encoder)
    finetune("binary", "linear", "dvme")
    assert len(list((MODELS / ".features").iterdir())) == 2  # of the training and the validation samples
    finetune("binary", "linear", "dvme", epoch=0)
    assert len(list((MODELS / ".features").iterdir())) == 3


def test_one_source_is_a_fusion_too(finetune):
    finetune("binary", "fused", "unet", epoch=4)
    folder = CellName("binary", "unet", "mine", 4, "fused", 7).folder(MODELS)
    assert ModelInfo.read(folder / "model.json").decoder == "fused"
    assert np.isfinite(load_model(folder, CHECKPOINTS, "cpu").predict(np.zeros((1, 32, 32, 1), np.uint8))).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sources": ["checkpoints/vgg-mine/epoch-004"]}, r"the checkpoint checkpoints/vgg-mine/epoch-004.json, which pretrain.or"),
        ({"sources": ["checkpoints/dvme-mine/epoch-001"]}, "that can be fused, but .* no fusions"),
        ({"name": "unet", "pretrain.encoders": {"unet": {"build": "unet"}}}, "build fused without `sources` for the origin mine"),
    ],
)
def test_what_cannot_be_fused_is_refused(changed, message, inputs, tiny_params, monkeypatch):
    monkeypatch.chdir(inputs)
    before = sorted(CHECKPOINTS.rglob("*"))
    with pytest.raises(InputError, match=message):
        study.pretrain(fused(tiny_params, **{"name": "other", **changed}))
    assert sorted(CHECKPOINTS.rglob("epoch-*")) == [path for path in before if path.name.startswith("epoch-")]


def test_a_fusion_head_is_for_labels_of_images(finetune):
    with pytest.raises(InputError, match="labels of images for the mode fused, .* is for segmentation; take the mode decoder"):
        finetune("sample", "fused")

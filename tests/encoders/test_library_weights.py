"""Weights of torchvision and timm load whole and give those libraries' own features."""

from functools import partial
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.weight_names import microsoft_swin, torchvision_swin
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError

pytestmark = pytest.mark.long

IMAGE = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))


def unsettle(network: nn.Module) -> nn.Module:
    """Move the norms off 1 and 0, so that a norm or a statistic that was not loaded shows."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in network.state_dict().items():
        if "running_var" in name or ("norm" in name or "bn" in name) and name.endswith("weight"):
            tensor.copy_(torch.empty(tensor.shape).uniform_(0.8, 1.2, generator=generator))
        elif "running_mean" in name or name.endswith("bias"):
            tensor.copy_(torch.empty(tensor.shape).normal_(0, 0.1, generator=generator))
    return network.eval()


def outputs(network: nn.Module, names: list[str]) -> list[Tensor]:
    """Return what the named modules of a network put out."""
    kept: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda m, i, out, name=name: kept.update({name: out.clone()}))
    with torch.no_grad():
        network(IMAGE)
    return [kept[name] for name in names]


# relu works in place on what bn1 puts out first, so the first convolution's level is taken after it
RESNET, SWIN = ["layer1", "layer2", "layer3", "layer4"], {"depths": [2, 2, 6, 2]}
LIBRARIES: dict[str, tuple[Any, ...]] = {  # network, its modules, our encoder, the mapping of names, ends of those left out
    "torchvision's ResNet50": (torchvision.models.resnet50, ["relu", *RESNET], ("resnet50", {}), "direct", {"weight", "bias"}),
    "timm's ResNet50": (
        partial(timm.create_model, "resnet50"), ["act1", *RESNET], ("resnet50", {}), "direct", {"weight", "bias"},
    ),
    "torchvision's Swin-T": (
        torchvision.models.swin_t, ["features.1", "features.3", "features.5", "norm"], ("swin", SWIN), "torchvision-swin",
        {"weight", "bias", "relative_position_index"},
    ),
    "timm's Swin-T": (
        partial(timm.create_model, "swin_tiny_patch4_window7_224"), ["layers.0", "layers.1", "layers.2", "norm"], ("swin", SWIN),
        "direct", {"weight", "bias"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARIES)
def test_weights_of_libraries_load_whole_and_give_their_features(name, tmp_path):
    make, modules, (build, arguments), mapping, left_out = LIBRARIES[name]
    torch.manual_seed(1)
    network = unsettle(make())
    path = tmp_path / ("weights.pth" if name.endswith("ResNet50") else "weights.safetensors")
    torch.save(network.state_dict(), path) if path.suffix == ".pth" else save_file(network.state_dict(), path)
    encoder = build_encoder(build, **arguments)
    audit = load_encoder_weights(encoder, read_weights(path, allow_pickle=True), source="library")
    assert audit.complete and audit.changed > 0.99 and audit.mapping == mapping
    assert {name.split(".")[-1] for name in audit.left_out} == left_out
    with torch.no_grad():
        maps = encoder.eval()(IMAGE)
    for ours, theirs in zip(maps, outputs(network, modules), strict=True):
        theirs = theirs.permute(0, 3, 1, 2) if build == "swin" else theirs
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_swin_authors_names():
    """Their file counts the merging layer as the end of a stage, and holds buffers that are computed here."""
    ours = build_encoder("swin", depths=[2, 2, 6, 2])
    theirs = {}
    for name, tensor in ours.state_dict().items():
        stage = name.split(".")[1]
        renamed = name.replace(f"layers.{stage}.down", f"layers.{int(stage) - 1}.down") if "down" in name else name
        theirs[renamed] = tensor + 0.5
    theirs["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    theirs["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    audit = load_encoder_weights(ours, theirs, source="authors")
    assert audit.complete and audit.changed > 0.99
    assert audit.mapping == "microsoft-swin" and len(audit.left_out) == 2


def test_the_paper_depths_refuse_the_weights_of_swin_t():
    with pytest.raises(InputError, match="unexpected"):
        load_encoder_weights(build_encoder("swin"), torchvision.models.swin_t().state_dict(), source="swin_t")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.0.0.weight", "patch_embed.proj.weight"),
        ("features.0.2.bias", "patch_embed.norm.bias"),
        ("features.1.0.norm1.weight", "layers.0.blocks.0.norm1.weight"),
        ("features.5.3.mlp.0.weight", "layers.2.blocks.3.mlp.fc1.weight"),
        ("features.5.3.mlp.3.bias", "layers.2.blocks.3.mlp.fc2.bias"),
        ("features.2.reduction.weight", "layers.1.downsample.reduction.weight"),
        ("features.6.norm.bias", "layers.3.downsample.norm.bias"),
        ("features.7.1.attn.relative_position_index", None),
        ("features.7.1.attn.relative_position_bias_table", "layers.3.blocks.1.attn.relative_position_bias_table"),
        ("norm.weight", "norm.weight"),
    ],
)
def test_torchvision_names_by_hand(theirs, ours):
    assert torchvision_swin(theirs) == ours


def test_microsoft_names_by_hand():
    assert microsoft_swin("layers.0.downsample.norm.weight") == "layers.1.downsample.norm.weight"
    assert microsoft_swin("layers.2.blocks.1.norm1.bias") == "layers.2.blocks.1.norm1.bias"

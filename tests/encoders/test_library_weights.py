"""Weights of torchvision and timm load whole and give those libraries' own features."""

from collections.abc import Iterator

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.weight_names import microsoft_swin, torchvision_swin
from medtransfer.encoders.weights import LoadAudit, load_encoder_weights, read_weights
from medtransfer.errors import InputError

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


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """Return torchvision's ResNet50."""
    torch.manual_seed(1)
    return unsettle(torchvision.models.resnet50())


@pytest.fixture(scope="module")
def swin() -> nn.Module:
    """Return torchvision's Swin-T."""
    torch.manual_seed(1)
    return unsettle(torchvision.models.swin_t())


def stages(network: nn.Module, names: list[str]) -> Iterator[Tensor]:
    """Return what the named modules of a network put out."""
    outputs: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda m, i, out, name=name: outputs.update({name: out.clone()}))
        for name in names
    ]
    with torch.no_grad():
        network(IMAGE)
    for hook in hooks:
        hook.remove()
    return (outputs[name] for name in names)


def assert_same(encoder: nn.Module, expected: Iterator[Tensor]) -> None:
    """Compare the encoder's maps with channels-first ones."""
    with torch.no_grad():
        maps = encoder.eval()(IMAGE)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def load(encoder: nn.Module, tensors: dict[str, Tensor]) -> LoadAudit:
    """Load tensors and check that the audit finds all."""
    audit = load_encoder_weights(encoder, tensors, source="library")
    assert audit.complete and audit.changed > 0.99
    return audit


def test_torchvision_resnet50(resnet, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    encoder = build_encoder("resnet50")
    audit = load(encoder, read_weights(tmp_path / "resnet50.pth", allow_pickle=True))
    assert audit.mapping == "direct" and audit.left_out == ("fc.weight", "fc.bias")
    # relu works in place on what bn1 puts out first, so the first convolution's level is taken after it
    assert_same(encoder, stages(resnet, ["relu", "layer1", "layer2", "layer3", "layer4"]))


def test_timm_resnet50(tmp_path):
    torch.manual_seed(1)
    network = unsettle(timm.create_model("resnet50", pretrained=False))
    save_file(network.state_dict(), tmp_path / "resnet50.safetensors")
    encoder = build_encoder("resnet50")
    assert load(encoder, read_weights(tmp_path / "resnet50.safetensors")).mapping == "direct"
    assert_same(encoder, stages(network, ["act1", "layer1", "layer2", "layer3", "layer4"]))


def test_torchvision_swin_t(swin, tmp_path):
    save_file(swin.state_dict(), tmp_path / "swin.safetensors")
    encoder = build_encoder("swin", depths=[2, 2, 6, 2])
    audit = load(encoder, read_weights(tmp_path / "swin.safetensors"))
    assert audit.mapping == "torchvision-swin" and audit.matched == len(encoder.state_dict())
    assert {name.split(".")[-1] for name in audit.left_out} == {"weight", "bias", "relative_position_index"}
    expected = stages(swin, ["features.1", "features.3", "features.5", "norm"])
    assert_same(encoder, (features.permute(0, 3, 1, 2) for features in expected))


def test_timm_swin_tiny(tmp_path):
    torch.manual_seed(1)
    network = unsettle(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False))
    save_file(network.state_dict(), tmp_path / "swin.safetensors")
    encoder = build_encoder("swin", depths=[2, 2, 6, 2])
    audit = load(encoder, read_weights(tmp_path / "swin.safetensors"))
    assert audit.mapping == "direct" and set(audit.left_out) == {"head.fc.weight", "head.fc.bias"}
    expected = stages(network, ["layers.0", "layers.1", "layers.2", "norm"])
    assert_same(encoder, (features.permute(0, 3, 1, 2) for features in expected))


def test_the_swin_authors_names(swin):
    """Their file counts the merging layer as the end of a stage, and holds buffers that are computed here."""
    ours = build_encoder("swin", depths=[2, 2, 6, 2])
    theirs = {}
    for name, tensor in ours.state_dict().items():
        stage = name.split(".")[1]
        renamed = name.replace(f"layers.{stage}.down", f"layers.{int(stage) - 1}.down") if "down" in name else name
        theirs[renamed] = tensor + 0.5
    theirs["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    theirs["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    audit = load(ours, theirs)
    assert audit.mapping == "microsoft-swin" and len(audit.left_out) == 2


def test_the_paper_depths_refuse_the_weights_of_swin_t(swin):
    with pytest.raises(InputError, match="unexpected"):
        load_encoder_weights(build_encoder("swin"), swin.state_dict(), source="swin_t")


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
    assert microsoft_swin("layers.0.blocks.1.attn_mask") is None
    assert microsoft_swin("layers.2.blocks.1.norm1.bias") == "layers.2.blocks.1.norm1.bias"

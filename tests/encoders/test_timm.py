"""timm models of many families: levels, weights files, initialisation, sizes, and a step of training with both decoders."""

import itertools
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders import timm_index
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.freezing import freeze_all_but, state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError
from medtransfer.modes import MODES

pytestmark = pytest.mark.long

TINY = "test_convnext"
SMALL = ["test_resnet", "test_efficientnet", TINY, "test_vit"]
WHOLE = [
    "resnet18", "efficientnet_b0", "mobilenetv3_small_100", "convnext_atto", "regnety_002", "densenet121",
    "swin_tiny_patch4_window7_224", "pvt_v2_b0", "maxvit_rmlp_pico_rw_256", "edgenext_xx_small", "vit_small_patch14_dinov2",
    "resnet50", "convnextv2_atto",
]  # fmt: skip
TRAINED = sorted({mode.trains for mode in MODES.values()}, key=len)  # other modes differ in their heads and what they start from
DECODERS = ["unet", "attention"]
EVERY_FAMILY = pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in WHOLE)])


def build(name: str, **arguments: Any) -> Encoder:
    # at its own size, MaxViT would pad every image to 256 pixels
    return build_encoder("timm", name=name, **({"size": 64} if "maxvit" in name else {}), **arguments)


def published(name: str) -> dict[str, Tensor]:
    """All tensors of a timm model, its classifier among them, as its weights file names them."""
    torch.manual_seed(1)
    return timm.create_model(name, **({"img_size": 64} if "maxvit" in name else {})).state_dict()


@EVERY_FAMILY
def test_every_family_segments_every_size_with_both_decoders(name):
    encoder = build(name).eval()
    segmenters = [build_segmenter(encoder, 1, decoder).eval() for decoder in DECODERS]
    with torch.inference_mode():
        for height, width in ((64, 64), (96, 96), (160, 160), (96, 160)):
            maps = encoder(torch.randn(1, 3, height, width))
            expected = [(1, level.channels, height // level.stride, width // level.stride) for level in encoder.levels]
            assert [tuple(features.shape) for features in maps] == expected
            assert all(segmenter.decoder(maps).shape == (1, 1, height, width) for segmenter in segmenters)


def trainings() -> list[Any]:
    """Every small model with either decoder in every mode; of a whole one, each decoder and each mode once."""
    every = [(name, *pair) for name in SMALL for pair in itertools.product(DECODERS, TRAINED)]
    once = [(name, *pair) for name in WHOLE for pair in zip(DECODERS, TRAINED, strict=True)]
    names = ["-".join([name, decoder, "+".join(sorted(trained))]) for name, decoder, trained in (*every, *once)]
    marks = [()] * len(every) + [pytest.mark.slow] * len(once)
    return [pytest.param(*one, id=id, marks=mark) for one, id, mark in zip((*every, *once), names, marks, strict=True)]


@pytest.mark.parametrize(("name", "decoder", "trained"), trainings())
def test_every_family_trains_with_both_decoders_in_every_mode(name, decoder, trained):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    segmenter = build_segmenter(build(name), 1, decoder)
    initialise(segmenter, 3)
    freeze_all_but(segmenter, trained)
    before = {part: state_hash(module) for part, module in segmenter.named_children()}
    sgd = torch.optim.SGD(segmenter.parameters(), lr=0.01)
    segmenter.train()(images).square().mean().backward()
    assert all(p.grad is not None for p in segmenter.parameters() if p.requires_grad)
    sgd.step()
    assert {part for part, module in segmenter.named_children() if state_hash(module) != before[part]} == trained
    if "encoder" not in trained:
        encoder = segmenter.encoder
        assert all(torch.equal(a, b) for a, b in zip(encoder(images), encoder(images), strict=True))


@EVERY_FAMILY
def test_weights_come_from_the_seed_or_a_published_or_a_saved_file(name, tmp_path):
    encoder, again = build(name), build(name)
    for one, disturbance in ((encoder, 1), (again, 2)):
        torch.manual_seed(disturbance)
        initialise(one, 5)
    assert state_hash(encoder) == state_hash(again)
    save_file(published(name), tmp_path / "published.safetensors")
    audit = load_encoder_weights(encoder, read_weights(tmp_path / "published.safetensors"), source="published")
    assert audit.complete, str(audit)
    assert state_hash(encoder) != state_hash(again)
    save_file(encoder.state_dict(), tmp_path / "ours.safetensors")
    assert load_encoder_weights(again, read_weights(tmp_path / "ours.safetensors"), source="ours").complete
    assert state_hash(again) == state_hash(encoder)


def test_initial_weights_are_the_librarys():
    encoder = build(TINY)
    initialise(encoder, 5)
    torch.manual_seed(5)
    library = timm.create_model(TINY, num_classes=0).state_dict()
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, library[name.removeprefix("network.")]), name


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", pytest.param("densenet121", marks=pytest.mark.slow)])
def test_levels_are_those_of_timms_feature_extraction(name):
    features = timm.create_model(name, features_only=True).feature_info
    expected = [Level(*level) for level in zip(features.reduction(), features.channels(), strict=True)]
    assert list(build(name).levels) == expected


def outputs(network: nn.Module, modules: list[str], images: Tensor) -> list[Tensor]:
    """What the named modules of a network return."""
    kept: dict[str, Tensor] = {}
    for name in modules:
        network.get_submodule(name).register_forward_hook(lambda module, inputs, out, name=name: kept.update({name: out.clone()}))
    with torch.no_grad():
        network.eval()(images)
    return [kept[name] for name in modules]


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("test_resnet", ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("test_convnext", [f"stages.{stage}" for stage in range(4)]),
        pytest.param("swin_tiny_patch4_window7_224", [f"layers.{stage}" for stage in range(4)], marks=pytest.mark.slow),
    ],
)
def test_maps_are_what_the_whole_model_computes(name, modules):
    encoder, whole = build(name).eval(), timm.create_model(name)
    load_encoder_weights(encoder, whole.state_dict(), source="timm")
    images = torch.randn(1, 3, 224, 224)
    for ours, theirs in zip(encoder(images), outputs(whole, modules, images), strict=True):
        theirs = theirs if ours.shape == theirs.shape else theirs.permute(0, 3, 1, 2)  # Swin's are channels-last
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "patch"), [("vit_tiny_patch16_224", 16), pytest.param("vit_small_patch14_dinov2", 14, marks=pytest.mark.slow)]
)
def test_a_vision_transformer_gives_four_depths_at_four_strides(name, patch):
    encoder, whole = build(name).eval(), timm.create_model(name, dynamic_img_size=True)
    load_encoder_weights(encoder, whole.state_dict(), source="timm")
    images = torch.randn(1, 3, 64, 96)
    seen = functional.interpolate(images, size=(4 * patch, 6 * patch), mode="bilinear")  # 4 x 6 patches
    tokens = [whole.norm(x)[:, 1:] for x in outputs(whole, [f"blocks.{block}" for block in (2, 5, 8, 11)], seen)]
    maps = encoder(images)
    assert [level.stride for level in encoder.levels] == [4, 8, 16, 32] and encoder.multiple == 32
    for ours, theirs, factor in zip(maps, tokens, (4, 2, 1, 0.5), strict=True):
        theirs = theirs.transpose(1, 2).reshape(1, -1, 4, 6)
        expected = functional.interpolate(theirs, scale_factor=factor, mode="bilinear")
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "patch", "count"), [("vit_tiny_patch16_224", 16, 4), ("vit_small_patch14_reg4_dinov2", 14, 1)])
def test_class_tokens_of_the_last_blocks_are_the_last_level(name, patch, count):
    encoder, whole = build(name, class_tokens=count).eval(), timm.create_model(name, dynamic_img_size=True)
    load_encoder_weights(encoder, whole.state_dict(), source="timm")
    images = torch.randn(2, 3, 64, 96)
    seen = functional.interpolate(images, size=(4 * patch, 6 * patch), mode="bilinear")
    blocks = [f"blocks.{len(whole.blocks) - count + index}" for index in range(count)]
    tokens = torch.cat([whole.norm(x)[:, 0] for x in outputs(whole, blocks, seen)], dim=1)  # after the final norm, earliest first
    maps, patches = encoder(images), build(name).eval()(images)
    assert maps[-1].shape == (2, count * whole.embed_dim, 2, 3) and encoder.levels[-1].channels == count * whole.embed_dim
    torch.testing.assert_close(maps[-1], tokens[:, :, None, None].expand_as(maps[-1]), atol=1e-4, rtol=1e-4)
    assert [m.shape for m in maps[:-1]] == [m.shape for m in patches[:-1]]


def test_the_features_of_dino_have_the_published_number():
    """Truong et al. 2021: 1,536 features of DINO's ViT-S/8, 2,048 of each ResNet50; records rebuild the encoder."""
    encoder = build("vit_small_patch8_224", class_tokens=4)
    assert encoder.levels[-1].channels == 1536
    assert build_encoder("timm", **encoder.arguments).levels == encoder.levels
    assert "class_tokens" not in build("vit_small_patch8_224").arguments  # equal digests of what was stored without it


def test_a_model_of_fixed_size_sees_a_padded_image():
    encoder = build("maxvit_rmlp_pico_rw_256").eval()
    images = torch.randn(1, 3, 96, 64)
    padded = torch.zeros(1, 3, 128, 64)
    padded[:, :, :96] = images
    for ours, whole in zip(encoder(images), encoder(padded), strict=True):
        assert torch.equal(ours, whole[:, :, : ours.shape[2]])


@pytest.mark.parametrize("name", ["resnet18", "vit_small_patch14_dinov2"])
def test_the_input_contract_is_the_models_own(name):
    encoder, config = build(name), timm.get_pretrained_cfg(name)
    assert (encoder.mean, encoder.std) == (config.mean, config.std)
    assert encoder.input_size == {"resnet18": 224, "vit_small_patch14_dinov2": 518}[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "convnext_atto_"}, r"timm model, such as convnext_atto.*'convnext_atto_'"),
        ({"name": "convnext_atto.nowhere"}, r"convnext_atto\.nowhere"),
        ({"name": "hf-hub:timm/resnet18"}, "name of a timm model"),
        ({"name": 5}, "name of a timm model"),
        ({"name": "resnet18", "size": 64}, "size"),
        ({"name": "densenet121", "stochastic_depth": 0.1}, "stochastic_depth"),
        ({"name": TINY, "stochastic_depth": 1}, "stochastic_depth"),
        ({"name": TINY, "size": 0}, "size"),
        ({"name": "resnet18", "class_tokens": 4}, "no class token"),
        ({"name": "vit_srelpos_small_patch16_224", "class_tokens": 1}, "no class token"),
        ({"name": "vit_tiny_patch16_224", "class_tokens": 13}, "at most 12"),
        ({"name": "vit_tiny_patch16_224", "class_tokens": -1}, "class_tokens"),
        ({}, "the argument name of the encoder timm"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        build_encoder("timm", **arguments)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Tensor]], None]:
    """An empty cache, without a network, and what puts a model's weights in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))

    def put(repository: str, tensors: dict[str, Tensor]) -> None:
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("1" * 40)
        (folder / "snapshots" / ("1" * 40)).mkdir(parents=True)
        save_file(tensors, folder / "snapshots" / ("1" * 40) / "model.safetensors")

    return put


def test_published_weights_come_from_the_cache(cache):
    tensors = published(TINY)
    cache("timm/test_convnext.r160_in1k", tensors)
    encoder = build_encoder("timm", name=TINY, pretrained=True)
    initialise(encoder, 5)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, tensors[name.removeprefix("network.")])
    assert encoder.arguments["pretrained"] is False


def test_published_weights_missing_from_the_cache_are_refused(cache):
    with pytest.raises(InputError, match=r"test_convnext in its cache.*hf download timm/test_convnext\.r160_in1k"):
        build_encoder("timm", name=TINY, pretrained=True)


@pytest.mark.parametrize("found", [True, False])
def test_the_names_are_those_that_timm_registers(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from its source files; a version that writes them otherwise is asked."""
    if not found:
        monkeypatch.setattr(timm_index, "REGISTERED", re.compile("nothing is written so"))
        monkeypatch.setattr(timm_index, "DEPRECATED", re.compile("nothing is written so"))
    timm_index.model_names.cache_clear()
    registered = {*timm.list_models(), *(name.split(".")[0] for name in timm.models._registry._model_entrypoints)}
    assert timm_index.model_names() == registered
    timm_index.model_names.cache_clear()


def test_a_terminal_sees_that_timm_is_asked(terminal: Callable[[], str]) -> None:
    assert "resnet18" in timm_index._ask_timm()
    assert "timm's list of models: loading libraries …" in terminal()

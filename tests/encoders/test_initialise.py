"""The initial weights against A.1.4: standard deviations, bounds, biases, norms, and seeds."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import fan_in, initialise, truncated_normal

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))
WIDER = {"unet": {"width": 16}, "resnet50": {}, "swin": {"embed": 32}}
BY_RULE = [name for name, kind in ENCODERS.items() if kind.reset is Encoder.reset]


def spread(tensor: torch.Tensor, std: float) -> None:
    """Assert mean 0 and the standard deviation, within five standard errors."""
    error = 5 * std / math.sqrt(tensor.numel())
    assert abs(tensor.mean().item()) < error
    assert abs(tensor.std().item() - std) < error


@pytest.mark.parametrize("name", BY_RULE)
def test_biases_are_zero_and_norms_one_and_zero(name, tiny, images):
    segmenter = build_segmenter(tiny(name), 3)
    segmenter(images)
    for parameter in segmenter.parameters():
        nn.init.constant_(parameter, math.nan)
    initialise(segmenter, 5)
    assert all(tensor.isfinite().all() for tensor in segmenter.state_dict().values())
    for module in segmenter.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all() and (module.running_var == 1).all()
            assert module.num_batches_tracked == 0
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        elif isinstance(getattr(module, "bias", None), nn.Parameter):
            assert (module.bias == 0).all()


@pytest.mark.parametrize("name", ["unet", "resnet50"])
def test_convolutions_are_he_normal(name, tiny):
    segmenter = build_segmenter(tiny(name, **WIDER[name]), 3)
    initialise(segmenter, 5)
    layers = [m for m in segmenter.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert any(isinstance(m, nn.ConvTranspose2d) for m in layers)
    for layer in layers:
        # each output of a 2x2 transposed convolution with stride 2 sees every input channel once
        inputs = layer.in_channels * (1 if isinstance(layer, nn.ConvTranspose2d) else math.prod(layer.kernel_size))
        if layer.weight.numel() > 500:
            spread(layer.weight, math.sqrt(2 / inputs))


def test_swin_is_truncated_normal_except_for_patch_layers(tiny):
    segmenter = build_segmenter(tiny("swin", **WIDER["swin"]), 3)
    initialise(segmenter, 5)
    spread(segmenter.encoder.patch_embed.proj.weight, math.sqrt(1 / 3 / (3 * 4 * 4)))
    spread(segmenter.decoder.final.expand.weight, math.sqrt(1 / 3 / 32))
    special = {"encoder.patch_embed.proj.weight", "decoder.final.expand.weight"}
    others = [(n, p) for n, p in segmenter.named_parameters() if n not in special and "norm" not in n and "bias" not in n]
    assert len(others) > 50
    for _, weight in others:
        spread(weight, 0.02)
    tables = [p for n, p in segmenter.named_parameters() if n.endswith("relative_position_bias_table")]
    spread(torch.cat([table.flatten() for table in tables]), 0.02)


def test_values_outside_the_bound_are_drawn_again():
    values = torch.empty(200_000)
    truncated_normal(values, 2.0, 2.0, torch.Generator().manual_seed(1))
    assert values.abs().max() <= 2
    # a normal cut off at one standard deviation has the variance 1 - 2 phi(1) / (2 Phi(1) - 1) = 0.29112
    assert values.std().item() == pytest.approx(2 * math.sqrt(0.29112), rel=0.01)
    assert (values.abs() == 2).sum() == 0  # drawn again, not pushed to the bound


@EVERY
def test_the_same_seed_gives_the_same_bits_alone_and_in_a_model(name, tiny):
    encoder, classifier, segmenter = tiny(name), Classifier(tiny(name, seed=1), 4), build_segmenter(tiny(name, seed=2), 1)
    for number, model in enumerate((encoder, classifier, segmenter)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        initialise(model, 123)
        assert torch.equal(torch.get_rng_state(), before)
    drawn = state_hash(encoder)
    assert drawn == state_hash(classifier.encoder) == state_hash(segmenter.encoder)
    initialise(encoder, 124)
    assert state_hash(encoder) != drawn
    decoder = state_hash(segmenter.decoder)
    initialise(segmenter.decoder, 9)
    assert state_hash(segmenter.encoder) == drawn and state_hash(segmenter.decoder) != decoder


@pytest.mark.parametrize(("name", "std"), [("resnet50", math.sqrt(2 / 256)), ("swin", 0.02)])
def test_the_classification_head_follows_its_encoder(name, std, tiny):
    classifier = Classifier(tiny(name), 500)
    initialise(classifier, 4)
    spread(classifier.head.weight, std)
    assert (classifier.head.bias == 0).all()


def test_fan_in_by_hand():
    assert fan_in(nn.Conv2d(3, 8, 5)) == 75
    assert fan_in(nn.Conv2d(6, 8, 3, groups=2)) == 27
    assert fan_in(nn.Linear(7, 2)) == 7
    assert fan_in(nn.ConvTranspose2d(6, 8, 2, stride=2)) == 6
    assert fan_in(nn.ConvTranspose2d(6, 8, 4, stride=2)) == 24


def test_what_has_no_rule_is_refused():
    with pytest.raises(ValueError, match="initialisation among he, truncated"):
        initialise(nn.Linear(2, 2), 0)
    encoder = build_encoder("unet", width=2, depth=1)
    encoder.extra = nn.ParameterList([torch.zeros(1)])
    with pytest.raises(ValueError, match="extra is a ParameterList"):
        initialise(encoder, 0)


def test_layers_without_a_rule_are_reset_by_the_seed():
    first, second, other = (build_encoder("unet", width=2, depth=1) for _ in range(3))
    for encoder, seed in ((first, 3), (second, 3), (other, 4)):
        encoder.extra = nn.Bilinear(2, 2, 2)
        initialise(encoder, seed)
    assert state_hash(first) == state_hash(second)
    assert not torch.equal(first.extra.weight, other.extra.weight)


def test_a_decoder_of_another_architecture_follows_its_own_rule(tiny):
    segmenter = build_segmenter(tiny("swin", **WIDER["swin"]), 3, "unet")
    initialise(segmenter, 5)
    spread(segmenter.encoder.layers[3].blocks[0].mlp.fc1.weight, 0.02)
    spread(segmenter.decoder.blocks[0].up.weight, math.sqrt(2 / 256))


def test_a_model_without_parts_of_timm_is_made_without_it() -> None:
    """Loading timm takes a second."""
    code = (
        "import sys\nfrom medtransfer.encoders.channels import adapt_input\n"
        "from medtransfer.encoders.initialise import initialise\nfrom medtransfer.encoders.unet import UNetEncoder\n"
        "encoder = adapt_input(UNetEncoder(width=4, depth=2), 3)\n"
        "initialise(encoder, 0)\nassert 'timm' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

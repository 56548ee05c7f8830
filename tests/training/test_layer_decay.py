"""Layer-wise learning rates: layers of every encoder in timm's order, and factors by hand."""

import pytest
import timm
import torch
from tests.tiny_encoders import TINY
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.freezing import freeze
from medtransfer.training.device import open_fabric
from medtransfer.training.layer_decay import layer_scales
from medtransfer.training.steps import Steps, build_optimiser


def test_a_unet_by_hand():
    """A stem and two stages; the decoder learns at the full rate."""
    scales = layer_scales(build_segmenter(build_encoder("unet", width=4, depth=2), 1), 0.5)
    expected = {"encoder.stem": 0.125, "encoder.stages.0": 0.25, "encoder.stages.1": 0.5, "decoder": 1.0}
    for name, scale in scales.items():
        (group,) = [group for group in expected if name.startswith(f"{group}.")]
        assert scale == expected[group], name
    assert set(scales.values()) == set(expected.values())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_has_a_layer_and_none_is_skipped(encoder):
    built = build_encoder(encoder, **TINY[encoder])
    depths = built.depths()
    assert list(depths) and depths.keys() == {name for name, _ in built.named_parameters()}
    assert set(depths.values()) == set(range(1 + max(depths.values())))
    assert max(depths.values()) >= 4
    assert set(layer_scales(build_segmenter(built, 1), 1.0).values()) == {1.0}


@pytest.mark.parametrize(("encoder", "name", "arguments"), [
    ("resnet50", "resnet50", {"layers": [3, 4, 6, 3]}),
    ("swin", "swin_tiny_patch4_window7_224", {"depths": [2, 2, 6, 2]}),
])  # fmt: skip
def test_own_encoders_have_the_layers_of_timms_models(encoder, name, arguments):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
        own = build_encoder(encoder, **arguments).depths()
    theirs = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    assert own == {key: depth for key, depth in theirs.items() if key in own} and len(own) > 100


@pytest.mark.parametrize("decay_norms", [True, False])
def test_a_step_is_scaled_layer_by_layer(decay_norms):
    """Without momentum, a step of SGD with gradients of 1 and weights of 0 is the learning rate."""
    model = build_segmenter(build_encoder("unet", width=4, depth=2), 1)
    freeze(model.decoder)
    scales = layer_scales(model, 0.5)
    options = {"lr": 1.0, "weight_decay": 0.1, "betas": (0.0, 0.999), "fused": True, "decay_norms": decay_norms}
    optimiser = build_optimiser("sgd", model, scales=scales, **options)
    steps = Steps(open_fabric("cpu", 1, "32-true"), model, optimiser, compiles=False, clip_grad=None, ema_decay=None)
    for parameter in model.encoder.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.ones_like(parameter)
    steps.set_lr(0.25)
    steps.update(0)
    for name, parameter in model.encoder.named_parameters():
        decay = 0.1 if decay_norms or parameter.ndim > 1 else 0.0
        expected = 1 - 0.25 * scales[f"encoder.{name}"] * (1 + decay)
        assert torch.allclose(parameter, torch.tensor(expected)), name
    assert not any(parameter.requires_grad for group in optimiser.param_groups for parameter in group["params"]
                   if id(parameter) in set(map(id, model.decoder.parameters())))  # fmt: skip

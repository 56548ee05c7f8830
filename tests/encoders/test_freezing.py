"""A frozen encoder does not change, proven by its hash; the hash itself changes with every bit."""

import pytest
import torch
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.freezing import freeze, state_hash
from medtransfer.encoders.initialise import initialise

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


def train_step(segmenter: nn.Module, images: torch.Tensor) -> None:
    """Take one step as fine-tuning does, with all parameters given to the optimiser."""
    segmenter.train()
    optimiser = torch.optim.SGD(segmenter.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    segmenter(images).square().mean().backward()
    optimiser.step()


@EVERY
def test_training_leaves_a_frozen_encoder_alone(name, tiny, images):
    segmenter = build_segmenter(tiny(name), 3)
    initialise(segmenter, 1)
    freeze(segmenter.encoder)
    encoder, decoder = state_hash(segmenter.encoder), state_hash(segmenter.decoder)
    train_step(segmenter, images)
    assert state_hash(segmenter.encoder) == encoder
    assert state_hash(segmenter.decoder) != decoder
    assert segmenter.decoder.training and not any(module.training for module in segmenter.encoder.modules())
    assert all(p.grad is None and not p.requires_grad for p in segmenter.encoder.parameters())
    assert all(p.grad is not None for p in segmenter.decoder.parameters())


@EVERY
def test_training_changes_an_encoder_that_is_not_frozen(name, tiny, images):
    segmenter = build_segmenter(tiny(name), 3)
    initialise(segmenter, 1)
    before = state_hash(segmenter.encoder)
    train_step(segmenter, images)
    assert state_hash(segmenter.encoder) != before


@EVERY
def test_a_frozen_encoder_draws_no_stochastic_depth(name, tiny, images):
    encoder = tiny(name, stochastic_depth=0.9)
    freeze(encoder)
    encoder.train()
    for first, second in zip(encoder(images), encoder(images), strict=True):
        assert torch.equal(first, second)


@EVERY
def test_a_frozen_encoder_costs_no_backward(name, tiny, images):
    """Nothing of it is kept for a backward pass, no gradient flows into it, and bits and batch-norm rule are those of no_grad."""
    segmenter = build_segmenter(tiny(name), 3)
    initialise(segmenter, 1)
    freeze(segmenter.encoder)
    segmenter.train()
    kept, entered = [], []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        maps = segmenter.encoder(images)
    assert kept == []
    assert all(features.grad_fn is None and not features.requires_grad for features in maps)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(segmenter.encoder(images), maps, strict=True))
    for module in segmenter.encoder.children():
        module.register_full_backward_hook(lambda *_: entered.append(1))
    segmenter(images).square().mean().backward()
    assert entered == []


def test_running_statistics_alone_change_the_hash(tiny, images):
    encoder = tiny("unet")
    before = state_hash(encoder)
    with torch.no_grad():
        encoder.train()(images)
    assert state_hash(encoder) != before


def test_the_hash_sees_names_shapes_and_every_bit():
    layer = nn.Linear(3, 2)
    named, other = nn.Sequential(), nn.Sequential()
    named.add_module("a", layer)
    other.add_module("b", layer)
    assert state_hash(named) != state_hash(other)
    before = state_hash(layer)
    with torch.no_grad():
        layer.weight[1, 2] = torch.nextafter(layer.weight[1, 2], torch.tensor(9.0))
    after = state_hash(layer)
    assert after != before
    layer.weight = nn.Parameter(layer.weight.detach().reshape(3, 2))
    assert state_hash(layer) != after


def test_the_hash_does_not_depend_on_the_memory_layout(tiny):
    encoder = tiny("resnet50")
    before = state_hash(encoder)
    assert state_hash(encoder.to(memory_format=torch.channels_last)) == before


def test_the_hash_by_hand():
    import hashlib

    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    assert state_hash(layer) == hashlib.sha256(b"weight torch.float32 (1, 1)\n\x00\x00\x80\x3f").hexdigest()

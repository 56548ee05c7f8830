"""A frozen encoder does not change, proven by its hash; the hash itself changes with every bit."""

import hashlib

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
def test_training_changes_an_encoder_until_it_is_frozen(name, tiny, images):
    segmenter = build_segmenter(tiny(name, stochastic_depth=0.9), 3)
    initialise(segmenter, 1)
    hashes = [state_hash(segmenter.encoder)]
    train_step(segmenter, images)
    hashes.append(state_hash(segmenter.encoder))
    freeze(segmenter.encoder)
    segmenter.zero_grad()
    decoder = state_hash(segmenter.decoder)
    train_step(segmenter, images)
    hashes.append(state_hash(segmenter.encoder))
    assert hashes[0] != hashes[1] == hashes[2]
    assert state_hash(segmenter.decoder) != decoder
    assert segmenter.decoder.training and not any(module.training for module in segmenter.encoder.modules())
    assert all(p.grad is None and not p.requires_grad for p in segmenter.encoder.parameters())
    assert all(p.grad is not None for p in segmenter.decoder.parameters())
    for first, second in zip(segmenter.encoder(images), segmenter.encoder(images), strict=True):
        assert torch.equal(first, second)  # no stochastic depth is drawn


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


def test_what_the_hash_depends_on(tiny, images):
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
    encoder = tiny("resnet50")
    before = state_hash(encoder)
    assert state_hash(encoder.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        encoder.train()(images)  # changes the running statistics alone
    assert state_hash(encoder) != before
    by_hand = nn.Linear(1, 1, bias=False)
    nn.init.constant_(by_hand.weight, 1.0)
    assert state_hash(by_hand) == hashlib.sha256(b"weight torch.float32 (1, 1)\n\x00\x00\x80\x3f").hexdigest()

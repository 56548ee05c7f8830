"""Encoders of colour images on any number of channels, against weights repeated in numpy."""

import json

import numpy as np
import pytest
import torch
from tests.tiny_encoders import TINY

from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.channels import adapt_input, describe_adaptation
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError

pytestmark = pytest.mark.long

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


@EVERY
@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_the_first_layer_is_repeated_and_scaled(name, channels, tiny):
    encoder = tiny(name)
    initialise(encoder, 3)
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    adapted = adapt_input(encoder, channels)
    changed = []
    for key, tensor in adapted.state_dict().items():
        if tensor.shape == before[key].shape:
            assert torch.equal(tensor, before[key])
            continue
        changed.append(key)
        weight = before[key].numpy()
        order = [0, 1, 2, 0, 1][:channels]
        expected = weight.sum(1, keepdims=True) if channels == 1 else weight[:, order] * np.float32(3 / channels)
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert len(changed) == len(encoder.source_channels) and adapted.in_channels == channels
    again = build_encoder(adapted.name, **json.loads(json.dumps(adapted.arguments)))
    again.load_state_dict(adapted.state_dict())
    images = torch.randn(2, channels, 64, 64)
    for ours, theirs in zip(again.eval()(images), adapted.eval()(images), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=rf"\(N, {channels}, H, W\)"):
        adapted(torch.zeros(1, 3, 64, 64))


@EVERY
def test_an_image_twice_has_the_maps_of_once(name, tiny, images):
    encoder = tiny(name).eval()
    adapted = adapt_input(encoder, 6).eval()
    for once, twice in zip(encoder(images), adapted(torch.cat([images, images], 1)), strict=True):
        torch.testing.assert_close(once, twice, rtol=1e-4, atol=1e-4)


def test_colour_encoders_stay_what_they_are(tiny):
    encoder = tiny("unet")
    assert adapt_input(encoder, 3) is encoder and describe_adaptation(encoder.arguments, 3) == ""
    assert "in_channels" not in encoder.arguments
    assert "from 3 to 4 channels: weights repeated, times 3/4" in describe_adaptation(encoder.arguments, 4)
    four = adapt_input(encoder, 4)
    assert four.arguments == {**TINY["unet"], "in_channels": 4} and adapt_input(four, 4) is four
    with pytest.raises(InputError, match="first layer takes the channels of the images, but stem"):
        adapt_input(four, 5)


def test_a_model_that_rearranges_its_pixels_first_is_refused():
    with pytest.raises(
        InputError, match=r"tresnet_m is \(64, 48, 3, 3\), and for 4 channels \(64, 64, 3, 3\); take another encoder"
    ):
        adapt_input(build_encoder("timm", name="tresnet_m"), 4)

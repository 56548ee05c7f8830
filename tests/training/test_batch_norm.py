"""Which models cannot train on one image: those of which PyTorch says so."""

import pytest
import torch
from tests.tiny_encoders import TINIEST

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import freeze
from medtransfer.training.batch_norm import needs_two_images

CASES = [
    ("unet", {"width": 2, "depth": 5}, 16, False, True),
    ("unet", {"width": 2, "depth": 5}, 32, False, False),
    ("unet", {"width": 2, "depth": 5}, 16, True, False),  # no layer of the decoder is 1x1
    ("resnet50", {"layers": [1, 1, 1, 1], "channels": [4, 8, 8, 8], "stochastic_depth": 0.1}, 32, False, True),
    ("swin", TINIEST["swin"], 32, False, False),  # layer norms
]


@pytest.mark.parametrize(("build", "arguments", "size", "frozen", "expected"), CASES)
def test_one_image_is_too_few_where_pytorch_says_so(build, arguments, size, frozen, expected):
    model = build_segmenter(build_encoder(build, **arguments), 1)
    if frozen:
        freeze(model.encoder)
    before, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    assert needs_two_images(model, size, size) == expected
    assert torch.equal(torch.get_rng_state(), random) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if expected:
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            model(torch.zeros(1, 3, size, size))
    else:
        model(torch.zeros(1, 3, size, size))

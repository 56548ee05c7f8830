"""The encoders' contract, for every entry of the registry."""

import inspect
import json

import pytest
import torch
from tests.tiny_encoders import TINIEST, TINY
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.contract import Level
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError

pytestmark = pytest.mark.long

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


@EVERY
def test_maps_have_the_announced_levels(name, tiny, images):
    encoder = tiny(name)
    maps = encoder(images)
    assert [tuple(m.shape) for m in maps] == [(2, v.channels, 64 // v.stride, 64 // v.stride) for v in encoder.levels]
    strides = [level.stride for level in encoder.levels]
    assert strides == sorted(strides) and encoder.name == name


def test_the_published_levels_and_the_input_size_that_they_need():
    levels = {
        "unet": ([(1, 64), (2, 128), (4, 256), (8, 512), (16, 1024)], 16),
        "resnet50": ([(2, 64), (4, 256), (8, 512), (16, 1024), (32, 2048)], 32),
        "swin": ([(4, 96), (8, 192), (16, 384), (32, 768)], 224),
    }
    for name, (expected, multiple) in levels.items():
        encoder = build_encoder(name)
        assert encoder.levels == tuple(Level(*level) for level in expected) and encoder.multiple == multiple


@EVERY
def test_name_and_arguments_rebuild_the_encoder(name, tiny, images):
    encoder = tiny(name).eval()
    assert TINY.keys() == TINIEST.keys() == ENCODERS.keys()
    parameters = inspect.signature(ENCODERS[name]).parameters
    optional = {"in_channels", "class_tokens"}  # recorded only where they are used, so that older records stay as they were
    assert list(encoder.arguments) == [name for name in parameters if name not in optional]
    again = build_encoder(encoder.name, **json.loads(json.dumps(encoder.arguments)))
    assert again.arguments == encoder.arguments and again.levels == encoder.levels
    again.load_state_dict(encoder.state_dict())
    for ours, theirs in zip(again.eval()(images), encoder(images), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(InputError, match="widht") as error:
        build_encoder(name, widht=3)
    assert all(argument in str(error.value) for argument in encoder.arguments)


@EVERY
def test_images_have_three_channels_and_a_size_that_fits(name, tiny):
    encoder = tiny(name)
    assert len(encoder.mean) == len(encoder.std) == 3 and min(encoder.std) > 0
    assert encoder.channels == "RGB" and (encoder.input_size is None or encoder.input_size > 0)
    for size in [(60, 64), (64, 68), (0, 64)]:
        with pytest.raises(InputError, match=rf"multiples of {encoder.multiple} .*{size[0]}x{size[1]}"):
            encoder(torch.zeros(1, 3, *size))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        encoder(torch.zeros(1, 1, 64, 64))


def test_swin_takes_sizes_that_its_windows_tile(tiny):
    # maps of 16, 8, 4, 2 positions: windows of 4, 4, 4 and, cut down to the map, 2 -> lcm(16, 32, 64, 64) pixels
    encoder = tiny("swin", window=4)
    assert encoder.windows == [4, 4, 4, 2] and encoder.multiple == 64
    assert [stage.blocks[0].window_size for stage in encoder.layers] == [(w, w) for w in encoder.windows]
    assert encoder(torch.zeros(1, 3, 128, 64))[0].shape == (1, 8, 32, 16)


def test_swin_masks_fit_the_image(tiny, images):
    encoder = tiny("swin").eval()
    arguments = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 2, 4), "window_size": 2, "num_classes": 0}
    made_for_it = SwinTransformer(img_size=(64, 128), strict_img_size=True, **arguments).eval()
    made_for_it.load_state_dict(encoder.state_dict())
    double = torch.cat([images, images], dim=3)
    maps = made_for_it.forward_intermediates(double, intermediates_only=True)
    for ours, theirs in zip(encoder(double)[:3], maps[:3], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("unet", {"width": 0}, "width"),
        ("unet", {"depth": 2.5}, "depth"),
        ("unet", {"width": "wide"}, "width"),
        ("resnet50", {"layers": [3, 4, 6]}, "layers"),
        ("resnet50", {"channels": 64}, "channels"),
        ("resnet50", {"stochastic_depth": 1.0}, "stochastic_depth"),
        ("swin", {"heads": [5, 6, 12, 24]}, "heads"),
        ("swin", {"size": 64}, "multiple of 224"),
        ("swin", {"window": True}, "window"),
        ("swin", {"size": 16, "window": 1}, "size 16"),
        ("swin", {"depths": [1, 1, 1, 10**8]}, "depths = .* is more than any encoder has"),
        ("resnet50", {"layers": [10**3, 10, 10, 10]}, "layers = .* is more than any encoder has"),
        ("unet", {"width": 10**6}, "width = .* is more than any encoder has"),
        ("vgg", {}, rf"{', '.join(sorted(ENCODERS))}.*'vgg'"),
    ],
)
def test_arguments_out_of_range_are_refused(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build_encoder(name, **arguments)


@pytest.mark.parametrize("name", [name for name, arguments in TINY.items() if "stochastic_depth" in arguments])
def test_stochastic_depth_acts_in_train_mode_only(name, tiny, images):
    encoder = tiny(name, stochastic_depth=0.9)
    initialise(encoder, 1)  # the library's ResNet begins with branches of weight 0
    for module in encoder.modules():  # batch statistics would differ too between the modes
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    torch.manual_seed(1)
    assert not torch.equal(encoder(images)[-1], encoder(images)[-1])
    encoder.eval()
    assert torch.equal(encoder(images)[-1], encoder(images)[-1])


@EVERY
@pytest.mark.parametrize("classes", [1, 10])
def test_the_classifier_is_a_linear_layer_on_the_spatial_mean(name, classes, tiny, images):
    classifier = Classifier(tiny(name), classes).eval()
    logits = classifier(images)
    pooled = classifier.encoder(images)[-1].flatten(2).mean(dim=2)
    expected = pooled @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert logits.shape == (2, classes)
    with pytest.raises(ValueError, match="got 0"):
        Classifier(classifier.encoder, 0)

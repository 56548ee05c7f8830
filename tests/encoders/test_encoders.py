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

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


def test_every_encoder_has_tiny_arguments():
    assert TINY.keys() == TINIEST.keys() == ENCODERS.keys()


@EVERY
def test_maps_have_the_announced_levels(name, tiny, images):
    encoder = tiny(name)
    maps = encoder(images)
    assert [tuple(m.shape) for m in maps] == [(2, v.channels, 64 // v.stride, 64 // v.stride) for v in encoder.levels]
    strides = [level.stride for level in encoder.levels]
    assert strides == sorted(strides) and encoder.name == name


def test_the_published_levels():
    levels = {
        "unet": [(1, 64), (2, 128), (4, 256), (8, 512), (16, 1024)],
        "resnet50": [(2, 64), (4, 256), (8, 512), (16, 1024), (32, 2048)],
        "swin": [(4, 96), (8, 192), (16, 384), (32, 768)],
    }
    for name, expected in levels.items():
        assert build_encoder(name).levels == tuple(Level(*level) for level in expected)


@EVERY
def test_name_and_arguments_rebuild_the_encoder(name, tiny, images):
    encoder = tiny(name).eval()
    again = build_encoder(encoder.name, **json.loads(json.dumps(encoder.arguments)))
    assert again.arguments == encoder.arguments and again.levels == encoder.levels
    again.load_state_dict(encoder.state_dict())
    for ours, theirs in zip(again.eval()(images), encoder(images), strict=True):
        assert torch.equal(ours, theirs)


@EVERY
def test_arguments_hold_every_constructor_argument(name, tiny):
    assert list(tiny(name).arguments) == list(inspect.signature(ENCODERS[name]).parameters)


@EVERY
def test_an_unknown_argument_is_refused_with_the_known_ones(name, tiny):
    with pytest.raises(InputError, match="widht") as error:
        build_encoder(name, widht=3)
    assert all(argument in str(error.value) for argument in tiny(name).arguments)


@EVERY
def test_the_input_contract_is_three_channels_of_mean_and_std(name, tiny):
    encoder = tiny(name)
    assert len(encoder.mean) == len(encoder.std) == 3 and min(encoder.std) > 0
    assert encoder.channels == "RGB" and (encoder.input_size is None or encoder.input_size > 0)


@EVERY
def test_channels_last_input_gives_the_same_maps(name, tiny, images):
    encoder = tiny(name).eval()
    plain = encoder(images)
    laid_out = encoder.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for ours, theirs in zip(laid_out, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@EVERY
@pytest.mark.parametrize("size", [(60, 64), (64, 68), (0, 64)])
def test_a_size_that_does_not_fit_is_refused_with_the_needed_one(name, size, tiny):
    encoder = tiny(name)
    with pytest.raises(InputError, match=rf"multiples of {encoder.multiple} .*{size[0]}x{size[1]}"):
        encoder(torch.zeros(1, 3, *size))


@EVERY
def test_grey_images_are_refused(name, tiny):
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        tiny(name)(torch.zeros(1, 1, 64, 64))


@EVERY
def test_an_oblong_image_is_encoded(name, tiny):
    encoder = tiny(name)
    height, width = encoder.multiple, 2 * encoder.multiple
    last = encoder(torch.zeros(2, 3, height, width))[-1]
    assert last.shape[2:] == (height // encoder.levels[-1].stride, width // encoder.levels[-1].stride)


def test_the_input_size_that_each_published_encoder_needs():
    expected = {"unet": 16, "resnet50": 32, "swin": 224}
    assert {name: build_encoder(name).multiple for name in expected} == expected


def test_swin_takes_sizes_that_its_windows_tile(tiny):
    # maps of 16, 8, 4, 2 positions: windows of 4, 4, 4 and, cut down to the map, 2 -> lcm(16, 32, 64, 64) pixels
    encoder = tiny("swin", window=4)
    assert encoder.windows == [4, 4, 4, 2] and encoder.multiple == 64
    assert [stage.blocks[0].window_size for stage in encoder.layers] == [(w, w) for w in encoder.windows]
    assert encoder(torch.zeros(1, 3, 128, 64))[0].shape == (1, 8, 32, 16)


def test_swin_masks_fit_the_image_and_not_the_size_the_encoder_was_made_for(tiny, images):
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
    ],
)
def test_arguments_out_of_range_are_refused(name, arguments, message):
    with pytest.raises(InputError, match=message):
        build_encoder(name, **arguments)


def test_an_unknown_encoder_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=rf"{', '.join(sorted(ENCODERS))}.*'vgg'"):
        build_encoder("vgg")


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


def test_a_classifier_of_no_classes_is_refused(tiny):
    with pytest.raises(ValueError, match="got 0"):
        Classifier(tiny("unet"), 0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("swin", {"depths": [1, 1, 1, 10**8]}), ("resnet50", {"layers": [10**3, 10, 10, 10]}), ("unet", {"width": 10**6})],
)
def test_absurd_sizes_are_refused_at_once(name, arguments):
    with pytest.raises(InputError, match=f"{next(iter(arguments))} = .* is more than any encoder has"):
        build_encoder(name, **arguments)

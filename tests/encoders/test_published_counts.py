"""Parameter counts against the published architectures; each number names its source."""

import pytest
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.pretrain.objectives.conrec import ConRecModel


def count(model: nn.Module) -> int:
    """Count the elements of all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs: int, outputs: int, kernel: int, bias: bool) -> int:
    """Count those of a convolution."""
    return inputs * outputs * kernel**2 + bias * outputs


def convs(inputs: int, outputs: int) -> int:
    """Count those of two 3x3 convolutions without bias, each with a norm's scale and shift."""
    return conv(inputs, outputs, 3, False) + conv(outputs, outputs, 3, False) + 4 * outputs


@pytest.mark.parametrize(
    ("name", "arguments", "published", "head"),
    [  # as torchvision documents them, in <Model>_Weights.num_params, with heads of 1,000 classes
        ("resnet50", {}, 25_557_032, 2048 * 1000 + 1000),
        ("timm", {"name": "resnet18"}, 11_689_512, 512 * 1000 + 1000),
        ("swin", {"depths": [2, 2, 6, 2]}, 28_288_354, 768 * 1000 + 1000),
    ],
)
def test_encoders_of_torchvision(name, arguments, published, head):
    assert count(build_encoder(name, **arguments)) == published - head


def test_unet_is_the_known_one_with_a_stem():
    stem, widths = conv(3, 64, 3, False) + 2 * 64, [64, 128, 256, 512, 1024]
    levels = sum(convs(before, after) for before, after in zip([64, *widths], widths, strict=False))
    encoder = build_encoder("unet")
    assert count(encoder) == stem + levels
    # The implementation most in use (milesial/Pytorch-UNet, transposed convolutions) has 31,037,633 for three channels
    # and one class. Ours has a stem before it, so the first convolution sees 64 channels instead of 3.
    wider = conv(64, 64, 3, False) - conv(3, 64, 3, False)
    assert count(build_segmenter(encoder, 1)) == 31_037_633 + stem + wider


@pytest.mark.parametrize(("classes", "outputs"), [(1, 1), (3, 4)])
def test_resnet50_attention_decoder(classes, outputs):
    # Section A.1.2: channels 256-128-64-32-16; skip connections of 1024, 512, 256, 64 channels and none.
    total, inputs = 0, 2048
    for skip, width in zip([1024, 512, 256, 64, 0], [256, 128, 64, 32, 16], strict=True):
        total += conv(inputs, width, 2, True) + convs(width + skip, width)
        if skip:  # W_x without, W_g and psi with bias
            total += conv(skip, skip // 2, 1, False) + conv(inputs, skip // 2, 1, True) + conv(skip // 2, 1, 1, True)
        inputs = width
    segmenter = build_segmenter(build_encoder("resnet50"), classes)
    assert count(segmenter.decoder) == total + conv(16, outputs, 1, True)


def test_swin_unet():
    # Cao et al. 2021 with nine outputs (Synapse), depths 2-2-2-2: 27.17 million, as counted in later comparisons.
    assert round(count(build_segmenter(build_encoder("swin"), 8)) / 1e6, 2) == 27.17


def test_swin_decoder():
    total, table = 96 * 9, 13 * 13  # the head; entries of a head's relative position bias for windows of 7
    total += 96 * 16 * 96 + 2 * 96 + 2 * 96  # final expansion with its norm; the norm before it
    for width, heads in [(384, 12), (192, 6), (96, 3)]:
        attention = 4 * width**2 + 4 * width + table * heads
        block = attention + 8 * width**2 + 5 * width + 4 * width
        merge, expansion = 2 * width**2 + width, 2 * width * 4 * width + 2 * width
        total += 2 * block + merge + expansion
    assert count(build_segmenter(build_encoder("swin"), 8).decoder) == total


def test_the_unet_of_dippel_et_al():
    """7,875,905 parameters of a segmenter, and the printed 8.65 million of the pretraining model, as Keras counts them.

    Keras counts the statistics of batch normalisation and a constant vector of 512, and its last norm has no shift (128).
    """
    segmenter = build_segmenter(build_encoder("dippel-unet"), 1)
    assert count(segmenter) == 7_875_905 and count(segmenter.encoder) == 4_689_216
    assert count(segmenter.decoder.skips) == 87_360 and count(segmenter.decoder) == 87_360 + 3_099_329
    one = ConRecModel(build_encoder("dippel-unet"), ["plain"], None)
    four = ConRecModel(build_encoder("dippel-unet"), ["plain", "original", "mask", "visible"], None)
    statistics = [sum(b.numel() for name, b in model.named_buffers() if "running" in name) for model in (one, four)]
    assert count(one) == 8_641_604 and count(one) + statistics[0] - 128 + 512 == 8_651_716
    assert count(four) + statistics[1] - 128 + 512 == 9_096_459

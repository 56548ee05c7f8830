"""Parameter counts against the published architectures; each number names its source."""

import pytest
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder


def count(model: nn.Module) -> int:
    """Count the elements of all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs: int, outputs: int, kernel: int, bias: bool) -> int:
    """Count those of a convolution."""
    return inputs * outputs * kernel**2 + bias * outputs


def convs(inputs: int, outputs: int) -> int:
    """Count those of two 3x3 convolutions without bias, each with a norm's scale and shift."""
    return conv(inputs, outputs, 3, False) + conv(outputs, outputs, 3, False) + 4 * outputs


def test_resnet50():
    # torchvision documents 25,557,032 for ResNet50 (ResNet50_Weights.num_params); fc has 2048 * 1000 + 1000.
    assert count(build_encoder("resnet50")) == 25_557_032 - 2_049_000 == 23_508_032


def test_timms_resnet18():
    # torchvision documents 11,689,512 for ResNet18 (ResNet18_Weights.num_params); fc has 512 * 1000 + 1000.
    assert count(build_encoder("timm", name="resnet18")) == 11_689_512 - 513_000 == 11_176_512


def test_swin_tiny():
    # torchvision documents 28,288,354 for Swin-T (Swin_T_Weights.num_params); its head has 768 * 1000 + 1000.
    assert count(build_encoder("swin", depths=[2, 2, 6, 2])) == 28_288_354 - 769_000 == 27_519_354


def test_unet_encoder():
    widths = [64, 128, 256, 512, 1024]
    stem = conv(3, 64, 3, False) + 2 * 64
    levels = sum(convs(before, after) for before, after in zip([64, *widths], widths, strict=False))
    assert count(build_encoder("unet")) == stem + levels


def test_unet_is_the_known_one_with_a_stem():
    # The implementation most in use (milesial/Pytorch-UNet, transposed convolutions) has 31,037,633 for three channels
    # and one class. Ours has a stem before it, so the first convolution sees 64 channels instead of 3.
    stem = conv(3, 64, 3, False) + 2 * 64
    wider = conv(64, 64, 3, False) - conv(3, 64, 3, False)
    assert count(build_segmenter(build_encoder("unet"), 1)) == 31_037_633 + stem + wider


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

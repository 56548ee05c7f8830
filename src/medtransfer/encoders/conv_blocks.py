"""Convolutional blocks of encoders and decoders."""

from functools import partial
from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)
NARROW = 16  # channels that fill a vector of AVX-512


def subsample_narrow(module: M) -> M:
    """Let strided 1x1 convolutions of few channels take every n-th position of their input first, which gives the same result.

    oneDNN (torch 2.14) writes behind the end of their input's gradient where maps are channels last and 56 pixels wide or wider:
    with fewer channels than a vector holds, 8 (AVX2) or 16 (AVX-512).

    Args:
        module: a model or a part of one, which is changed; names and shapes of its tensors stay.
    """
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and max(conv.stride) > 1 and conv.in_channels < NARROW:
            conv.register_forward_pre_hook(partial(_subsample, conv.stride))
            conv.stride = (1, 1)
    return module


def _subsample(stride: tuple[int, ...], _: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return inputs[0][:, :, :: stride[0], :: stride[1]]


def conv_norm(inputs: int, outputs: int, *, kernel: int = 3, bias: bool = False) -> nn.Sequential:
    """Padded convolution with an odd kernel, batch normalisation and ReLU; the size is kept."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double_conv(inputs: int, outputs: int, *, bias: bool = False) -> nn.Sequential:
    """Block of one level: twice `conv_norm`."""
    return nn.Sequential(conv_norm(inputs, outputs, bias=bias), conv_norm(outputs, outputs, bias=bias))


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Interpolate maps (N, C, h, w) bilinearly to (N, C, height, width); maps of that size are returned unchanged."""
    if tuple(x.shape[2:]) == (height, width):
        return x
    return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)

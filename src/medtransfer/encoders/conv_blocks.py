"""Convolutional blocks of encoders and decoders."""

from torch import Tensor, nn
from torch.nn import functional


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

"""Convolutional blocks of encoders and decoders."""

from torch import Tensor, nn
from torch.nn import functional


def conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    """Padded 3x3 convolution, batch normalisation and ReLU; the size is kept."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Block of one level: twice `conv_norm`."""
    return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Interpolate maps (N, C, h, w) bilinearly to (N, C, height, width); maps of that size are returned unchanged."""
    if tuple(x.shape[2:]) == (height, width):
        return x
    return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)

"""Convolutional blocks of encoders and decoders."""

from torch import nn


def conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    """Padded 3x3 convolution, batch normalisation and ReLU; the size is kept."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Block of one level: twice `conv_norm`."""
    return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))

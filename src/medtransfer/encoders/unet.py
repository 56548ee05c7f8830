"""Contracting path of U-Net.

Source: Ronneberger et al. 2015 (arXiv 1505.04597) with the changes of section A.1.1: a 3x3 stem before the first level,
and padded convolutions. Batch normalisation follows every convolution, so these have no bias.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, whole_numbers
from medtransfer.encoders.conv_blocks import conv_norm, double_conv


class UNetEncoder(Encoder):
    """Levels of width * (1, 2, 4, ...) channels at strides 1, 2, 4, ...; the published one is 64 wide and 5 deep."""

    name = "unet"
    initialisation = "he"
    default_decoder = "unet"
    layers_by_depth: ClassVar[dict[str, Any]] = {"stem": "^stem", "stages": r"^stages\.(\d+)"}

    def __init__(self, width: int = 64, depth: int = 5, in_channels: int = RGB_CHANNELS) -> None:
        """Build the layers.

        Args:
            width: channels of the first level.
            depth: number of levels.
            in_channels: channels of the images.

        Raises:
            ValueError: an argument is not a positive whole number.
        """
        whole_numbers("width", [width], 1)
        whole_numbers("depth", [depth], 1)
        levels = [Level(2**level, width * 2**level) for level in range(depth)]
        super().__init__({"width": width, "depth": depth}, levels, levels[-1].stride, in_channels)
        self.stem = conv_norm(in_channels, width)
        inputs = [width, *(level.channels for level in levels)]
        self.stages = nn.ModuleList(double_conv(before, level.channels) for before, level in zip(inputs, levels, strict=False))
        self.pool = nn.MaxPool2d(2)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the outputs of the levels; see `Encoder.forward`."""
        x = self.stem(x)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(self.pool(x) if maps else x)  # (N, width * 2^level, H / 2^level, W / 2^level)
            maps.append(x)
        return maps

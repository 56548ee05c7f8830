"""Contracting path of the U-Net of Dippel et al., which they pretrain by contrast and reconstruction.

Source: Dippel et al. 2022 (encoder or decoder transfer), section 2.3, and their released model: per level two padded 3x3
convolutions with a bias, batch normalisation and ReLU, max-pooling between levels; 4,689,216 parameters at the published width.
The 1x1 convolutions on the skip connections count as decoder: `nearest`.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, whole_numbers
from medtransfer.encoders.conv_blocks import double_conv


class DippelUNetEncoder(Encoder):
    """Levels of width * (1, 2, 4, ...) channels at strides 1, 2, 4, ...; the published one is 64 wide and 4 deep."""

    name = "dippel-unet"
    initialisation = "he"
    default_decoder = "nearest"
    layers_by_depth: ClassVar[dict[str, Any]] = {"stages": r"^stages\.(\d+)"}

    def __init__(self, width: int = 64, depth: int = 4, in_channels: int = RGB_CHANNELS) -> None:
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
        inputs = [in_channels, *(level.channels for level in levels)]
        self.stages = nn.ModuleList(
            double_conv(before, level.channels, bias=True) for before, level in zip(inputs, levels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the outputs of the levels; see `Encoder.forward`."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(self.pool(x) if maps else x)  # (N, width * 2^level, H / 2^level, W / 2^level)
            maps.append(x)
        return maps

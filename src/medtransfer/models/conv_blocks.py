"""Maps (N, C, H, W) go in and come out: the blocks of the convolutional models."""

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    """Make a padded 3x3 convolution, batch normalisation and ReLU; the size is kept."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Make the block of one level: twice `conv_norm`."""
    return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))


class UpBlock(nn.Module):
    """Double the resolution, join the skip connection, and convolve twice.

    Source: Ronneberger et al. 2015, section 2; here the convolutions are padded, so nothing is cropped.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        """Make the layers.

        Args:
            inputs: channels of the coarser map.
            skip: channels of the skip connection, 0 for none.
            outputs: channels that come out.
        """
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = double_conv(outputs + skip, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Decode one level.

        Args:
            x: the coarser map (N, inputs, H, W).
            skip: (N, skip, 2H, 2W), None where the level has none.

        Returns:
            (N, outputs, 2H, 2W).
        """
        x = self.up(x)
        if skip is not None:
            x = torch.cat([skip, x], dim=1)  # (N, skip + outputs, 2H, 2W)
        return self.conv(x)

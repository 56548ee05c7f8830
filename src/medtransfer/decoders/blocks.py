"""One level of a convolutional decoder."""

import torch
from torch import Tensor, nn

from medtransfer.encoders.conv_blocks import double_conv


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

"""Block of one level of a convolutional decoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtransfer.encoders.contract import Level
from medtransfer.encoders.conv_blocks import double_conv, resized

NARROWEST = 4  # smallest number of channels to which blocks halve


class UpBlock(nn.Module):
    """Double the resolution, concatenate the skip connection, and convolve twice.

    If the skip connection is not twice as fine as the coarser map, the doubled map is interpolated to its size.
    Source: Ronneberger et al. 2015, section 2; here the convolutions are padded, so nothing is cropped.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        """Build the layers.

        Args:
            inputs: channels of the coarser map.
            skip: channels of the skip connection, 0 for none.
            outputs: channels of the result.
        """
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = double_conv(outputs + skip, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Decode one level.

        Args:
            x: the coarser map (N, inputs, H, W).
            skip: (N, skip, h, w), or None for a level without.

        Returns:
            (N, outputs, h, w), or (N, outputs, 2H, 2W) without a skip connection.
        """
        x = self.up(x)  # (N, outputs, 2H, 2W)
        if skip is not None:
            x = torch.cat([skip, resized(x, *skip.shape[2:])], dim=1)  # (N, skip + outputs, h, w)
        return self.conv(x)


def expanding(levels: Sequence[Level]) -> tuple[list[int], list[int]]:
    """Return the channels of the blocks of an expanding path, from the coarsest level to the input's size.

    A block halves the channels, but has at most as many as its skip connection.

    Args:
        levels: levels to decode, finest first.

    Returns:
        Channels of each block's skip connection, 0 without one; and the channels before the first block and after each.
    """
    coarsest, *skips = (level.channels for level in reversed(levels))
    widths = [coarsest]
    for skip in skips:
        widths.append(min(skip, max(widths[-1] // 2, NARROWEST)))
    for _ in range(doublings(levels[0].stride)):
        skips.append(0)
        widths.append(max(widths[-1] // 2, NARROWEST))
    return skips, widths


def doublings(stride: int) -> int:
    """Return the number of doublings that upsample a map of a stride at least to the input's size."""
    return (stride - 1).bit_length()

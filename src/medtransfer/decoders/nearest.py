"""Decoder of the U-Net of Dippel et al.: convolved skip connections and nearest upsampling.

Source: Dippel et al. 2022, section 2.3, and their released model: per level nearest upsampling, the concatenated skip connection
after a 1x1 convolution, batch normalisation and ReLU, and two 3x3 convolutions; a 1x1 head. On their encoder the convolutions of
the skip connections have 87,360 parameters, the rest 3,099,329 for one output.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from medtransfer.decoders.blocks import expanding
from medtransfer.decoders.contract import Decoder, Modules
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.conv_blocks import conv_norm, double_conv, resized


class NearestBlock(nn.Module):
    """Double the resolution by repetition, concatenate the skip connection, and convolve twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        """Build the layers.

        Args:
            inputs: channels of the coarser map.
            skip: channels of the skip connection, 0 for none.
            outputs: channels of the result.
        """
        super().__init__()
        self.conv = double_conv(inputs + skip, outputs, bias=True)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Decode one level: (N, inputs, H, W) and the skip connection (N, skip, h, w), or None for a level without."""
        x = functional.interpolate(x, scale_factor=2, mode="nearest")  # (N, inputs, 2H, 2W)
        if skip is not None:
            x = torch.cat([resized(x, *skip.shape[2:]), skip], dim=1)  # (N, inputs + skip, h, w)
        return self.conv(x)


class NearestDecoder(Decoder):
    """A `NearestBlock` with a convolved skip connection for every level but the coarsest, plain ones to the input's size, a head.

    A block has as many channels as its skip connection, but at most half as many as the block before.
    """

    name = "nearest"
    initialisation = "he"

    def __init__(self, levels: Sequence[Level], outputs: int) -> None:
        """Build the layers.

        Args:
            levels: levels to decode, finest first.
            outputs: channels of the logits.
        """
        super().__init__(levels[0].stride)
        skips, widths = expanding(levels)
        self.skips = nn.ModuleList(conv_norm(skip, skip, kernel=1, bias=True) for skip in skips if skip)
        self.blocks = nn.ModuleList(
            NearestBlock(before, skip, after) for before, skip, after in zip(widths, skips, widths[1:], strict=False)
        )
        self.head = nn.Conv2d(widths[-1], outputs, 1)

    @classmethod
    def build(cls, encoder: Encoder, outputs: int) -> Self:
        """Build the decoder for an encoder's levels."""
        return cls(encoder.projected, outputs)

    @property
    def tail(self) -> Modules:
        """The last block, if there is any, and the head."""
        return (*self.blocks[-1:], self.head)

    def trunk(self, maps: list[Tensor]) -> tuple[Tensor | None, ...]:
        """Decode the maps, finest first, up to the last block."""
        *skips, x = maps
        convolved: list[Tensor | None] = [conv(skip) for conv, skip in zip(self.skips, reversed(skips), strict=True)]
        convolved += [None] * (len(self.blocks) - len(convolved))
        for block, skip in zip(self.blocks[:-1], convolved, strict=False):
            x = block(x, skip)
        return x, convolved[-1] if convolved else None

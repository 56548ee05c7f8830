"""Expanding path of U-Net.

Source: Ronneberger et al. 2015 (arXiv 1505.04597), section 2: per level a 2x2 transposed convolution, the concatenated
skip connection and two 3x3 convolutions; a 1x1 head.
"""

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from medtransfer.decoders.blocks import UpBlock, expanding
from medtransfer.decoders.contract import Decoder, Modules
from medtransfer.encoders.contract import Encoder, Level


class UNetDecoder(Decoder):
    """An `UpBlock` with a skip connection for every level but the coarsest, plain ones to the input's size, and a 1x1 head.

    A block halves the channels, but has at most as many as its skip connection; on U-Net's own encoder these are equal.
    """

    name = "unet"
    initialisation = "he"

    def __init__(self, levels: Sequence[Level], outputs: int) -> None:
        """Build the layers.

        Args:
            levels: levels to decode, finest first.
            outputs: channels of the logits.
        """
        super().__init__(levels[0].stride)
        skips, widths = expanding(levels)
        self.blocks = nn.ModuleList(
            UpBlock(before, skip, after) for before, skip, after in zip(widths, skips, widths[1:], strict=False)
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
        *finer, x = maps
        skips: list[Tensor | None] = [*reversed(finer), *[None] * (len(self.blocks) - len(finer))]
        for block, skip in zip(self.blocks[:-1], skips, strict=False):
            x = block(x, skip)
        return x, skips[-1] if skips else None

"""The maps of a U-Net encoder go in; logits (N, outputs, H, W) come out: U-Net's expanding path.

Source: Ronneberger et al. 2015 (arXiv 1505.04597), section 2: 2x2 transposed convolution, concatenated skip, two 3x3
convolutions a level, 1x1 head.
"""

from torch import Tensor, nn

from medtransfer.decoders.blocks import UpBlock
from medtransfer.encoders.contract import Encoder


class UNetDecoder(nn.Module):
    """One `UpBlock` for every level but the coarsest, and a 1x1 head."""

    initialisation = "he"

    def __init__(self, encoder: Encoder, outputs: int) -> None:
        """Make the layers.

        Args:
            encoder: whose levels are decoded; the finest must have stride 1.
            outputs: channels of the logits.
        """
        super().__init__()
        channels = [level.channels for level in reversed(encoder.levels)]
        self.blocks = nn.ModuleList(UpBlock(before, after, after) for before, after in zip(channels, channels[1:], strict=False))
        self.head = nn.Conv2d(channels[-1], outputs, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Decode the maps, finest first, into logits (N, outputs, H, W)."""
        *skips, x = maps
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return self.head(x)

"""Decoder of ResNet50 Attention U-Net.

Source: section A.1.2 and Oktay et al. 2018 (arXiv 1804.03999), equations 1 and 2, figure 2: additive gates with a
single attention map. Where that paper is silent, the inner channels of a gate are half of its skip connection's.
"""

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from medtransfer.decoders.blocks import NARROWEST, UpBlock, doublings
from medtransfer.decoders.contract import Decoder, Modules
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.conv_blocks import resized, subsample_narrow

# 2048 -> 256: from ResNet50's last level to the first of the decoder's published 256-128-64-32-16 channels.
REDUCTION = 8


class AttentionGate(nn.Module):
    """Weigh each position of a skip connection by a map in (0, 1), computed from it and from the coarser decoder map.

    alpha = sigmoid(psi(relu(W_x x + W_g g + b_g))), with x resized to the resolution of g, and alpha back to that of x.
    """

    def __init__(self, skip: int, gating: int) -> None:
        """Build the layers.

        Args:
            skip: channels of the skip connection x.
            gating: channels of the gating signal g.
        """
        super().__init__()
        inner = max(skip // 2, 1)
        self.skip = subsample_narrow(nn.Conv2d(skip, inner, 1, stride=2, bias=False))
        self.gating = nn.Conv2d(gating, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Gate a skip connection.

        Args:
            skip: (N, skip, h, w), usually twice as fine as the gating signal.
            gating: (N, gating, H, W).

        Returns:
            The weighted skip connection (N, skip, h, w).
        """
        joint = functional.relu(resized(self.skip(skip), *gating.shape[2:]) + self.gating(gating))  # (N, inner, H, W)
        alpha = self.psi(joint).sigmoid()  # (N, 1, H, W)
        alpha = functional.interpolate(alpha, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return skip * alpha


class AttentionDecoder(Decoder):
    """An `UpBlock` with a gated skip connection for every level but the coarsest, plain ones to the input's size, a 1x1 head."""

    name = "attention"
    initialisation = "he"

    def __init__(self, levels: Sequence[Level], outputs: int) -> None:
        """Build the layers.

        Args:
            levels: levels to decode, finest first.
            outputs: channels of the logits.
        """
        super().__init__(levels[0].stride)
        coarsest, *skips = (level.channels for level in reversed(levels))
        plain = doublings(self.stride)
        widths = [max(coarsest // REDUCTION >> index, NARROWEST) for index in range(len(skips) + plain)]
        inputs = [coarsest, *widths]
        self.gates = nn.ModuleList(AttentionGate(skip, gating) for skip, gating in zip(skips, inputs, strict=False))
        self.blocks = nn.ModuleList(
            UpBlock(before, skip, after) for before, skip, after in zip(inputs, [*skips, *[0] * plain], widths, strict=False)
        )
        self.head = nn.Conv2d(inputs[-1], outputs, 1)

    @classmethod
    def build(cls, encoder: Encoder, outputs: int) -> Self:
        """Build the decoder for an encoder's levels."""
        return cls(encoder.projected, outputs)

    @property
    def tail(self) -> Modules:
        """The last block, if there is any, and the head; the gate of the last block's skip connection is shared."""
        return (*self.blocks[-1:], self.head)

    def trunk(self, maps: list[Tensor]) -> tuple[Tensor | None, ...]:
        """Decode the maps, finest first, up to the last block."""
        *finer, x = maps
        skips = list(reversed(finer))
        for index, block in enumerate(self.blocks[:-1]):
            x = block(x, self._gated(index, skips, x))
        return x, self._gated(len(self.blocks) - 1, skips, x)

    def _gated(self, index: int, skips: list[Tensor], x: Tensor) -> Tensor | None:
        """Return the gated skip connection of a block; None for a block without."""
        return self.gates[index](skips[index], x) if 0 <= index < len(skips) else None

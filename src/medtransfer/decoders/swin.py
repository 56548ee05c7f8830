"""Decoder of Swin U-Net, which mirrors a Swin encoder.

Source: Cao et al. 2021 (arXiv 2105.05537), section 3: patch expanding, concatenated skip and linear layer, Swin blocks
as many and as wide as in the encoder's stage of that resolution, 4x patch expanding, 1x1 head. The skip connections
are the outputs of the encoder's stages, as in figure 1.
"""

from typing import Self

import torch
from torch import Tensor, nn

from medtransfer.decoders.contract import Decoder, Modules
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.swin import PATCH, SwinEncoder
from medtransfer.encoders.timm_library import SwinTransformerStage, calculate_drop_path_rates


class PatchExpand(nn.Module):
    """Trade channels for resolution: a linear layer, rearrangement to a `factor` times finer map, layer norm."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        """Build the layers.

        Args:
            inputs: channels of the coarser map.
            outputs: channels of the finer map.
            factor: how many times finer the map becomes along each side.
        """
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(inputs, factor**2 * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Expand (N, H, W, inputs) to (N, factor H, factor W, outputs)."""
        batch, height, width, _ = x.shape
        x = self.expand(x).view(batch, height, width, self.factor, self.factor, -1)
        x = x.transpose(2, 3).reshape(batch, height * self.factor, width * self.factor, -1)  # (N, fH, fW, outputs)
        return self.norm(x)


class FinalPatchExpand(PatchExpand):
    """Last expansion, from patches to pixels; its weights are initialised by a special rule (A.1.4)."""

    expands_patches_to_pixels = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, PATCH)


class SwinDecoder(Decoder):
    """Patch expansion, a merging linear layer and Swin blocks for every stage but the coarsest; 4x expansion; head."""

    name = "swin"
    initialisation = "truncated"
    needs = "the levels of a Swin encoder, whose blocks it mirrors"

    def __init__(self, encoder: SwinEncoder, outputs: int) -> None:
        """Build the layers.

        Args:
            encoder: encoder whose stages are mirrored.
            outputs: channels of the logits.
        """
        super().__init__(encoder.levels[0].stride)
        channels = [level.channels for level in reversed(encoder.levels)]
        pairs = list(zip(channels, channels[1:], strict=False))
        self.expands = nn.ModuleList(PatchExpand(before, after, 2) for before, after in pairs)
        self.merges = nn.ModuleList(nn.Linear(2 * after, after) for _, after in pairs)
        self.stages = nn.ModuleList(_mirror(encoder, stage) for stage in reversed(range(len(pairs))))
        self.norm = nn.LayerNorm(channels[-1])
        self.final = FinalPatchExpand(channels[-1])
        self.head = nn.Conv2d(channels[-1], outputs, 1, bias=False)

    @classmethod
    def fits(cls, encoder: Encoder) -> bool:
        """Return whether the encoder has Swin blocks to mirror."""
        return isinstance(encoder, SwinEncoder)

    @classmethod
    def build(cls, encoder: Encoder, outputs: int) -> Self:
        """Build the mirror of a Swin encoder."""
        assert isinstance(encoder, SwinEncoder)
        return cls(encoder, outputs)

    @property
    def tail(self) -> Modules:
        """The blocks of the finest stage, if there is any, the expansion to pixels and the head."""
        return (*self.stages[-1:], self.norm, self.final, self.head)

    def trunk(self, maps: list[Tensor]) -> tuple[Tensor | None, ...]:
        """Decode the maps, finest first, up to the blocks of the finest stage."""
        *skips, x = (features.permute(0, 2, 3, 1) for features in maps)  # (N, H/stride, W/stride, C)
        last = len(self.stages) - 1
        for index, (expand, merge, skip) in enumerate(zip(self.expands, self.merges, reversed(skips), strict=True)):
            x = merge(torch.cat([expand(x), skip], dim=-1))
            x = self.stages[index](x) if index < last else x
        return (x,)

    def finish(self, tail: Modules, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """Compute logits (N, outputs, H, W) by a tail."""
        *layers, head = tail
        x = inputs[0]
        for layer in layers:
            x = layer(x)
        assert x is not None
        return head(x.permute(0, 3, 1, 2))  # from (N, H, W, embed)


def _mirror(encoder: SwinEncoder, stage: int) -> SwinTransformerStage:
    """Build the Swin blocks of one decoder stage, with the depth, heads, windows and rates of the encoder's stage."""
    arguments, level = encoder.arguments, encoder.levels[stage]
    rates = calculate_drop_path_rates(arguments["stochastic_depth"], arguments["depths"], stagewise=True)
    side = arguments["size"] // level.stride
    return SwinTransformerStage(
        level.channels, level.channels, (side, side), arguments["depths"][stage], downsample=False,
        num_heads=arguments["heads"][stage], window_size=arguments["window"], dynamic_mask=True, drop_path=rates[stage],
    )  # fmt: skip

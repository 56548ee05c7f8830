"""Contract of decoders: from an encoder's maps, finest first, to logits (N, outputs, H, W) of the input's size."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional

from medtransfer.encoders.contract import Encoder, Level, Part
from medtransfer.encoders.conv_blocks import resized

Modules = tuple[nn.Module, ...]


class LevelNorm(nn.BatchNorm2d):
    """Batch normalisation; a single value per channel, which has no variance, is normalised by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a map (N, C, H, W)."""
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class Decoder(Part):
    """Base class of decoders; a subclass sets the class attributes and writes `tail` and `trunk`.

    Attributes:
        name: key of DECODERS.
        initialisation: name of the rule that `initialise` follows.
        needs: requirement of `fits`, for messages.
        stride: stride of the finest level, whose map of an H x W image has H/stride x W/stride positions.
        norms: one per level after `normalise`, else empty.
        projections: one per level after `project`, else empty.
    """

    name: ClassVar[str]
    initialisation: ClassVar[str]
    needs: ClassVar[str] = "one level or more, from the finest to the coarsest"

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norms = nn.ModuleList()
        self.projections = nn.ModuleList()

    @classmethod
    def fits(cls, encoder: Encoder) -> bool:
        """Return whether the decoder fits the encoder's levels."""
        strides = [level.stride for level in encoder.levels]
        return len(strides) > 0 and all(finer <= coarser for finer, coarser in pairwise(strides))

    @classmethod
    def build(cls, encoder: Encoder, outputs: int) -> Self:
        """Build the decoder for an encoder that it fits.

        Args:
            encoder: encoder whose levels are decoded.
            outputs: channels of the logits.
        """
        raise NotImplementedError(f"{cls.__name__} cannot be built")

    def normalise(self, levels: Sequence[Level]) -> None:
        """Put a batch normalisation before each level, for encoders with `normalise_maps`."""
        self.norms.extend(LevelNorm(level.channels) for level in levels)

    def project(self, levels: Sequence[Level], projected: Sequence[Level]) -> None:
        """Put a 1x1 convolution before each level, from the encoder's levels to those that the decoder was built for."""
        self.projections.extend(nn.Conv2d(a.channels, b.channels, 1) for a, b in zip(levels, projected, strict=True))

    @property
    def tail(self) -> Modules:
        """The layers of the last block and of the head, in the order of `finish`."""
        raise NotImplementedError(f"{type(self).__name__} has no last block")

    def trunk(self, maps: list[Tensor]) -> tuple[Tensor | None, ...]:
        """Decode the maps, finest first, up to the last block; return the inputs of the last block."""
        raise NotImplementedError(f"{type(self).__name__} decodes no maps")

    def finish(self, tail: Modules, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """Compute logits of any size by a tail, the decoder's own or a copy; without a block the head takes the first input."""
        *blocks, head = tail
        return head(blocks[0](*inputs) if blocks else inputs[0])

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Decode the maps of images (N, 3, H, W), finest first, into logits (N, outputs, H, W)."""
        return self.decode(maps, [self.tail])[0]

    def decode(self, maps: list[Tensor], tails: Sequence[Modules]) -> list[Tensor]:
        """Decode the maps once, and finish by several tails; everything before the last block is shared.

        Args:
            maps: maps of images (N, 3, H, W), finest first.
            tails: layers of the last block and of the head, as in `tail`.

        Returns:
            The logits (N, outputs, H, W) of each tail.
        """
        height, width = (side * self.stride for side in maps[0].shape[2:])
        if self.norms:
            maps = [norm(level) for norm, level in zip(self.norms, maps, strict=True)]
        if self.projections:
            maps = [projection(level) for projection, level in zip(self.projections, maps, strict=True)]
        inputs = self.trunk(maps)
        return [resized(self.finish(tail, inputs), height, width) for tail in tails]

"""Contract of decoders: from an encoder's maps, finest first, to logits (N, outputs, H, W) of the input's size."""

from itertools import pairwise
from typing import ClassVar, Self

from torch import Tensor, nn

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.conv_blocks import resized


class Decoder(nn.Module):
    """Base class of decoders; a subclass sets the class attributes and writes `decode`.

    Attributes:
        name: key of DECODERS.
        initialisation: name of the rule that `initialise` follows.
        needs: requirement of `fits`, for messages.
        stride: stride of the finest level, whose map of an H x W image has H/stride x W/stride positions.
    """

    name: ClassVar[str]
    initialisation: ClassVar[str]
    needs: ClassVar[str] = "one level or more, from the finest to the coarsest"

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

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

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Decode the maps into logits of any size; see `forward`."""
        raise NotImplementedError(f"{type(self).__name__} computes no logits")

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Decode the maps of images (N, 3, H, W), finest first, into logits (N, outputs, H, W)."""
        height, width = (side * self.stride for side in maps[0].shape[2:])
        return resized(self.decode(maps), height, width)

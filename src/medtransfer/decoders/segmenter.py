"""Models of an encoder and a decoder; a segmenter takes images (N, 3, H, W) to logits (N, outputs, H, W)."""

from torch import Tensor, nn

from medtransfer.decoders.contract import Decoder
from medtransfer.encoders.contract import Encoder, Part


class EncoderDecoder(nn.Module):
    """A model whose decoder computes logits from the maps of its encoder.

    Attributes:
        encoder: computes the maps.
        decoder: computes logits from the maps.
        initialisation: name of the rule that `initialise` follows.
    """

    def __init__(self, encoder: Encoder, decoder: Part) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.initialisation = encoder.initialisation

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of images (N, 3, H, W)."""
        return self.decoder(self.encoder(x))


class Segmenter(EncoderDecoder):
    """A segmentation model; its logits are (N, outputs, H, W)."""

    decoder: Decoder


def outputs_of(classes: int) -> int:
    """Return the number of output channels: one for a single class, else one per class and one for the background.

    Args:
        classes: number of non-background classes.

    Raises:
        ValueError: `classes` is less than one.
    """
    if classes < 1:
        raise ValueError(f"expected at least one non-background class, but got {classes}")
    return 1 if classes == 1 else classes + 1

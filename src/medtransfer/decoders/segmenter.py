"""Images (N, 3, H, W) go in; logits (N, outputs, H, W) come out: an encoder and its decoder."""

from torch import Tensor, nn

from medtransfer.encoders.contract import Encoder


class Segmenter(nn.Module):
    """A segmentation model.

    Attributes:
        encoder: gives the maps.
        decoder: turns them into logits.
        initialisation: name of the rule that `initialise` follows.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.initialisation = encoder.initialisation

    def forward(self, x: Tensor) -> Tensor:
        """Segment images (N, 3, H, W) into logits (N, outputs, H, W)."""
        return self.decoder(self.encoder(x))


def outputs_of(classes: int) -> int:
    """Give the number of output channels: one for a single class, else one a class and one for the background.

    Args:
        classes: number of non-background classes.

    Raises:
        ValueError: there is no class.
    """
    if classes < 1:
        raise ValueError(f"expected at least one non-background class, but got {classes}")
    return 1 if classes == 1 else classes + 1

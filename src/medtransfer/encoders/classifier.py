"""Encoder with a linear classification head, the model of supervised pretraining."""

from torch import Tensor, nn

from medtransfer.encoders.contract import Encoder


class Classifier(nn.Module):
    """Spatial mean of the encoder's coarsest map, then one linear layer. Source: section A.3.

    Attributes:
        encoder: computes the maps.
        head: linear layer.
        initialisation: name of the rule that `initialise` follows.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        """Add a new head to an encoder.

        Args:
            encoder: encoder of the images.
            classes: number of source classes.

        Raises:
            ValueError: `classes` is less than one.
        """
        if classes < 1:
            raise ValueError(f"expected at least one class, but got {classes}")
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.levels[-1].channels, classes)
        self.initialisation = encoder.initialisation

    def forward(self, x: Tensor) -> Tensor:
        """Classify images (N, 3, H, W) into logits (N, classes)."""
        return self.head(self.encoder(x)[-1].mean(dim=(2, 3)))  # (N, C, h, w) -> (N, C) -> (N, classes)

"""Classifier of images: an encoder and a head on its coarsest map, from images (N, 3, H, W) to logits (N, outputs)."""

from torch import Tensor, nn

from medtransfer.decoders import require_head
from medtransfer.decoders.contract import LevelNorm
from medtransfer.decoders.fusion_head import FusionHead
from medtransfer.decoders.segmenter import EncoderDecoder
from medtransfer.encoders.contract import Encoder, Part


class LinearHead(Part):
    """Spatial mean of the coarsest map, then one linear layer.

    Attributes:
        initialisation: name of the rule that `initialise` follows.
        norm: normalises the map of encoders with `normalise_maps`.
        linear: the layer.
    """

    initialisation = "head"

    def __init__(self, encoder: Encoder, outputs: int) -> None:
        """Build the layers for an encoder's coarsest level."""
        super().__init__()
        channels = encoder.levels[-1].channels
        self.norm = LevelNorm(channels) if encoder.normalise_maps else nn.Identity()
        self.linear = nn.Linear(channels, outputs)

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Return the features (N, C) that the linear layer is applied to."""
        features: Tensor = self.norm(maps[-1]).mean(dim=(2, 3))  # (N, C, h, w) -> (N, C)
        return features

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Classify the maps of images into logits (N, outputs)."""
        return self.linear(self.pool(maps))


class ImageClassifier(EncoderDecoder):
    """A classification model; its logits are (N, outputs)."""

    decoder: LinearHead | FusionHead


def build_image_classifier(encoder: Encoder, outputs: int, decoder: str | None = None) -> ImageClassifier:
    """Build a classification model.

    Args:
        encoder: any encoder.
        outputs: number of logits.
        decoder: `fused` for the head of a fusion; None for a linear one. Decoders of masks do not fit.

    Raises:
        InputError: a decoder is named.
        ValueError: `outputs` is less than one.
    """
    require_head(decoder)
    if outputs < 1:
        raise ValueError(f"expected at least one output, but got {outputs}")
    head = LinearHead(encoder, outputs) if decoder is None else FusionHead(encoder, outputs, **encoder.head_options)
    return ImageClassifier(encoder, head)

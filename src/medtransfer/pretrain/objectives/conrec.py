"""ConRec: contrast of two masked views, and their reconstruction by heads that share most of the decoder.

Source: Dippel et al. 2021 (contrastive reconstruction), whose released code weights NT-Xent by 1 and the mean squared error by
100, and pools by attention; Dippel et al. 2022, section 2.2, for the four heads.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from medtransfer.data.pretext_views import View
from medtransfer.encoders.contract import Encoder
from medtransfer.pretrain.objectives.contrast import AttentionPooling, Projection, nt_xent
from medtransfer.pretrain.objectives.reconstruction import Reconstruction, ReconstructionModel
from medtransfer.pretrain.recipe import Recipe


class ConRecModel(ReconstructionModel):
    """A reconstruction model that projects the coarsest map, pooled by attention, too."""

    def __init__(self, encoder: Encoder, heads: list[str], decoder: str | None) -> None:
        """Add decoder, heads, pooling and projection to an encoder; arguments as of `ReconstructionModel`."""
        super().__init__(encoder, heads, decoder)
        self.pooling = AttentionPooling(encoder.levels[-1].channels)
        self.projection = Projection(encoder.levels[-1].channels)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the projections (N, 128) of images (N, 3, H, W), and the output (N, C, H, W) of each head."""
        maps = self.encoder(x)
        return self.projection(self.pooling(maps[-1])), self.reconstruct(maps)


class ConRec(Reconstruction):
    """Encoder, decoder, heads, pooling and projection, trained by NT-Xent and the mean squared error; see `Objective`."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "heads", "pooling", "projection")
    least_images: ClassVar[int] = 2

    def __init__(self, recipe: Recipe, images: Any) -> None:
        """Take the views."""
        super().__init__(recipe, images)
        self.terms = ("contrast", *self.terms)

    def build(self, encoder: Encoder) -> nn.Module:
        """Build all parts."""
        return ConRecModel(encoder, self.heads, self.recipe.options["decoder"])

    def loss(self, outputs: Any, targets: View) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of NT-Xent and of the weighted mean squared error."""
        projections, reconstructions = outputs
        contrast = nt_xent(projections, self.recipe.options["temperature"])
        error, errors = super().loss(reconstructions, targets)
        return contrast + error, {"contrast": contrast, **errors}

    def reconstructions(self, outputs: Any) -> list[Tensor]:
        """Return the outputs of the heads among those of the model."""
        return outputs[1]

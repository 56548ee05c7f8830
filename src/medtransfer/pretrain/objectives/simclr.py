"""SimCLR: the two views of an image are to be told from those of the other images in the micro-batch.

Source: Chen et al. 2020 (arXiv 2002.05709), with the numbers of Dippel et al. 2022, who compare with it.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Generator, Tensor, nn

from medtransfer.encoders.contract import Encoder
from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.objectives.contrast import Projection, nt_xent
from medtransfer.pretrain.objectives.views import by_view, normalised, open_views
from medtransfer.pretrain.recipe import Recipe
from medtransfer.training.fabric import Fabric


class SimCLRModel(nn.Module):
    """Spatial mean of the encoder's coarsest map, then a projection."""

    def __init__(self, encoder: Encoder) -> None:
        """Add a projection to an encoder."""
        super().__init__()
        self.encoder = encoder
        self.projection = Projection(encoder.levels[-1].channels)
        self.initialisation = encoder.initialisation

    def forward(self, x: Tensor) -> Tensor:
        """Project images (N, 3, H, W) to (N, 128)."""
        return self.projection(self.encoder(x)[-1].mean(dim=(2, 3)))


class SimCLR(Objective):
    """Encoder and projection, trained by NT-Xent; see `Objective`."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "projection")
    least_images: ClassVar[int] = 2

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open two views of each picture."""
        return cls(recipe, open_views(root, recipe, masks=False))

    def build(self, encoder: Encoder) -> SimCLRModel:
        """Build encoder and projection."""
        return SimCLRModel(encoder)

    def inputs(self, fabric: Fabric, batch: Tensor, generator: Generator | None) -> tuple[Tensor, Any]:
        """Return both views of B images, (2 B, 3, H, W)."""
        return normalised(by_view(fabric, batch), self.recipe), None

    def loss(self, outputs: Tensor, targets: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return NT-Xent of the projections (2 B, 128)."""
        return nt_xent(outputs, self.recipe.options["temperature"]), {}

"""Reconstruction of masked patches by encoder and decoder, with the loss on masked pixels alone.

Masked patches are 0 after normalisation, since a convolutional encoder cannot leave them out. Source: He et al. 2022 (MAE, arXiv
2111.06377) for the task; Xie et al. 2022 (SimMIM, arXiv 2111.09886) for encoders that see the masked patches.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn

from medtransfer.decoders.build import build_decoder
from medtransfer.decoders.segmenter import EncoderDecoder
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.objectives.gallery import draw_columns, some_items
from medtransfer.pretrain.objectives.views import open_views, plain_views
from medtransfer.pretrain.recipe import Recipe
from medtransfer.seeds import derive_seed
from medtransfer.training.fabric import Fabric


class MaskedPatches(Objective):
    """Encoder and decoder, trained by the mean squared error of masked pixels, of normalised images; see `Objective`."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open a crop of each picture.

        Raises:
            InputError: there are no pictures, or patches do not divide the images.
        """
        if recipe.size % (patch := recipe.options["patch"]) or recipe.size == patch:
            raise InputError(
                f"expected a patch of pretrain.origins.{recipe.origin} that divides pretrain.size {recipe.size}, but got {patch}; "
                "change one of them"
            )
        return cls(recipe, open_views(root, recipe, views=1, colours=False, masks=False))

    def build(self, encoder: Encoder) -> nn.Module:
        """Build encoder and decoder."""
        return EncoderDecoder(encoder, build_decoder(encoder, encoder.in_channels, self.recipe.options["decoder"]))

    def inputs(self, fabric: Fabric, batch: Tensor, generator: Generator | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return masked images (B, 3, H, W), the images, and the map of masked pixels (B, 1, H, W).

        Validation images have the same masks in every epoch.
        """
        images = plain_views(fabric, batch, self.recipe)
        own = generator or torch.Generator().manual_seed(derive_seed("masks", self.recipe.seed))
        mask = random_patches(len(images), self.recipe.size, self.recipe.options["patch"], self.recipe.options["ratio"], own)
        mask = fabric.to_device(mask)
        return images * (1 - mask), (images, mask)

    def loss(self, outputs: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the masked pixels."""
        images, mask = targets
        errors = (outputs.float() - images).square().mean(1, keepdim=True)  # (B, 1, H, W)
        return (errors * mask).sum() / mask.sum(), {}

    @torch.no_grad()
    def draw(self, path: Path, fabric: Fabric, model: nn.Module) -> None:
        """Draw validation images, masked, and with masked pixels as the model fills them."""
        inputs, (images, mask) = self.inputs(fabric, torch.stack(some_items(self.images["val"])), None)
        with fabric.autocast():
            outputs = model(inputs).float()
        filled = images * (1 - mask) + outputs * mask
        draw_columns(path, {"image": self._pixels(images), "input": self._pixels(inputs), "filled in": self._pixels(filled)})

    def _pixels(self, images: Tensor) -> Any:
        """Undo the normalisation of images (N, 3, H, W)."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.recipe.mean, self.recipe.std))
        return images * std + mean


def random_patches(count: int, size: int, patch: int, ratio: float, generator: Generator) -> Tensor:
    """Draw a map of masked patches for each image, as many in each.

    Args:
        count: number of images N.
        size: side of the images, a multiple of `patch`, pixels.
        patch: side of a patch, pixels.
        ratio: share of masked patches; at least one patch is masked, and one is not.
        generator: source of all randomness, on the CPU.

    Returns:
        float32 (N, 1, size, size), 1 where pixels are masked, else 0.
    """
    side = size // patch
    masked = min(max(1, round(ratio * side**2)), side**2 - 1)
    ranks = torch.rand(count, side**2, generator=generator).argsort(1).argsort(1)
    grid = (ranks < masked).float().view(count, 1, side, side)
    return grid.repeat_interleave(patch, 2).repeat_interleave(patch, 3)

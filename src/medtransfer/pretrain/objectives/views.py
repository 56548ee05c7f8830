"""Open the pictures of a source as pretext views, and make micro-batches of them."""

from pathlib import Path

from torch import Tensor

from medtransfer.data.pixels import normalise
from medtransfer.data.pretext_views import PretextViews
from medtransfer.data.source_folders import SPLITS
from medtransfer.data.unlabelled_pictures import open_pictures
from medtransfer.pretrain.recipe import Recipe
from medtransfer.training.device import place, place_pixels
from medtransfer.training.fabric import Fabric


def open_views(root: Path, recipe: Recipe, *, views: int = 2, colours: bool = True, masks: bool = True) -> dict[str, PretextViews]:
    """Open both splits; arguments as of `PretextViews`.

    Raises:
        InputError: there are no pictures in one of them.
    """
    return {
        split: PretextViews(
            open_pictures(root, split), recipe.size, recipe.seed, views=views, smallest=recipe.options["smallest_crop"],
            colours=colours, masks=masks, resampling=recipe.resampling,
        )
        for split in SPLITS
    }  # fmt: skip


def by_view(fabric: Fabric, batch: Tensor) -> Tensor:
    """Copy views (B, V, C, H, W) to the device, as (V * B, C, H, W): the first views of all images, then the second ones."""
    return place(fabric, batch.transpose(0, 1).flatten(0, 1))


def plain_views(fabric: Fabric, batch: Tensor, recipe: Recipe) -> Tensor:
    """Copy pixels of views (B, V, H, W, C) to the device in the order of `by_view`, normalised: (V * B, C, H, W)."""
    return place_pixels(fabric, batch.transpose(0, 1).flatten(0, 1), recipe.mean, recipe.std)


def normalised(images: Tensor, recipe: Recipe) -> Tensor:
    """Normalise images (N, 3, H, W) in [0, 1] as the recipe's input contract says."""
    return normalise(images, recipe.mean, recipe.std)

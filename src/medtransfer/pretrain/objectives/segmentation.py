"""Segmentation of a prepared target as the source, so that encoder and decoder are pretrained."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Generator, Tensor, nn

from medtransfer.data.colours import to_colours
from medtransfer.data.prepared_images import SPLITS, check_images
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.pretrain.objectives.contract import VALIDATION_LOSS, Objective
from medtransfer.pretrain.objectives.gallery import draw_columns, some_items
from medtransfer.pretrain.recipe import Recipe
from medtransfer.records import IGNORE, SOURCE_DICE, TARGET_FILE, PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.training.device import place_pixels
from medtransfer.training.fabric import Fabric

TASK = TASKS["segmentation"]


class SourceSegmentation(Objective):
    """Encoder and decoder, trained to segment the source; see `Objective`."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __init__(self, recipe: Recipe, images: Any, target: PreparedTarget) -> None:
        """Take the samples of a target."""
        super().__init__(recipe, images)
        self._target = target

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open the training and validation samples of a prepared target.

        Raises:
            InputError: the source is none with masks, its images have another size, or the loss is unknown.
        """
        target = PreparedTarget.open(root).verify()
        if target.info.task != "segmentation":
            raise InputError(
                f"expected a target with masks to segment, but {root / TARGET_FILE} has the task {target.info.task}; name another "
                "source_root"
            )
        check_images(target)
        if tuple(target.info.input) != (recipe.size, recipe.size):
            raise InputError(
                f"expected images of pretrain.size {recipe.size}x{recipe.size} in {root / TARGET_FILE}, but got "
                f"{'x'.join(map(str, target.info.input))}; prepare the target with that size, or change pretrain.size"
            )
        if (loss := recipe.options["loss"]) not in (None, *TASK.losses):
            raise InputError(
                f"expected a loss among {', '.join(TASK.losses)} in pretrain.origins.{recipe.origin}, but got {loss!r}; correct it"
            )
        images = {
            split: TASK.samples(target, name, augment=split == "train", mean=recipe.mean, std=recipe.std, seed=recipe.seed)
            for split, name in SPLITS.items()
        }
        return cls(recipe, images, target)

    @property
    def recorded(self) -> str:
        """The Dice on the validation samples."""
        return SOURCE_DICE

    @property
    def measured(self) -> tuple[str, ...]:
        """The Dice and the loss on the validation samples."""
        return (SOURCE_DICE, VALIDATION_LOSS)

    def build(self, encoder: Encoder) -> nn.Module:
        """Build a segmenter."""
        return TASK.model(encoder, len(self._target.info.classes), self.recipe.options["decoder"])

    def inputs(self, fabric: Fabric, batch: Any, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, H, W) and masks (B, H, W)."""
        return place_pixels(fabric, batch[0], self.recipe.mean, self.recipe.std), fabric.to_device(batch[1])

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the segmentation loss."""
        return TASK.loss(outputs.float(), targets, self.recipe.options["loss"]), {}

    @torch.no_grad()
    def measure(self, fabric: Fabric, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the mean over classes of the Dice pooled over all validation pixels, and the mean loss of a batch's samples."""
        model.eval()
        classes = len(self._target.info.classes)
        losses = torch.zeros(2, device=fabric.device)  # sum of the images' losses, number of images
        pixels = torch.zeros(2, classes, dtype=torch.int64, device=fabric.device)  # overlap (twice) and area of each class
        for batch in batches:
            images, masks = self.inputs(fabric, batch, None)
            with fabric.autocast():
                logits = model(images)
            loss = self.loss(logits, masks)[0]
            losses += len(images) * torch.stack([loss, torch.ones_like(loss)])
            predicted, known = _decide(logits), masks != IGNORE
            for index in range(classes):
                ours, theirs = (predicted == index + 1) & known, (masks == index + 1) & known
                pixels[:, index] += torch.stack([2 * (ours & theirs).sum(), ours.sum() + theirs.sum()])
        total, count = fabric.all_reduce(losses, reduce_op="sum").tolist()  # type: ignore[union-attr]
        overlaps, areas = fabric.all_reduce(pixels, reduce_op="sum").tolist()  # type: ignore[union-attr]
        dice = [overlap / area if area else 1.0 for overlap, area in zip(overlaps, areas, strict=True)]
        return {SOURCE_DICE: sum(dice) / classes, VALIDATION_LOSS: total / count}

    @torch.no_grad()
    def draw(self, path: Path, fabric: Fabric, model: nn.Module) -> None:
        """Draw validation images, their masks and those that the model predicts."""
        from medtransfer.tasks.overlays import paint

        items = some_items(self.images["val"])
        pixels, masks = torch.stack([item[0] for item in items]), torch.stack([item[1] for item in items])
        with fabric.autocast():
            predicted = _decide(model(self.inputs(fabric, (pixels, masks), None)[0])).cpu()
        pictures = [to_colours(picture) for picture in pixels]
        painted = {
            title: torch.stack([_pixels(paint(picture, labels.numpy())) for picture, labels in zip(pictures, of, strict=True)])
            for title, of in (("image", torch.zeros_like(masks)), ("truth", masks), ("prediction", predicted))
        }
        draw_columns(path, painted)


def _decide(logits: Tensor) -> Tensor:
    """Return the class of each pixel, (N, H, W)."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def _pixels(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1) / 255

"""Classification of labelled source images, with CutMix, mixup and random erasing (paper A.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.mixing import erase, mix
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.source_head import SourceHead
from medtransfer.metrics.image_labels import AUC, Predicted, measure
from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.recipe import Recipe
from medtransfer.pretrain.source import open_images
from medtransfer.records import SOURCE_ACCURACY, SOURCE_AUC
from medtransfer.tasks.contract import NEUTRAL
from medtransfer.tasks.label_losses import binary_cross_entropy
from medtransfer.training.device import place_pixels
from medtransfer.training.fabric import Fabric


class Classification(Objective):
    """Encoder and linear head, trained with the cross-entropy of classes, or with the binary one of independent labels."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "head")

    def __init__(self, recipe: Recipe, images: Mapping[str, LabelledImages]) -> None:
        """Take the labelled images."""
        super().__init__(recipe, images)
        self.classes, self.exclusive = images["train"].classes, images["train"].exclusive

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open an ImageFolder, or a prepared target with labels of images."""
        return cls(recipe, open_images(root, recipe))

    @property
    def recorded(self) -> str:
        """Name of what is measured: the accuracy, or the AUC of independent labels."""
        return SOURCE_ACCURACY if self.exclusive else SOURCE_AUC

    @property
    def accuracy(self) -> str:
        """Name of what is measured."""
        return self.recorded

    @property
    def measured(self) -> tuple[str, ...]:
        """Name of what is measured."""
        return (self.recorded,)

    def build(self, encoder: Encoder) -> Classifier:
        """Build encoder and head."""
        return Classifier(encoder, len(self.classes))

    def inputs(self, fabric: Fabric, batch: tuple[Tensor, Tensor], generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Return the images (B, 3, H, W) and their labels; in training mixed and erased, with probabilities of the classes."""
        images, labels = place_pixels(fabric, batch[0], self.recipe.mean, self.recipe.std), fabric.to_device(batch[1])
        if generator is None:
            return images, labels
        return augment(images, labels, self.recipe, len(self.classes) if self.exclusive else 0, generator)

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy with label smoothing."""
        compute = cross_entropy if self.exclusive else _binary
        return compute(outputs.float(), targets, label_smoothing=self.recipe.label_smoothing), {}

    def measure(self, fabric: Fabric, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the accuracy on the validation images, or the AUC of independent labels."""
        placed = (self.inputs(fabric, batch, None) for batch in batches)
        if self.exclusive:
            return {SOURCE_ACCURACY: accuracy(fabric, model, placed)}
        return {SOURCE_AUC: mean_auc(fabric, model, placed, len(self.classes))}

    def source_head(self, model: nn.Module) -> SourceHead:
        """Return the head of the model."""
        return SourceHead(cast(Classifier, model).head)


def augment(
    images: Tensor, labels: Tensor, recipe: Recipe, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mix and erase by the recipe (Algorithm 1); labels become probabilities (B, classes), independent ones (0 classes) stay."""
    targets = one_hot(labels, classes).float() if classes else labels
    if classes and (recipe.cutmix or recipe.mixup):
        images, targets = mix(images, labels, classes, cutmix=recipe.cutmix, mixup=recipe.mixup, generator=generator)
    if recipe.erasing:
        black = -torch.tensor(recipe.mean) / torch.tensor(recipe.std)
        images = erase(images, recipe.erasing, generator, value=black)
    return images, targets


def _binary(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Compute the mean cross-entropy of the known ones of independent labels."""
    return binary_cross_entropy(logits, labels, replace(NEUTRAL, label_smoothing=label_smoothing))


@torch.no_grad()
def accuracy(fabric: Fabric, model: nn.Module, batches: Iterable[Any]) -> float:
    """Return the accuracy on the validation images, over all devices; batches as `Classification.inputs` returns them."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=fabric.device)
    count = 0
    for images, labels in batches:
        with fabric.autocast():
            logits = model(images)
        correct += (logits.argmax(1) == labels).sum()
        count += len(labels)
    counts = torch.stack([correct, torch.tensor(count, device=fabric.device)])
    all_correct, all_images = fabric.all_reduce(counts, reduce_op="sum").tolist()  # type: ignore[union-attr]
    return float(all_correct / all_images)


@torch.no_grad()
def mean_auc(fabric: Fabric, model: nn.Module, batches: Iterable[Any], classes: int) -> float:
    """Return the mean over labels of the AUC on the validation images, over all devices; undefined ones are left out.

    Batches are those of `accuracy`.
    """
    model.eval()
    found = [torch.zeros(0, 2 * classes, device=fabric.device)]  # logits beside labels
    for images, labels in batches:
        with fabric.autocast():
            logits = model(images).float()
        found.append(torch.cat([logits, labels.view_as(logits)], dim=1))
    logits, labels = _gather(fabric, torch.cat(found)).cpu().double().numpy().reshape(-1, 2, classes).swapaxes(0, 1)
    return float(measure(Predicted(logits, labels.round().astype(np.int64)), AUC)[0])


def _gather(fabric: Fabric, rows: Tensor) -> Tensor:
    """Return the rows of all devices (N, C), which may have different numbers of them."""
    if fabric.world_size == 1:
        return rows
    counts = fabric.all_gather(torch.tensor(len(rows), device=fabric.device)).tolist()  # type: ignore[union-attr]
    padded = torch.cat([rows, rows.new_zeros(max(counts) - len(rows), rows.shape[1])])
    everywhere = fabric.all_gather(padded)  # (devices, max(counts), C)
    return torch.cat([part[:count] for part, count in zip(everywhere, counts, strict=True)])  # type: ignore[arg-type]

"""Train a classifier on the source images for one epoch, or measure its accuracy or AUC on the validation images."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medtransfer.data.mixing import erase, mix
from medtransfer.metrics.image_labels import AUC, Predicted, measure
from medtransfer.pretrain.recipe import Recipe
from medtransfer.seeds import derive_seed, seed_everything
from medtransfer.tasks.contract import NEUTRAL
from medtransfer.tasks.label_losses import binary_cross_entropy
from medtransfer.training.device import place
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.schedules import warmup_cosine
from medtransfer.training.steps import Steps


def train_epoch(
    fabric: Fabric, steps: Steps, batches: Iterable[tuple[Tensor, Tensor]], pieces: Sequence[int], recipe: Recipe, epoch: int,
    classes: int, guard: FiniteGuard, exclusive: bool = True,
) -> dict[str, float]:  # fmt: skip
    """Train for one epoch; random numbers depend only on (seed, epoch, rank), so a resumed training has the same epochs.

    Args:
        fabric: moves batches to the device and synchronises processes.
        steps: classifier and optimiser.
        batches: micro-batches of images (B, 3, H, W) and labels: the class (B,), or of independent labels (B, C).
        pieces: number of micro-batches of each optimiser step.
        recipe: recipe of the pretraining.
        epoch: epoch, counted from 1.
        classes: number of source classes.
        guard: checks the losses, and the weights at the end.
        exclusive: whether the labels are classes, else independent.

    Returns:
        The mean loss over the micro-batches and the last learning rate.

    Raises:
        StageError: a loss, or a weight at the end, is not finite.
    """
    model = steps.model.train()
    seed_everything(derive_seed(recipe.seed, "epoch", epoch, fabric.global_rank))
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "mix", epoch, fabric.global_rank))
    stream, count, lr = iter(batches), len(pieces), 0.0
    for step, passes in enumerate(pieces, start=(epoch - 1) * count):
        lr = recipe.lr * warmup_cosine(step, recipe.warmup * count, recipe.epochs * count)
        steps.set_lr(lr)
        for number in range(passes):
            images, labels = next(stream)
            images, labels = place(fabric, images), fabric.to_device(labels)
            images, targets = _augment(images, labels, recipe, classes if exclusive else 0, generator)
            with fabric.no_backward_sync(model, enabled=number < passes - 1):  # type: ignore[arg-type]
                with steps.compilation.step(len(images)):
                    logits = model(images).float()
                loss = (cross_entropy if exclusive else _binary)(logits, targets, label_smoothing=recipe.label_smoothing)
                guard.observe(loss, step, epoch, lr)
                fabric.backward(loss / passes)
        steps.update(step)
    return {"train_loss": guard.end_epoch(), "lr": lr}


def _augment(images: Tensor, labels: Tensor, recipe: Recipe, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
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
    """Return the accuracy on the validation images, over all devices."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=fabric.device)
    count = 0
    for images, labels in batches:
        with fabric.autocast():
            logits = model(place(fabric, images))
        correct += (logits.argmax(1) == fabric.to_device(labels)).sum()
        count += len(labels)
    counts = torch.stack([correct, torch.tensor(count, device=fabric.device)])
    all_correct, all_images = fabric.all_reduce(counts, reduce_op="sum").tolist()  # type: ignore[union-attr]
    return float(all_correct / all_images)


@torch.no_grad()
def mean_auc(fabric: Fabric, model: nn.Module, batches: Iterable[Any], classes: int) -> float:
    """Return the mean over labels of the AUC on the validation images, over all devices; undefined ones are left out."""
    model.eval()
    found = [torch.zeros(0, 2 * classes, device=fabric.device)]  # logits beside labels
    for images, labels in batches:
        with fabric.autocast():
            logits = model(place(fabric, images)).float()
        found.append(torch.cat([logits, fabric.to_device(labels).view_as(logits)], dim=1))
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

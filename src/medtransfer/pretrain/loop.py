"""Train a classifier on the source images for one epoch, or measure its accuracy on the validation images."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medtransfer.data.mixing import erase, mix
from medtransfer.pretrain.recipe import Recipe
from medtransfer.seeds import derive_seed, seed_everything
from medtransfer.training.device import place
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.schedules import warmup_cosine
from medtransfer.training.steps import Steps


def train_epoch(
    fabric: Fabric, steps: Steps, batches: Iterable[tuple[Tensor, Tensor]], pieces: Sequence[int], recipe: Recipe, epoch: int,
    classes: int, guard: FiniteGuard,
) -> dict[str, float]:  # fmt: skip
    """Train for one epoch; random numbers depend only on (seed, epoch, rank), so a resumed training has the same epochs.

    Args:
        fabric: moves batches to the device and synchronises processes.
        steps: classifier and optimiser.
        batches: micro-batches of images (B, 3, H, W) and labels (B,).
        pieces: number of micro-batches of each optimiser step.
        recipe: recipe of the pretraining.
        epoch: epoch, counted from 1.
        classes: number of source classes.
        guard: checks the losses, and the weights at the end.

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
            images, targets = _augment(place(fabric, images), fabric.to_device(labels), recipe, classes, generator)
            with fabric.no_backward_sync(model, enabled=number < passes - 1):  # type: ignore[arg-type]
                with steps.compilation.step(len(images)):
                    logits = model(images).float()
                loss = cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
                guard.observe(loss, step, epoch, lr)
                fabric.backward(loss / passes)
        steps.update(step)
    return {"train_loss": guard.end_epoch(), "lr": lr}


def _augment(images: Tensor, labels: Tensor, recipe: Recipe, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix and erase by the recipe (Algorithm 1); labels become probabilities (B, classes)."""
    if recipe.cutmix or recipe.mixup:
        images, targets = mix(images, labels, classes, cutmix=recipe.cutmix, mixup=recipe.mixup, generator=generator)
    else:
        targets = one_hot(labels, classes).float()
    if recipe.erasing:
        black = -torch.tensor(recipe.mean) / torch.tensor(recipe.std)
        images = erase(images, recipe.erasing, generator, value=black)
    return images, targets


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

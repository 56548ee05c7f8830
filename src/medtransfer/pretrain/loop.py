"""A classifier and source images go in; one epoch's loss, or the accuracy on the validation images, comes out."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medtransfer.data.mixing import erase, mix
from medtransfer.errors import StageError
from medtransfer.pretrain.recipe import Recipe
from medtransfer.runtime import derive_seed, seed_everything
from medtransfer.training.schedules import warmup_cosine


def train_epoch(
    fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterable[tuple[Tensor, Tensor]],
    pieces: Sequence[int], recipe: Recipe, epoch: int, classes: int,
) -> dict[str, float]:  # fmt: skip
    """Train for one epoch; random numbers depend on (seed, epoch, rank) only, so a resumed epoch is the same.

    Args:
        fabric: places and synchronises.
        model: a classifier set up by fabric.
        optimiser: likewise.
        batches: micro-batches of images (B, 3, H, W) and labels (B,).
        pieces: micro-batches of each optimiser step.
        recipe: what to do.
        epoch: counted from 1.
        classes: of the source.

    Returns:
        The mean loss over the micro-batches and the last learning rate.

    Raises:
        StageError: the loss is not finite.
    """
    model.train()
    seed_everything(derive_seed(recipe.seed, "epoch", epoch, fabric.global_rank))
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "mix", epoch, fabric.global_rank))
    stream, steps = iter(batches), len(pieces)
    total, lr = torch.zeros((), device=fabric.device), 0.0
    for step, passes in enumerate(pieces):
        lr = recipe.lr * warmup_cosine((epoch - 1) * steps + step, recipe.warmup * steps, recipe.epochs * steps)
        for group in optimiser.param_groups:
            group["lr"] = lr
        for number in range(passes):
            images, targets = _augment(*next(stream), recipe, classes, generator)
            with fabric.no_backward_sync(model, enabled=number < passes - 1):  # type: ignore[arg-type]
                logits = model(fabric.to_device(images))
                loss = cross_entropy(logits.float(), fabric.to_device(targets), label_smoothing=recipe.label_smoothing)
                fabric.backward(loss / passes)
            total += loss.detach()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    mean = float(fabric.all_reduce(total / sum(pieces), reduce_op="mean"))  # type: ignore[arg-type]
    if not math.isfinite(mean):
        raise StageError(
            f"the training loss of epoch {epoch} is {mean} at learning rate {lr:.3g}; the checkpoints before it are kept: "
            "lower pretrain.lr and run again"
        )
    return {"train_loss": mean, "lr": lr}


def _augment(images: Tensor, labels: Tensor, recipe: Recipe, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix and erase as the scheme says (Algorithm 1); labels become rows of probabilities (B, classes)."""
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
    """Give the share of validation images that are classified right, over all devices."""
    model.eval()
    right_and_all = torch.zeros(2, dtype=torch.int64)
    for images, labels in batches:
        predicted = model(fabric.to_device(images)).argmax(1).cpu()
        right_and_all += torch.tensor([(predicted == labels).sum().item(), len(labels)])
    right, total = fabric.all_reduce(right_and_all, reduce_op="sum").tolist()  # type: ignore[union-attr, arg-type]
    return float(right / total)

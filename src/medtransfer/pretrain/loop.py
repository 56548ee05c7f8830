"""Train a model on the source images for one epoch."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.recipe import Recipe
from medtransfer.seeds import derive_seed, seed_everything
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.schedules import warmup_constant, warmup_cosine
from medtransfer.training.steps import Steps

SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant}


def train_epoch(
    fabric: Fabric, steps: Steps, batches: Iterable[Any], pieces: Sequence[int], recipe: Recipe, epoch: int,
    objective: Objective, guard: FiniteGuard,
) -> dict[str, float]:  # fmt: skip
    """Train for one epoch; random numbers depend only on (seed, epoch, rank), so a resumed training has the same epochs.

    Args:
        fabric: moves batches to the device and synchronises processes.
        steps: model and optimiser.
        batches: micro-batches of the objective's images.
        pieces: number of micro-batches of each optimiser step.
        recipe: recipe of the pretraining.
        epoch: epoch, counted from 1.
        objective: makes inputs of the micro-batches, and the loss of the outputs.
        guard: checks the losses, and the weights at the end.

    Returns:
        The mean loss over the micro-batches, that of its terms, and the last learning rate.

    Raises:
        StageError: a loss, or a weight at the end, is not finite.
    """
    model = steps.model.train()
    seed_everything(derive_seed(recipe.seed, "epoch", epoch, fabric.global_rank))
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "mix", epoch, fabric.global_rank))
    stream, count, lr, seen = iter(batches), len(pieces), 0.0, list[dict[str, Tensor]]()
    for step, passes in enumerate(pieces, start=(epoch - 1) * count):
        lr = recipe.lr * SCHEDULES[recipe.schedule](step, recipe.warmup * count, recipe.epochs * count)
        steps.set_lr(lr)
        for number in range(passes):
            inputs, targets = objective.inputs(fabric, next(stream), generator)
            with fabric.no_backward_sync(model, enabled=number < passes - 1):  # type: ignore[arg-type]
                with steps.compilation.step(len(inputs)):
                    outputs = model(inputs)
                loss, terms = objective.loss(outputs, targets)
                guard.observe(loss, step, epoch, lr)
                fabric.backward(loss / passes)
            seen.append({name: term.detach() for name, term in terms.items()})
        steps.update(step)
    return {"train_loss": guard.end_epoch(), **_mean_terms(fabric, objective, seen), "lr": lr}


def _mean_terms(fabric: Fabric, objective: Objective, seen: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each term of the loss over the micro-batches of all devices."""
    if not objective.terms:
        return {}
    means = torch.stack([torch.stack([terms[name] for terms in seen]).mean() for name in objective.terms])
    values = fabric.all_reduce(means, reduce_op="mean").tolist()  # type: ignore[union-attr]
    return {f"train_{name}": value for name, value in zip(objective.terms, values, strict=True)}

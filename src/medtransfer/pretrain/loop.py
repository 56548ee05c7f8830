"""Train a model on the source images for one epoch."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.recipe import Recipe
from medtransfer.seeds import seed_everything
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.parts import NOTHING, PartialEpoch, part_seed, parts_of
from medtransfer.training.schedules import warmup_constant, warmup_cosine
from medtransfer.training.steps import Steps

SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant}


def train_epoch(
    fabric: Fabric, steps: Steps, batches: Iterable[Any], pieces: Sequence[int], recipe: Recipe, epoch: int,
    objective: Objective, guard: FiniteGuard, done: PartialEpoch = NOTHING,
    save: Callable[[Callable[[], PartialEpoch]], None] = lambda reached: None,
) -> dict[str, float]:  # fmt: skip
    """Train for one epoch, or the rest of one.

    Random numbers depend only on (seed, epoch, part of the epoch, rank), so a resumed training has the same epochs.

    Args:
        fabric: moves batches to the device and synchronises processes.
        steps: model and optimiser.
        batches: micro-batches of the objective's images, without those that are done.
        pieces: number of micro-batches of each optimiser step of the epoch.
        recipe: recipe of the pretraining.
        epoch: epoch, counted from 1.
        objective: makes inputs of the micro-batches, and the loss of the outputs.
        guard: checks the losses, and the weights before they are saved and at the end.
        done: what is done of the epoch.
        save: called after each part but the last with what checks losses and weights and returns what is done, which waits for
            a GPU and for other processes: all of them must call it, or none.

    Returns:
        The mean loss over the micro-batches, that of its terms, and the last learning rate.

    Raises:
        StageError: a loss, or a weight where it is checked, is not finite.
    """
    model = steps.model.train()
    stream, count, lr, terms = iter(batches), len(pieces), 0.0, done.terms
    guard.resume(done)
    for begin, end in parts_of(count, done.steps):
        seed_everything(part_seed(begin, recipe.seed, "epoch", epoch, fabric.global_rank))
        generator = torch.Generator().manual_seed(part_seed(begin, recipe.seed, "mix", epoch, fabric.global_rank))
        seen = list[dict[str, Tensor]]()
        for step, passes in enumerate(pieces[begin:end], start=(epoch - 1) * count + begin):
            lr = recipe.lr * SCHEDULES[recipe.schedule](step, recipe.warmup * count, recipe.epochs * count)
            steps.set_lr(lr)
            for number in range(passes):
                inputs, targets = objective.inputs(fabric, next(stream), generator)
                with fabric.no_backward_sync(model, enabled=number < passes - 1):  # type: ignore[arg-type]
                    with steps.compilation.step(len(inputs)):
                        outputs = model(inputs)
                    loss, found = objective.loss(outputs, targets)
                    guard.observe(loss, step, epoch, lr)
                    fabric.backward(loss / passes)
                seen.append({name: term.detach() for name, term in found.items()})
            steps.update(step)
        share = (end - begin) / end  # of the part in what is done; 1 for the first
        means = _mean_terms(fabric, objective, seen)
        terms = {name: (old := terms.get(name, 0.0)) + (mean - old) * share for name, mean in means.items()}
        if end < count:
            save(partial(guard.reached, end, terms))
    return {"train_loss": guard.end_epoch(), **{f"train_{name}": value for name, value in terms.items()}, "lr": lr}


def _mean_terms(fabric: Fabric, objective: Objective, seen: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each term of the loss over the micro-batches of all devices."""
    if not objective.terms:
        return {}
    means = torch.stack([torch.stack([terms[name] for terms in seen]).mean() for name in objective.terms])
    values = fabric.all_reduce(means, reduce_op="mean").tolist()  # type: ignore[union-attr]
    return dict(zip(objective.terms, values, strict=True))

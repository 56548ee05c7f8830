"""Evaluation of a trained model on the samples of a split (A.3, A.5)."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.finetune.trainer import SECONDS_BETWEEN_LINES
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.progress import status, track_within
from medtransfer.tasks.contract import Task
from medtransfer.training.device import lay_out, place_pixels
from medtransfer.training.fabric import Fabric
from medtransfer.training.memory import keep_freed_memory

LOSS = "loss"  # metric


@torch.no_grad()
def evaluate(
    fabric: Fabric, task: Task, model: nn.Module, samples: Samples, class_names: list[str], batch_size: int, workers: int,
    light: bool = False, loss: Callable[[Tensor, Tensor], Tensor] | None = None, label: str = "evaluation",
) -> Evaluation:  # fmt: skip
    """Evaluate on all samples, without augmentation, in eval mode.

    Args:
        fabric: moves the batches to the device.
        task: evaluates the predictions.
        model: returns the task's logits.
        samples: samples without augmentation.
        class_names: classes of the target.
        batch_size: images per forward pass.
        workers: loader processes.
        light: whether the primary metric is enough.
        loss: of logits and labels; its mean over the images, each batch's counted for its images, is the metric LOSS. None: not
            computed. Not for crops.
        label: label of the progress, which is shown if it takes long.
    """
    keep_freed_memory()
    lay_out(model).eval()
    evaluator = task.evaluator(class_names, samples.pixel_sizes, samples.regions, light=light)
    batches, total = EpochBatches(len(samples), batch_size, seed=0, shuffle=False, drop_last=False), 0.0
    loaded = loader(samples, batches, workers, pin=fabric.device.type == "cuda")
    for pixels, truth, positions in track_within(loaded, label, len(batches), "batches", SECONDS_BETWEEN_LINES):
        rows, logits = positions.tolist(), _logits(fabric, model, pixels, samples)
        probabilities = _probabilities(task, logits, pixels)
        evaluator.update(probabilities, truth, [samples.images[i] for i in rows], [samples.groups[i] for i in rows])
        total += 0.0 if loss is None else len(rows) * loss(logits, fabric.to_device(truth)).item()
    with nullcontext() if light else status(f"{label}: metrics"):
        evaluation = evaluator.compute()
    return evaluation if loss is None else replace(evaluation, metrics={**evaluation.metrics, LOSS: total / len(samples)})


@torch.no_grad()
def predict(fabric: Fabric, task: Task, model: nn.Module, samples: Samples, pixels: Tensor) -> Tensor:
    """Return the task's probabilities of pixels (N, H, W, C) of samples, on the CPU; of crops (N, crops, H, W, C) their mean."""
    return _probabilities(task, _logits(fabric, model, pixels, samples), pixels).cpu()


def _logits(fabric: Fabric, model: nn.Module, pixels: Tensor, samples: Samples) -> Tensor:
    """Return the logits of images, or of all their crops one after the other."""
    images = place_pixels(fabric, pixels.flatten(0, 1) if pixels.ndim == 5 else pixels, samples.mean, samples.std)
    with fabric.autocast():
        return model(images)  # type: ignore[no-any-return]


def _probabilities(task: Task, logits: Tensor, pixels: Tensor) -> Tensor:
    """Return probabilities of images, the mean over crops where they have some, on the device."""
    probabilities = task.probabilities(logits.float())
    return probabilities.unflatten(0, (-1, pixels.shape[1])).mean(1).clamp(0, 1) if pixels.ndim == 5 else probabilities

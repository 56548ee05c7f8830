"""Evaluation of a trained model on the samples of a split (A.3, A.5)."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.tasks.contract import Task
from medtransfer.training.device import lay_out, place


@torch.no_grad()
def evaluate(
    fabric: Fabric, task: Task, model: nn.Module, samples: Samples, class_names: list[str], batch_size: int, workers: int,
    light: bool = False,
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
    """
    lay_out(model).eval()
    evaluator = task.evaluator(class_names, samples.pixel_sizes, samples.regions, light=light)
    batches = EpochBatches(len(samples), batch_size, seed=0, shuffle=False, drop_last=False)
    for images, truth, positions in loader(samples, batches, workers, pin=fabric.device.type == "cuda"):
        rows = positions.tolist()
        probabilities = predict(fabric, task, model, images)
        evaluator.update(probabilities, truth, [samples.images[i] for i in rows], [samples.groups[i] for i in rows])
    return evaluator.compute()


@torch.no_grad()
def mean_loss(
    fabric: Fabric, model: nn.Module, samples: Samples, loss: Callable[[Tensor, Tensor], Tensor], batch_size: int, workers: int
) -> float:  # fmt: skip
    """Return the mean over samples of the training loss, each batch's counted for its images, without augmentation."""
    lay_out(model).eval()
    batches, total = EpochBatches(len(samples), batch_size, seed=0, shuffle=False, drop_last=False), 0.0
    for images, truth, _ in loader(samples, batches, workers, pin=fabric.device.type == "cuda"):
        with fabric.autocast():
            logits = model(place(fabric, images))
        total += len(images) * loss(logits, fabric.to_device(truth)).item()
    return total / len(samples)


@torch.no_grad()
def predict(fabric: Fabric, task: Task, model: nn.Module, images: Tensor) -> Tensor:
    """Return the task's probabilities of normalised images (N, 3, H, W), on the CPU; of crops (N, crops, 3, H, W) their mean."""
    crops = images.shape[1] if images.ndim == 5 else 0
    with fabric.autocast():
        logits = model(place(fabric, images.flatten(0, 1) if crops else images))
    probabilities = task.probabilities(logits.float()).cpu()
    return probabilities.unflatten(0, (-1, crops)).mean(1).clamp(0, 1) if crops else probabilities

"""A trained segmenter and the test samples go in; every metric, per image too, and overlays come out."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.target_samples import TargetSamples
from medtransfer.metrics.segmentation import Evaluation, SegmentationEvaluation
from medtransfer.training.device import lay_out, place


@torch.no_grad()
def evaluate(
    fabric: Fabric, model: nn.Module, samples: TargetSamples, class_names: list[str], batch_size: int, workers: int
) -> Evaluation:  # fmt: skip
    """Evaluate on all samples (A.3, A.5); no augmentation, eval mode.

    Args:
        fabric: places the batches.
        model: gives logits (N, 1, H, W) for one class, (N, C + 1, H, W) for C > 1.
        samples: not augmented.
        class_names: of the C non-background classes.
        batch_size: images a forward pass.
        workers: loader processes.
    """
    lay_out(model).eval()
    result = SegmentationEvaluation(len(class_names), class_names)
    batches = EpochBatches(len(samples), batch_size, seed=0, shuffle=False, drop_last=False)
    for images, masks, positions in loader(samples, batches, workers, pin=fabric.device.type == "cuda"):
        where = positions.tolist()
        result.update(predict(fabric, model, images), masks, [samples.images[i] for i in where], [samples.groups[i] for i in where])
    return result.compute()


def predict(fabric: Fabric, model: nn.Module, images: Any) -> torch.Tensor:
    """Give probabilities on the CPU: sigmoid for one class, softmax over background and classes otherwise."""
    logits = model(place(fabric, images)).float()
    return (logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)).cpu()

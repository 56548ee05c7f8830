"""Count the true and false pixels of predicted labels."""

import numpy as np
import torch
from torch import Tensor

from medtransfer.metrics.counts import Counts


def confusion(prediction: Tensor, truth: Tensor, classes: int) -> Counts:
    """Count true and false pixels of every image and non-background class.

    Args:
        prediction: integer labels 0..classes, (N, H, W), 0 is background.
        truth: integer labels of the same shape.
        classes: number of non-background classes.

    Returns:
        Counts of shape (N, classes).

    Raises:
        ValueError: the shapes differ, or labels are outside 0..classes or not integers.
    """
    _check_labels(prediction, truth, classes)
    n, k = len(truth), classes + 1
    image = torch.arange(n, device=truth.device).view(n, 1, 1)
    cell = (image * k + truth.long()) * k + prediction.long()  # (N, H, W)
    table = torch.bincount(cell.flatten(), minlength=n * k * k).view(n, k, k).cpu().numpy()  # (N, truth, prediction)
    tp = np.diagonal(table, axis1=1, axis2=2)[:, 1:]  # (N, classes)
    fp = table.sum(axis=1)[:, 1:] - tp
    fn = table.sum(axis=2)[:, 1:] - tp
    return Counts(tp.copy(), fp, fn, table.sum(axis=(1, 2))[:, None] - tp - fp - fn)


def _check_labels(prediction: Tensor, truth: Tensor, classes: int) -> None:
    if prediction.ndim != 3 or prediction.shape != truth.shape or truth.numel() == 0:
        raise ValueError(
            f"expected prediction and truth (N, H, W) of one shape, but got {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if labels.is_floating_point():
            raise ValueError(f"expected integer labels, but the {name} is {labels.dtype}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > classes:
            raise ValueError(f"expected labels 0..{classes}, but the {name} holds {low if low < 0 else high}")

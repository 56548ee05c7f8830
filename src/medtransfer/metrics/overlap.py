"""Count the true and false pixels of predicted labels, of classes and of unions of classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medtransfer.metrics.counts import Counts


def list_unions(classes: int, regions: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the labels of everything that is counted: each class 1..classes alone, then each region."""
    return [[label] for label in range(1, classes + 1)] + [list(region) for region in regions]


def confusion(prediction: Tensor, truth: Tensor, classes: int, regions: Sequence[Sequence[int]] = ()) -> Counts:
    """Count true and false pixels of every image and non-background class, and of regions.

    Args:
        prediction: integer labels 0..classes, (N, H, W), 0 is background.
        truth: integer labels of the same shape.
        classes: number of non-background classes.
        regions: labels of each region, a union of classes.

    Returns:
        Counts of shape (N, classes + regions).

    Raises:
        ValueError: the shapes differ, or labels are outside 0..classes or not integers.
    """
    _check_labels(prediction, truth, classes)
    n, k = len(truth), classes + 1
    image = torch.arange(n, device=truth.device).view(n, 1, 1)
    cell = (image * k + truth.long()) * k + prediction.long()  # (N, H, W)
    table = torch.bincount(cell.flatten(), minlength=n * k * k).view(n, k, k).cpu().numpy()  # (N, truth, prediction)
    member = np.array([[label in labels for label in range(k)] for labels in list_unions(classes, regions)], dtype=np.int64)
    tp = np.einsum("ntp,ut,up->nu", table, member, member)  # (N, classes + regions)
    fp = table.sum(axis=1) @ member.T - tp
    fn = table.sum(axis=2) @ member.T - tp
    return Counts(tp, fp, fn, table.sum(axis=(1, 2))[:, None] - tp - fp - fn)


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

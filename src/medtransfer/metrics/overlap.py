"""Count the true and false pixels of predicted labels, of classes and of unions of classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medtransfer.metrics.counts import Counts
from medtransfer.records import IGNORE

LABELS = 256  # that a mask of uint8 can hold


def list_unions(classes: int, regions: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the labels of everything that is counted: each class 1..classes alone, then each region."""
    return [[label] for label in range(1, classes + 1)] + [list(region) for region in regions]


def most_probable(probabilities: Tensor) -> Tensor:
    """Return the class of the highest probability, of equal ones the first: (N, K, H, W) -> uint8 (N, H, W)."""
    if probabilities.device.type != "cpu":
        return probabilities.argmax(dim=1).to(torch.uint8)
    labels = torch.zeros(len(probabilities), *probabilities.shape[2:], dtype=torch.uint8)
    for image, label in zip(probabilities, labels, strict=True):  # one by one in the cache: argmax takes 40 times as long
        highest = image[0]
        for c in range(1, len(image)):
            torch.maximum(label, (image[c] > highest).view(torch.uint8).mul_(c), out=label)
            if c + 1 < len(image):
                highest = torch.maximum(highest, image[c])
    return labels


def confusion(prediction: Tensor, truth: Tensor, classes: int, regions: Sequence[Sequence[int]] = ()) -> Counts:
    """Count true and false pixels of every image and non-background class, and of regions, on the device of the labels.

    Args:
        prediction: integer labels 0..classes, (N, H, W), 0 is background.
        truth: integer labels of the same shape, or IGNORE, whose pixels are not counted.
        classes: number of non-background classes.
        regions: labels of each region, a union of classes.

    Returns:
        Counts of shape (N, classes + regions).

    Raises:
        ValueError: the shapes differ, or labels are outside 0..classes or not integers.
    """
    _check(prediction, truth, classes)
    n, k = len(truth), classes + 1
    first = LABELS * k * torch.arange(n, dtype=torch.int32, device=truth.device).view(n, 1, 1)  # cell of each image
    cell = truth.to(torch.int32).mul_(k).add_(prediction).add_(first)  # (N, H, W)
    every = torch.bincount(cell.flatten(), minlength=n * LABELS * k).view(n, LABELS, k).cpu().numpy()  # (N, truth, prediction)
    if every[:, k:IGNORE].any():
        highest = k + int(np.flatnonzero(every[:, k:IGNORE].any(axis=(0, 2)))[-1])
        raise ValueError(f"expected labels 0..{classes}, but the truth holds {highest}")
    table = every[:, :k]
    member = np.array([[label in labels for label in range(k)] for labels in list_unions(classes, regions)], dtype=np.int64)
    tp = np.einsum("ntp,ut,up->nu", table, member, member)  # (N, classes + regions)
    fp = table.sum(axis=1) @ member.T - tp
    fn = table.sum(axis=2) @ member.T - tp
    return Counts(tp, fp, fn, table.sum(axis=(1, 2))[:, None] - tp - fp - fn)


def _check(prediction: Tensor, truth: Tensor, classes: int) -> None:
    if prediction.ndim != 3 or prediction.shape != truth.shape or truth.numel() == 0:
        raise ValueError(
            f"expected prediction and truth (N, H, W) of one shape, but got {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    for name, labels, end in (("prediction", prediction, classes), ("truth", truth, LABELS - 1)):
        if labels.is_floating_point():
            raise ValueError(f"expected integer labels, but the {name} is {labels.dtype}")
        if labels.dtype == torch.uint8 and end == LABELS - 1:
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > end:
            raise ValueError(f"expected labels 0..{classes}, but the {name} holds {low if low < 0 else high}")

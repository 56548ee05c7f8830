"""Losses of image labels over a batch, from logits (N, C); each is of at least float32, also under autocast."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from medtransfer.records import IGNORE
from medtransfer.tasks.contract import LossOptions
from medtransfer.tasks.losses import focal_loss


def binary_cross_entropy(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    """Compute the mean over known labels of the cross-entropy of each, with sigmoids.

    Args:
        logits: (N, C).
        truth: 0, 1, a number between, or IGNORE: (N, C), or (N,) for a single label.
        options: `class_weights` are those of false and true for a single label, else of each label where it is true.
    """
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labels = truth.view_as(logits)
        known = labels != IGNORE
        target = labels.where(known, 0).to(wide.dtype)  # (N, C)
        smoothed = target * (1 - options.label_smoothing) + options.label_smoothing / 2
        entropy = functional.binary_cross_entropy_with_logits(wide, smoothed, reduction="none")
        weights = known.to(wide.dtype)
        if options.class_weights is not None and logits.shape[1] == 1:
            false, true = options.class_weights
            weights = weights * (false + (true - false) * target)
        elif options.class_weights is not None:
            weights = weights * (1 + (wide.new_tensor(options.class_weights) - 1) * target)
        return (weights * entropy).sum() / weights.sum().clamp(min=torch.finfo(wide.dtype).tiny)


def cross_entropy(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    """Compute the mean over images of -log p of the true class, weighted by its weight.

    Args:
        logits: (N, C).
        truth: class 0..C - 1, (N,).
        options: `class_weights` are those of the classes.
    """
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weight = None if options.class_weights is None else wide.new_tensor(options.class_weights)
        return functional.cross_entropy(wide, truth.long(), weight, label_smoothing=options.label_smoothing)


def focal(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    """Compute the focal loss of exclusive classes, (N, C), or of a single label, (N, 1); arguments as in `cross_entropy`."""
    as_pixels = logits[:, :, None, None], truth[:, None, None]  # (N, C, 1, 1), (N, 1, 1)
    return focal_loss(*as_pixels, gamma=options.focal_gamma, weights=options.class_weights)


LABEL_LOSSES: dict[str, Callable[[Tensor, Tensor, LossOptions], Tensor]] = {
    "bce": binary_cross_entropy, "ce": cross_entropy, "focal": focal,
}  # fmt: skip

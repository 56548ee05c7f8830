"""Segmentation losses over a whole batch, from logits (N, K, H, W) and labels (N, H, W).

K is 1 for one non-background class (sigmoid), else one channel per class with the background first (softmax). Pixels
labelled IGNORE are left out, as if they were not in the images. Class weights list the background first. Every loss is of
at least float32, also under autocast.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medtransfer.records import IGNORE
from medtransfer.tasks.contract import LossOptions

SMOOTHING = 1e-5  # zeta of A.2
Weights = Sequence[float] | None


def dice_loss(logits: Tensor, truth: Tensor, classes: int, weights: Weights = None) -> Tensor:
    """Compute 1 - mean over classes and background of (2 <p, y> + zeta) / (|p|^2 + |y|^2 + zeta), over the batch.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, or IGNORE, (N, H, W).
        classes: number of non-background classes.
        weights: weight of each class in the mean; None: all alike.

    Returns:
        A scalar in [0, 1).

    Raises:
        ValueError: other shapes.

    Source: A.2.
    """
    with torch.autocast(logits.device.type, enabled=False):
        p, y = _probabilities_and_truth(logits, truth, classes)
        overlap, size = (part.sum(dim=(0, 2, 3)) for part in (p * y, p.square() + y))  # (classes + 1,)
        return 1 - _mean((2 * overlap + SMOOTHING) / (size + SMOOTHING), weights)


def soft_dice_loss(logits: Tensor, truth: Tensor, classes: int, weights: Weights = None) -> Tensor:
    """Compute 1 - mean over classes of (2 <p, y> + 1) / (|p| + |y| + 1), over the batch, without squares and background.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, or IGNORE, (N, H, W).
        classes: number of non-background classes.
        weights: weight of each class in the mean; None: 0 for the background, 1 for the others.

    Returns:
        A scalar in [0, 1).

    Source: the segmentation targets of Hosseinzadeh Taher et al. 2021 (arXiv:2108.05930), as in their code.
    """
    with torch.autocast(logits.device.type, enabled=False):
        p, y = _probabilities_and_truth(logits, truth, classes)
        overlap, size = (part.sum(dim=(0, 2, 3)) for part in (p * y, p + y))  # (classes + 1,)
        return 1 - _mean((2 * overlap + 1) / (size + 1), weights or [0.0] + [1.0] * classes)


def tversky_loss(
    logits: Tensor, truth: Tensor, classes: int, *, alpha: float, beta: float, weights: Weights = None
) -> Tensor:  # fmt: skip
    """Compute 1 - mean over classes of (TP + zeta) / (TP + alpha FP + beta FN + zeta), over the batch.

    TP = <p, y>, FP = <p, 1 - y> and FN = <1 - p, y>. A beta above alpha punishes missed pixels more than false ones. The
    background takes part only if `weights` say so, since its false positives are the misses of the classes.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, or IGNORE, (N, H, W).
        classes: number of non-background classes.
        alpha: weight of false positives.
        beta: weight of false negatives.
        weights: weight of each class in the mean; None: 0 for the background, 1 for the others.

    Returns:
        A scalar in [0, 1).

    Source: Salehi et al. 2017 (arXiv:1706.05721), equation 3.
    """
    with torch.autocast(logits.device.type, enabled=False):
        p, y = _probabilities_and_truth(logits, truth, classes)
        hits, predicted, true = (part.sum(dim=(0, 2, 3)) for part in (p * y, p, y))  # (classes + 1,)
        size = hits + alpha * (predicted - hits) + beta * (true - hits)
        return 1 - _mean((hits + SMOOTHING) / (size + SMOOTHING), weights or [0.0] + [1.0] * classes)


def cross_entropy_loss(logits: Tensor, truth: Tensor, weights: Weights = None) -> Tensor:
    """Compute the mean over pixels of -log p of the true class, weighted by the weight of that class.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, (N, H, W); the loss is 0 where all pixels are IGNORE.
        weights: weight of each class; the mean is divided by the sum of the pixels' weights, as PyTorch does.
    """
    with torch.autocast(logits.device.type, enabled=False):
        pixels, labels = _pixels(logits, truth)
        if weights is None:
            total = cross_entropy(pixels, labels, ignore_index=IGNORE, reduction="sum")
            return total / (truth != IGNORE).sum().clamp(min=1)
        weight = pixels.new_tensor(weights)
        total = cross_entropy(pixels, labels, weight, ignore_index=IGNORE, reduction="sum")
        known = labels != IGNORE
        return total / (weight[labels.where(known, 0)] * known).sum().clamp(min=SMOOTHING)


def focal_loss(logits: Tensor, truth: Tensor, *, gamma: float, weights: Weights = None) -> Tensor:
    """Compute the mean over pixels of -w (1 - p)^gamma log p, p the probability of the true class and w its weight.

    With one class and the weights [1 - alpha, alpha] it is the published alpha-balanced form, `sigmoid_focal_loss` of
    torchvision.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, (N, H, W); the loss is 0 where all pixels are IGNORE.
        gamma: 0 is the cross-entropy; the higher, the less do pixels count that are right already.
        weights: weight of each class; None: 1.

    Source: Lin et al. 2017 (arXiv:1708.02002), equation 5.
    """
    with torch.autocast(logits.device.type, enabled=False):
        pixels, labels = _pixels(logits, truth)
        weight = None if weights is None else pixels.new_tensor(weights)
        entropy = cross_entropy(pixels, labels, ignore_index=IGNORE, reduction="none")  # (N H W,), 0 where ignored
        missed = (-torch.expm1(-entropy)).clamp(min=torch.finfo(entropy.dtype).tiny)  # whose power has a gradient at 0
        values = missed**gamma * entropy
        if weight is not None:
            values = values * weight[labels.where(labels != IGNORE, 0)]
        return values.sum() / (truth != IGNORE).sum().clamp(min=1)


def _mean(values: Tensor, weights: Weights) -> Tensor:
    """Return the weighted mean of one value per class."""
    if weights is None:
        return values.mean()
    weight = values.new_tensor(weights)
    return (weight * values).sum() / weight.sum()


def _probabilities_and_truth(logits: Tensor, truth: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return probabilities and one-hot labels, both (N, classes + 1, H, W), and both 0 where pixels are ignored."""
    channels = 1 if classes == 1 else classes + 1
    n, *space = truth.shape
    if truth.ndim != 3 or tuple(logits.shape) != (n, channels, *space):
        raise ValueError(
            f"expected logits (N, {channels}, H, W) and truth (N, H, W), but got {tuple(logits.shape)} and {tuple(truth.shape)}"
        )
    p = _probabilities(logits.to(torch.promote_types(logits.dtype, torch.float32)))  # (N, classes + 1, H, W)
    p = p * (truth != IGNORE)[:, None]
    labels = torch.arange(classes + 1, device=truth.device).view(1, -1, 1, 1)
    return p, (truth[:, None] == labels).to(p.dtype)


def _probabilities(logits: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)  # [1 - p, p]
    return torch.softmax(logits, dim=1)


def _pixels(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (N H W, classes + 1) and the label (N H W,) of every pixel."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)  # whose softmax is [1 - p, p]
    pixels = logits.movedim(1, -1).flatten(0, 2)  # (N H W, classes + 1): for images a GPU's sum is not reproducible
    return pixels, truth.flatten().long()


def _classes(logits: Tensor) -> int:
    return max(1, logits.shape[1] - 1)


def _dice(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    return dice_loss(logits, truth, _classes(logits), options.class_weights)


def _focal(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    return focal_loss(logits, truth, gamma=options.focal_gamma, weights=options.class_weights)


def _tversky(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    alpha, beta = options.tversky_alpha, options.tversky_beta
    return tversky_loss(logits, truth, _classes(logits), alpha=alpha, beta=beta, weights=options.class_weights)


LOSSES: dict[str, Callable[[Tensor, Tensor, LossOptions], Tensor]] = {
    "dice": _dice,
    "soft-dice": lambda logits, truth, options: soft_dice_loss(logits, truth, _classes(logits), options.class_weights),
    "ce": lambda logits, truth, options: cross_entropy_loss(logits, truth, options.class_weights),
    "dice-ce": lambda logits, truth, options: (
        _dice(logits, truth, options) + cross_entropy_loss(logits, truth, options.class_weights)
    ),
    "focal": _focal,
    "dice-focal": lambda logits, truth, options: _dice(logits, truth, options) + _focal(logits, truth, options),
    "tversky": _tversky,
}

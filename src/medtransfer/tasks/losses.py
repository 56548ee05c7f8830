"""Dice loss and cross-entropy over a whole batch, from logits (N, K, H, W) and labels (N, H, W).

K is 1 for one non-background class (sigmoid), else one channel per class with the background first (softmax).
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medtransfer.records import IGNORE

SMOOTHING = 1e-5  # zeta of A.2


def dice_loss(logits: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Compute 1 - mean over classes and background of (2 <p, y> + zeta) / (|p|^2 + |y|^2 + zeta), over the batch.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, (N, H, W); pixels labelled IGNORE are left out, as if they were not in the image.
        classes: number of non-background classes.

    Returns:
        A scalar in [0, 1), of at least float32 even under autocast.

    Raises:
        ValueError: other shapes.

    Source: A.2.
    """
    channels = 1 if classes == 1 else classes + 1
    n, *space = truth.shape
    if truth.ndim != 3 or tuple(logits.shape) != (n, channels, *space):
        raise ValueError(
            f"expected logits (N, {channels}, H, W) and truth (N, H, W), but got {tuple(logits.shape)} and {tuple(truth.shape)}"
        )
    with torch.autocast(logits.device.type, enabled=False):
        p = _probabilities(logits.to(torch.promote_types(logits.dtype, torch.float32)))  # (N, classes + 1, H, W)
        p = p * (truth != IGNORE)[:, None]
        labels = torch.arange(classes + 1, device=truth.device).view(1, -1, 1, 1)
        y = (truth[:, None] == labels).to(p.dtype)  # (N, classes + 1, H, W)
        overlap, size = (part.sum(dim=(0, 2, 3)) for part in (p * y, p.square() + y))  # (classes + 1,)
        return 1 - ((2 * overlap + SMOOTHING) / (size + SMOOTHING)).mean()


def cross_entropy_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean over pixels of -log p of the true class, of at least float32 even under autocast.

    Args:
        logits: (N, 1, H, W) for one class, else (N, classes + 1, H, W).
        truth: labels 0..classes, (N, H, W); pixels labelled IGNORE are left out, and the loss is 0 where no others are.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)  # whose softmax is [1 - p, p]
        pixels = logits.movedim(1, -1).flatten(0, 2)  # (N H W, classes + 1): for images a GPU's sum is not reproducible
        total = cross_entropy(pixels, truth.flatten().long(), ignore_index=IGNORE, reduction="sum")
        return total / (truth != IGNORE).sum().clamp(min=1)


def _probabilities(logits: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)  # [1 - p, p]
    return torch.softmax(logits, dim=1)

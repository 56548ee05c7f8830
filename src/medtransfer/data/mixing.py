"""CutMix, mixup and random erasing of pretraining batches (paper A.3, Algorithm 1)."""

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn.functional import one_hot

MIXUP_ALPHA = 0.8


def mix(
    images: Tensor, labels: Tensor, classes: int, *, cutmix: float, mixup: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image with another of its batch, by CutMix, by mixup, or not at all.

    The paper gives no distributions for the share lambda that an image keeps: here it is Beta(1, 1) for CutMix and
    Beta(0.8, 0.8) for mixup, as in timm and Swin's recipe. The partner is drawn uniformly from the batch, as a sample of
    the whole dataset, and may be the image itself. Label smoothing is part of the loss, not applied here.

    Args:
        images: float (N, 3, H, W), normalised, N >= 1; their device and memory format are kept.
        labels: int64 (N,), on the same device.
        classes: number of classes.
        cutmix: probability of CutMix.
        mixup: probability of mixup.
        generator: source of all randomness, on the CPU.

    Returns:
        Images (N, 3, H, W) and soft labels float32 (N, classes) whose rows sum to 1; after CutMix, the exact area shares.

    Raises:
        ValueError: the probabilities are negative or sum to more than 1.

    Source: paper A.3, Algorithm 1; Yun et al. 2019; Zhang et al. 2018.
    """
    if min(cutmix, mixup) < 0 or cutmix + mixup > 1:
        raise ValueError(f"expected probabilities of sum at most 1, but got cutmix {cutmix} and mixup {mixup}")
    count, _, height, width = images.shape
    chance, uniform, x, y = torch.rand(4, count, generator=generator, dtype=torch.float64)
    partner = torch.randint(count, (count,), generator=generator)
    side = (1 - uniform).sqrt()  # Beta(1, 1) is uniform
    rows, columns = _sides((y * height, x * width), (side * height, side * width), (height, width))
    cut, blend = chance < cutmix, (chance >= cutmix) & (chance < cutmix + mixup)
    share = torch.where(blend, torch.from_numpy(betaincinv(MIXUP_ALPHA, MIXUP_ALPHA, uniform.numpy())), 1.0)
    own = torch.where(cut, 1 - rows.sum(1) * columns.sum(1) / (height * width), share).float()
    rows, columns, partner, own, share = (
        _send(tensor, images.device) for tensor in (rows & cut[:, None], columns, partner, own, share.float())
    )
    inside = rows[:, :, None] & columns[:, None, :]  # (N, H, W)
    weight = torch.where(inside, 0.0, share[:, None, None])[:, None].to(images.dtype)  # (N, 1, H, W)
    mixed = torch.lerp(images[partner], images, weight)  # exact where the weight is 0 or 1
    hard = one_hot(labels, classes).float()
    return mixed, own[:, None] * hard + (1 - own[:, None]) * hard[partner]


def erase(images: Tensor, probability: float, generator: torch.Generator, *, value: Tensor) -> Tensor:
    """Black out one rectangle per image with the given probability: area U[.02, .33], aspect U[.3, 3.3].

    Args:
        images: float (N, 3, H, W), normalised.
        probability: probability per image, in [0, 1].
        generator: source of all randomness, on the CPU.
        value: (3,), normalised black.

    Returns:
        A new tensor (N, 3, H, W).

    Source: paper A.3, Algorithm 1: relative sides h = sqrt(S r), w = sqrt(S / r), at most 1.
    """
    count, _, height, width = images.shape
    chance, area, aspect, x, y = torch.rand(5, count, generator=generator, dtype=torch.float64)
    area, aspect = 0.02 + 0.31 * area, 0.3 + 3.0 * aspect
    tall = ((area * aspect).sqrt() * height).round().clamp(1, height)
    wide = ((area / aspect).sqrt() * width).round().clamp(1, width)
    top, left = (y * (height - tall + 1)).floor(), (x * (width - wide + 1)).floor()
    rows, columns = _inside(top, top + tall, height) & (chance < probability)[:, None], _inside(left, left + wide, width)
    rows, columns, black = (_send(tensor, images.device) for tensor in (rows, columns, value.to(images.dtype)))
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], black.view(3, 1, 1), images)


def _sides(middle: tuple[Tensor, Tensor], sides: tuple[Tensor, Tensor], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the rows (N, H) and columns (N, W) of boxes around `middle`, clipped to the image."""
    rows, columns = (
        _inside((at - side / 2).round(), (at + side / 2).round(), length)
        for at, side, length in zip(middle, sides, shape, strict=True)
    )
    return rows, columns


def _inside(start: Tensor, stop: Tensor, length: int) -> Tensor:
    """Mark (N, length) the integers below `length` in [start, stop)."""
    index = torch.arange(length)
    return (index >= start[:, None]) & (index < stop[:, None])


def _send(numbers: Tensor, device: torch.device) -> Tensor:
    """Copy a small CPU tensor to a device; for a GPU asynchronously, from pinned memory."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)

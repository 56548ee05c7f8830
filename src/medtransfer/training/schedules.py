"""Learning-rate schedules: factors on the base rate by optimiser step, or by what validation said before an epoch."""

import math
from collections.abc import Mapping

PLATEAU_THRESHOLD = 1e-4  # of PyTorch's ReduceLROnPlateau: the share by which a value must be better


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Rise linearly over the warm-up, then fall to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts).

    Args:
        step: optimiser step, counted from 0.
        warmup: steps of the rise; the first step has 1/warmup of the base rate.
        total: number of steps, including the warm-up.

    Returns:
        A factor in [0, 1].
    """
    progress = (step - warmup) / max(1, total - warmup)
    return warmup_then(0.5 * (1 + math.cos(math.pi * min(1.0, progress))), step, warmup)


def warmup_polynomial(step: int, warmup: int, total: int, power: float) -> float:
    """Rise linearly over the warm-up, then fall as (1 - progress)^power (paper A.4, which has no warm-up).

    Args:
        step: optimiser step, counted from 0.
        warmup: steps of the rise; the first step has 1/warmup of the base rate.
        total: number of steps, including the warm-up.
        power: of the fall; 0: constant.

    Returns:
        A factor in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    return (1 - (step - warmup) / (total - warmup)) ** power


def warmup_constant(step: int, warmup: int, total: int) -> float:
    """Rise linearly over the warm-up, then stay; arguments as of `warmup_cosine`."""
    return warmup_then(1.0, step, warmup)


def warmup_then(factor: float, step: int, warmup: int) -> float:
    """Rise linearly over the warm-up, then return a factor."""
    return (step + 1) / warmup if step < warmup else factor


def plateau(seen: Mapping[int, float], *, lower_is_better: bool, factor: float, patience: int) -> float:
    """Lower the rate whenever the best value is more than `patience` epochs old, as PyTorch's ReduceLROnPlateau does.

    Args:
        seen: monitored value by epoch, of the epochs so far.
        lower_is_better: whether the value is a loss.
        factor: on the rate, each time.
        patience: epochs without a better value, by a ten-thousandth of the best, that are borne.

    Returns:
        A factor in (0, 1].
    """
    sign = 1.0 if lower_is_better else -1.0
    best, since, rate = math.inf, 0, 1.0  # `since`: the epoch of the best value, or of the last reduction
    for epoch in sorted(seen):
        if sign * seen[epoch] < best - abs(best) * PLATEAU_THRESHOLD or math.isinf(best):
            best, since = sign * seen[epoch], epoch
        elif epoch - since > patience:
            rate, since = rate * factor, epoch
    return rate

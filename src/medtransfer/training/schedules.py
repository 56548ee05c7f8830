"""Learning-rate schedules: factors on the base rate by optimiser step."""

import math


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Rise linearly over the warm-up, then fall to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts).

    Args:
        step: optimiser step, counted from 0.
        warmup: steps of the rise; the first step has 1/warmup of the base rate.
        total: number of steps, including the warm-up.

    Returns:
        A factor in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


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

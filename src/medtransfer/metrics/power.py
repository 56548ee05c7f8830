"""Power of a comparison of two means: the gap that a number of seeds sees, and the seeds that a gap needs."""

from functools import lru_cache

import numpy as np
from scipy import special

from medtransfer.metrics.comparison import POWER

MOST_SEEDS = 1000  # numbers of seeds are not searched beyond


def detectable_gap(spread: float, seeds: int, confidence: float) -> float:
    """Return the smallest gap between two means that a two-sided t test sees with a probability of POWER.

    Args:
        spread: standard deviation over seeds, of both.
        seeds: number of seeds of each, at least 2.
        confidence: 1 minus the level of the test.
    """
    degrees = 2 * (seeds - 1)
    return spread * _standard_gap(seeds, degrees, confidence)


@lru_cache(maxsize=4096)
def _standard_gap(seeds: int, degrees: int, confidence: float) -> float:
    """Return the detectable gap in standard deviations, by bisection on the power of the noncentral t distribution."""
    critical = float(special.stdtrit(degrees, (1 + confidence) / 2))
    low, high = 0.0, 200.0
    for _ in range(60):
        shift = (low + high) / 2
        if special.nctdtr(degrees, shift, critical) > 1 - POWER:
            low = shift
        else:
            high = shift
    return high * float(np.sqrt(2 / seeds))


def seeds_needed(spread: float, gap: float, confidence: float) -> float:
    """Return the number of seeds of each of two candidates with which a gap is seen; MOST_SEEDS if more are needed."""
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if detectable_gap(spread, middle, confidence) <= gap:
            high = middle
        else:
            low = middle + 1
    return float(high)

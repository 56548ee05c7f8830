"""Jackknife: the error of a value from its replicates, each computed without one of K blocks of equal size.

Source: Efron and Stein, The Jackknife Estimate of Variance, Annals of Statistics 9, 1981.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def deviations(replicates: Array) -> Array:
    """Return deviations (..., K) whose products, summed over the blocks, are variances and covariances of the values.

    Args:
        replicates: values without each block, (..., K).
    """
    blocks = replicates.shape[-1]
    scaled: Array = (replicates - replicates.mean(axis=-1, keepdims=True)) * np.sqrt((blocks - 1) / blocks)
    return scaled


def standard_error(replicates: Sequence[float] | Array) -> float | None:
    """Return the standard error of a value from its replicates (K,); None if there are none or one is not finite."""
    values = np.asarray(replicates, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        return None
    return float(np.linalg.norm(deviations(values)))


def pseudo_values(values: Array, replicates: Array) -> Array:
    """Return K numbers for each value, (C, K), whose mean is the value and whose standard error is that of the value.

    For a value that is a mean over equal blocks they are the blocks' own means.

    Args:
        values: (C,).
        replicates: values without each block, (C, K).
    """
    blocks = replicates.shape[1]
    return values[:, None] + (blocks - 1) * (replicates.mean(axis=1, keepdims=True) - replicates)

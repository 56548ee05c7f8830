"""All distances of pairs of vectors from sums over their features, and which of them are lost to rounding.

With the sums of each vector, of its squares and of the squared differences of a pair, each vector is read only once:
1 - <a, b> / (|a| |b|) = (|a - b|^2 - (|a| - |b|)^2) / (2 |a| |b|), which is accurate for nearly equal a and b. Pearson's
distance is the cosine distance of centred vectors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.robustness import DISTANCES

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]
TRUSTED = 2**-8  # largest accepted relative rounding error of a distance; the usual one is far smaller
SMALLEST, LARGEST = 1e-19, 1e19  # sums of squares outside this range may have lost terms in float32


@dataclass(frozen=True)
class Moments:
    """Sums over the features of B queries, each with a positive and a negative key, in several feature spaces.

    Attributes:
        size: number of features of each space, (spaces,).
        rounding: relative error of the sums of squares in each, (spaces,).
        sums: float64 (spaces, 8, B): sums of query, positive, negative; sums of squares of query, positive, negative; sums of
            squared differences of query and positive, of query and negative.
    """

    size: Numbers
    rounding: Numbers
    sums: Numbers


def distances_of(moments: Moments) -> tuple[Numbers, Marks]:
    """Compute distances from moments.

    Returns:
        Distances (names, spaces, 2, B) to positives and to negatives, names as in DISTANCES; and (spaces, 2, B), true where
        they must not be used: a vector is zero, constant, not finite, huge or tiny, or the difference is lost to rounding.
    """
    size, rounding, sums = moments.size[:, None, None], moments.rounding[:, None, None], moments.sums
    a, b, a2, b2, gap = sums[:, 0:1], sums[:, 1:3], sums[:, 3:4], sums[:, 4:6], sums[:, 6:8]  # (spaces, 1 or 2, B)
    with np.errstate(all="ignore"):  # non-finite distances are marked as unusable
        shift = a - b
        noise = gap + 2 * np.abs(shift) * (np.sqrt(a2) + np.sqrt(b2)) / np.sqrt(size)
        cosine, clear = _one_minus_product((a2, b2), (a2, b2), gap, gap, rounding)
        centred = a2 - a**2 / size, b2 - b**2 / size
        pearson, clear_too = _one_minus_product(centred, (a2, b2), gap - shift**2 / size, noise, rounding)
        distances = {"cosine": cosine, "pearson": pearson, "l2": gap / size, "euclidean": np.sqrt(gap)}
        for square in (a2, b2):
            clear &= (square > SMALLEST) & (square < LARGEST)
    return np.stack([distances[name] for name in DISTANCES]), ~(clear & clear_too)


def _one_minus_product(
    square: tuple[Numbers, Numbers], raw: tuple[Numbers, Numbers], gap: Numbers, noise: Numbers, rounding: Numbers
) -> tuple[Numbers, Marks]:
    """Compute 1 - <a, b> / (|a| |b|), and whether its rounding error is below TRUSTED.

    Args:
        square: |a|^2 and |b|^2.
        raw: larger sums that these were computed from by subtraction.
        gap: |a - b|^2.
        noise: sum of the terms that it was computed from.
        rounding: relative error of the sums.
    """
    (a, b), (a2, b2), (raw_a, raw_b) = (np.sqrt(part) for part in square), square, raw
    difference = a - b
    rest = gap - difference**2
    noise = noise + np.abs(difference) * (raw_a / a + raw_b / b)
    good = (rounding * noise <= TRUSTED * rest) & (rounding * raw_a <= TRUSTED * a2) & (rounding * raw_b <= TRUSTED * b2)
    return np.clip(rest / (2 * a * b), 0.0, 2.0), good

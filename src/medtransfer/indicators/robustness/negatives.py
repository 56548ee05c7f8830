"""Choice of the negative of each image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NegativePlan:
    """Negative of each image, and the order in which to visit the images.

    Attributes:
        negative: (n,) integers; image i is compared with the second view of image negative[i], never with itself.
        order: (n,) integers, a permutation; the negative of order[i] is order[i - 1] or order[i + 1], cyclically, so most
            negatives are in the batch of their query.
        repaired: middle image of an odd list of `paper` negatives, which would have been its own negative and is compared
            with a neighbour instead; None otherwise.
    """

    negative: NDArray[np.int64]
    order: NDArray[np.int64]
    repaired: int | None


def _random_negatives(n: int, seed: int) -> NegativePlan:
    order = np.random.default_rng(seed).permutation(n)
    negative = np.empty(n, dtype=np.int64)
    negative[order] = np.roll(order, -1)
    return NegativePlan(negative, order, None)


def _paper_negatives(n: int, seed: int) -> NegativePlan:
    """Reverse the list and rotate right by 2: k-[0] = k[1], k-[1] = k[0], k-[j] = k[n + 1 - j] (seed is not used)."""
    negative = np.roll(np.arange(n)[::-1], 2)
    first = np.concatenate([[0], np.arange(n - 1, (n + 1) // 2, -1)])  # one image of each pair
    order = np.stack([first, negative[first]], axis=1).reshape(-1)
    if n % 2 == 0:
        return NegativePlan(negative, order, None)
    middle = (n + 1) // 2
    negative[middle] = middle - 1
    return NegativePlan(negative, np.append(order, middle), middle)


NEGATIVES: dict[str, Callable[[int, int], NegativePlan]] = {"random": _random_negatives, "paper": _paper_negatives}


def negatives(n: int, kind: str, seed: int) -> NegativePlan:
    """Choose the negative of each of n images.

    Args:
        n: number of images, at least 2.
        kind: `random`, a permutation drawn uniformly from those that are one single cycle; or `paper`, the fixed
            pairing of the published code.
        seed: seed of the random permutation.

    Raises:
        ValueError: fewer than two images, or an unknown kind.
    """
    if kind not in NEGATIVES:
        raise ValueError(f"expected a kind of negatives out of {', '.join(NEGATIVES)}, but got {kind!r}")
    if n < 2:
        raise ValueError(f"expected at least 2 images, since a negative is another image, but got {n}")
    return NEGATIVES[kind](n, seed)

"""Choice of the negative of each image."""

from collections.abc import Callable, Sequence
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
        alike: number of images whose random negative is of their own group, because that group holds most images.
    """

    negative: NDArray[np.int64]
    order: NDArray[np.int64]
    repaired: int | None
    alike: int = 0


def _random_negatives(groups: Sequence[str], seed: int) -> NegativePlan:
    """Draw a cycle through all images in which neighbours are of different groups, as far as that is possible."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(groups))
    if len(set(groups)) > 1:
        order = _apart(order, np.unique(np.asarray(groups), return_inverse=True)[1], rng)
    negative = np.empty(len(groups), dtype=np.int64)
    negative[order] = np.roll(order, -1)
    member = np.asarray(groups)
    alike = int((member == member[negative]).sum()) if len(set(groups)) > 1 else 0
    return NegativePlan(negative, order, None, alike)


def _apart(order: NDArray[np.int64], member: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Reverse parts of a cyclic order until no neighbours are of one group, or as few as possible.

    If a and b are neighbours of one group, and c and d are neighbours outside it, then reversing the part from b to c makes a
    neighbour of c, and b of d. There are such c and d unless a group holds more than half of all images and every other image
    already separates two of its images.

    Args:
        order: (n,), a permutation; it stays as it is where no neighbours are of one group.
        member: number of each image's group, (n,).
        rng: source of randomness.
    """
    order = order.copy()
    while True:
        first = member[order]
        second = np.roll(first, -1)
        alike = np.flatnonzero(first == second)
        outside = np.flatnonzero((first != first[alike[0]]) & (second != first[alike[0]])) if len(alike) else alike
        if not len(outside):
            return order
        start, end = sorted((int(alike[0]), int(rng.choice(outside))))
        order[start + 1 : end + 1] = order[start + 1 : end + 1][::-1]


def _paper_negatives(groups: Sequence[str], seed: int) -> NegativePlan:
    """Reverse the list and rotate right by 2: k-[0] = k[1], k-[1] = k[0], k-[j] = k[n + 1 - j] (seed is not used)."""
    n = len(groups)
    negative = np.roll(np.arange(n)[::-1], 2)
    first = np.concatenate([[0], np.arange(n - 1, (n + 1) // 2, -1)])  # one image of each pair
    order = np.stack([first, negative[first]], axis=1).reshape(-1)
    if n % 2 == 0:
        return NegativePlan(negative, order, None)
    middle = (n + 1) // 2
    negative[middle] = middle - 1
    return NegativePlan(negative, np.append(order, middle), middle)


NEGATIVES: dict[str, Callable[[Sequence[str], int], NegativePlan]] = {"random": _random_negatives, "paper": _paper_negatives}


def negatives(groups: Sequence[str], kind: str, seed: int) -> NegativePlan:
    """Choose the negative of each image.

    Args:
        groups: group of each image, at least 2 images.
        kind: `random`, a permutation that is one single cycle, whose negatives are of other groups; or `paper`, the fixed
            pairing of the published code.
        seed: seed of the random permutation.

    Raises:
        ValueError: fewer than two images, or an unknown kind.
    """
    if kind not in NEGATIVES:
        raise ValueError(f"expected a kind of negatives out of {', '.join(NEGATIVES)}, but got {kind!r}")
    if len(groups) < 2:
        raise ValueError(f"expected at least 2 images, since a negative is another image, but got {len(groups)}")
    return NEGATIVES[kind](groups, seed)

"""Draw a subset of training samples: seeded, nested in larger ones of the same seed, and balanced or stratified by class."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.seeds import derive_seed


def count_of(size: float, available: int) -> int:
    """Return how many samples a size is: a number, or a share of those that are available, rounded half up.

    Raises:
        InputError: it is 0, or there are fewer.
    """
    count = size if isinstance(size, int) else int((Decimal(repr(size)) * available).quantize(Decimal(1), ROUND_HALF_UP))
    if not 0 < count <= available:
        got = size if size == count else f"{size}, which is {count}"
        raise InputError(
            f"expected finetune.size to be from 1 to the {available} training images that are left, but got {got}; it is a number "
            "of images, or a share of them, and not their sides"
        )
    return count


def draw(names: Sequence[str], shown: NDArray[np.bool_], count: int, seed: tuple[int, ...], *, equal: bool) -> list[int]:
    """Return the positions of drawn samples; a smaller draw with the same seed is the beginning of a larger one.

    Each step takes the class that is furthest below its share, and the next sample in a random order that shows it.

    Args:
        names: identifier of each sample, (N,); the order of the samples does not matter.
        shown: which classes each sample shows, (N, C); those that show none are a class, too.
        count: number of samples.
        seed: seed of the order.
        equal: whether classes, of which each sample must show one, have equal shares; a class with too few samples is then
            repeated. Otherwise a class has the share that it has among all, and no sample is repeated.
    """
    order = random_order(names, seed)
    columns = np.column_stack([shown, ~shown.any(axis=1)])[order]  # (N, C + 1)
    columns = columns[:, columns.any(axis=0)]
    by_chance = sorted(range(columns.shape[1]), key=lambda column: derive_seed(*seed, "class", column))
    columns = columns[:, by_chance]  # so that chance decides which class comes first
    return [order[index] for index in (_equally(columns, count) if equal else _in_proportion(columns, count))]


def random_order(names: Sequence[str], seed: tuple[int, ...]) -> list[int]:
    """Return the positions of samples in an order that depends on their names and the seed alone."""
    return sorted(range(len(names)), key=lambda index: (derive_seed(*seed, "subset", names[index]), names[index]))


def _equally(columns: NDArray[np.bool_], count: int) -> list[int]:
    """Take the classes in turn; a class without further samples starts again."""
    queues = [np.flatnonzero(column) for column in columns.T]
    turns = (divmod(step, len(queues)) for step in range(count))
    return [int(queues[c][turn % len(queues[c])]) for turn, c in turns]


def _in_proportion(columns: NDArray[np.bool_], count: int) -> list[int]:
    """Take the class that is furthest below its share of the samples so far."""
    totals = columns.sum(axis=0)
    taken, used = np.zeros_like(totals), np.zeros(len(columns), bool)
    queues = [iter(np.flatnonzero(column)) for column in columns.T]
    positions = list[int]()
    while len(positions) < count:
        below = totals * (len(positions) + 1) - len(columns) * taken  # whole numbers, so that ties are ties
        below[taken == totals] = np.iinfo(below.dtype).min  # all are used
        index = next(int(index) for index in queues[int(np.argmax(below))] if not used[index])
        used[index] = True
        taken += columns[index]
        positions.append(index)
    return positions

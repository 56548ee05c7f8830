"""Judge ways of choosing that fine-tune candidates first: chosen on some seeds, judged on the others.

Every order of the seeds is a repetition; where there are very many, some are drawn. The released results, and studies without
validation samples, hold the outcome on the test images alone: a choice is then made on the same test images as it is judged on,
though never by the same fine-tuning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, permutations
from math import inf, perm

import numpy as np
from numpy.typing import NDArray

from medtransfer.analysis.model import Verdict
from medtransfer.analysis.pool import Pool
from medtransfer.metrics.ties import DIGITS
from medtransfer.metrics.transfer import Key
from medtransfer.seeds import derive_seed
from medtransfer.selectors.selectors import Selector

Array = NDArray[np.float64]
MOST_ORDERS = 50_000  # 15 seeds in four rungs have 32,760, in five 360,360
MOST_VALUES = 2**22  # in an array, so that many candidates, seeds or orders take little memory


def judge_trial(pool: Pool, selector: Selector, spent: float) -> Verdict:
    """Judge a selector with a trial that the pool has enough seeds for: the mean over the orders of the common seeds.

    The outcome of a choice is its mean over the seeds that it was not made on. TIS relates it to the best mean over all common
    seeds, as for every other selector: a choice that does not look at the fine-tunings has its usual TIS.

    Args:
        pool: complete, with a best mean outcome above 0.
        selector: with a trial.
        spent: epochs of pretraining.
    """
    outcomes, rungs = seed_table(pool, pool.outcome), selector.rungs(pool)
    seen = seed_table(pool, pool.validation) if pool.validation else outcomes
    mean, best = float(outcomes_of_choices(seen, outcomes, rungs).mean()), float(outcomes.mean(axis=1).max())
    return Verdict(selector, None, mean, mean / best, None, best - mean, spent, (), None, fine_tunings=sum(rungs))


def highest_tis(pools: Iterable[Pool], selector: Selector) -> float:
    """Return the highest possible TIS of a selector: 1, but none for a trial on validation images.

    The outcome of a choice that follows another metric does not regress to the mean on its judging seeds, so by luck it may be
    above the best mean over all seeds.
    """
    return inf if selector.trial and any(pool.validation for pool in pools) else 1.0


def seed_table(pool: Pool, values: Mapping[tuple[Key, int], float]) -> Array:
    """Return values (C, S) of the candidates with the common seeds."""
    return np.array([[values[key, seed] for seed in pool.common_seeds] for key in pool.means])


def outcomes_of_choices(seen: Array, outcomes: Array, rungs: Sequence[int]) -> Array:
    """Return the outcome of the choice for each order of the seeds, (P,), its mean over the seeds that it was not made on.

    Where there are more than MOST_ORDERS, as many are drawn.

    Args:
        seen: values by which candidates are chosen, (C, S); the earlier of equal ones wins.
        outcomes: values by which choices are judged, (C, S).
        rungs: number of candidates in each rung; the last candidates are in the first. Fewer than S.
    """
    count, seeds = outcomes.shape
    at_once = max(1, MOST_VALUES // max(count * len(rungs), seeds))
    return np.concatenate([_outcomes(seen, outcomes, rungs, orders) for orders in _orders(seeds, len(rungs), at_once)])


def _orders(seeds: int, rungs: int, at_once: int) -> Iterator[NDArray[np.int_]]:
    """Yield the seeds of the rungs in each order, `at_once` orders at a time, (P, R)."""
    if perm(seeds, rungs) <= MOST_ORDERS:
        every = permutations(range(seeds), rungs)
        while part := list(islice(every, at_once)):
            yield np.array(part)
        return
    rng = np.random.default_rng(derive_seed("orders of seeds", seeds, rungs))
    for start in range(0, MOST_ORDERS, at_once):
        part_size = min(at_once, MOST_ORDERS - start)
        yield rng.permuted(np.tile(np.arange(seeds), (part_size, 1)), axis=1)[:, :rungs]


def _outcomes(seen: Array, outcomes: Array, rungs: Sequence[int], orders: NDArray[np.int_]) -> Array:
    """Return the outcome of the choice for each of some orders, (P,)."""
    count, seeds = outcomes.shape
    totals = seen[:, orders].cumsum(axis=2).round(DIGITS)  # (C, P, R); sums in another order may differ by rounding
    left = np.arange(count)[:, None] >= count - rungs[0] + np.zeros(len(orders), dtype=int)  # (C, P)
    for rung, size in enumerate((*rungs[1:], 1)):
        first = np.argsort(-np.where(left, totals[:, :, rung], -np.inf), axis=0, kind="stable")[:size]  # (size, P)
        left = np.zeros_like(left)
        np.put_along_axis(left, first, True, axis=0)
    chosen, judging = left.argmax(axis=0), np.ones((len(orders), seeds), dtype=bool)
    np.put_along_axis(judging, orders, False, axis=1)
    values: Array = np.where(judging, outcomes[chosen], 0.0).sum(axis=1) / (seeds - len(rungs))
    return values

"""Prune candidates by an indicator before any fine-tuning, and judge it where all outcomes are known.

What counts is whether the candidate with the best outcome was left out, what the best of those left in brings, and how often a
blind draw of as many candidates would have done the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.analysis.halving import TIE, survivors
from medtransfer.analysis.pool import Pool
from medtransfer.metrics.comparison import Interval, share_interval
from medtransfer.metrics.ties import rounded
from medtransfer.selectors.score_names import score_sign

LATEST = "latest_epochs"  # in place of an indicator: the epoch itself


def left_in(values: ArrayLike, eta: int, equal: Collection[int] = ()) -> list[int]:
    """Return the indices of the candidates that pruning leaves in, ascending.

    These are the best ceil(n / eta) of the n candidates with a value and those that tie with the last of them, all in `equal`,
    and all without a value, about which the indicator says nothing.

    Args:
        values: (C,), higher is better, NaN where undefined.
        eta: as many times fewer candidates.
        equal: indices of those that the indicator cannot distinguish from its best.
    """
    scores = np.asarray(values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(scores))
    best = survivors(scores[known][:, None], seats=-(-len(known) // eta)).stay if len(known) else ()
    unknown = np.flatnonzero(~np.isfinite(scores))
    return sorted({*known[list(best)].tolist(), *unknown.tolist(), *equal})


@dataclass(frozen=True)
class Cut:
    """What pruning does to the candidates of one pool.

    Attributes:
        candidates: their number.
        left: number of those that are left in.
        tis: best mean outcome of those left in, relative to the best of all.
        blind_loss: probability that a blind draw of as many has no candidate of the best outcome.
        blind_tis: expected `tis` of such a draw.
    """

    candidates: int
    left: int
    tis: float
    blind_loss: float
    blind_tis: float

    @property
    def lost(self) -> bool:
        """Whether the winner is left out."""
        return self.tis < 1


def judge_cut(outcomes: ArrayLike, left: Sequence[int]) -> Cut:
    """Judge who was left in.

    Args:
        outcomes: mean outcomes of all candidates, (C,); the best is above 0.
        left: indices of those left in, at least one.
    """
    means = np.asarray(outcomes, dtype=np.float64)
    ratios, count = means / means.max(), len(left)
    ratios[ratios >= 1 - TIE] = 1.0  # a winner, too: the outcomes differ by the rounding of their sums
    ordered = np.sort(ratios)[::-1]
    draws = comb(len(means), count)
    first = np.array([comb(len(means) - place - 1, count - 1) / draws for place in range(len(means))])  # P(it is the best drawn)
    loss = float(first[ordered < 1].sum())
    return Cut(len(means), count, float(ratios[list(left)].max()), loss, float(first @ ordered))


def cuts_of(pool: Pool, eta: int) -> dict[str, Cut]:
    """Judge pruning a complete pool to its best ceil(n / eta) by each of its scores, and in a series to its latest epochs."""
    keys = list(pool.means)
    outcomes, found = [pool.means[key] for key in keys], {}
    series = {LATEST: {key: float(key) for key in keys}} if pool.is_series else {}
    for name, scores in {**pool.scores, **series}.items():
        values = [score_sign(name) * scores.get(key, np.nan) for key in keys]
        if np.isfinite(values).any():
            found[name] = judge_cut(outcomes, left_in(values, eta))
    return found


@dataclass(frozen=True)
class Pruning:
    """Pruning by one indicator, over pools.

    Attributes:
        indicator: its name.
        pools: number of pools.
        lost: number of those whose winner it leaves out.
        interval: of this share; wide enough for pools of the same pretraining or target that always agree.
        blind_loss: mean probability that a blind draw of as many loses the winner.
        tis: mean of the best TIS that is left in.
        worst: lowest of these.
        blind_tis: mean of the expected best TIS in a blind draw of as many.
        left: mean share of the candidates that is left in.
    """

    indicator: str
    pools: int
    lost: int
    interval: Interval
    blind_loss: float
    tis: float
    worst: float
    blind_tis: float
    left: float


def over_pools(
    cuts: Sequence[Mapping[str, Cut]], factors: Mapping[str, Sequence[str]], confidence: float
) -> tuple[Pruning, ...]:  # fmt: skip
    """Summarise each indicator over the pools that have it, the highest mean TIS first.

    Args:
        cuts: by indicator, one mapping for each pool.
        factors: level of each pool, by factor, such as its pretraining and its target.
        confidence: coverage of the intervals.
    """
    found = []
    for name in dict.fromkeys(name for of_pool in cuts for name in of_pool):
        chosen = [index for index, of_pool in enumerate(cuts) if name in of_pool]
        own = [cuts[index][name] for index in chosen]
        lost = [cut.lost for cut in own]
        levels = {factor: [all_levels[index] for index in chosen] for factor, all_levels in factors.items()}
        loss, tis, blind, left = np.mean([(c.blind_loss, c.tis, c.blind_tis, c.left / c.candidates) for c in own], axis=0).tolist()
        interval = share_interval(lost, levels, confidence)
        found.append(Pruning(name, len(own), sum(lost), interval, loss, tis, min(cut.tis for cut in own), blind, left))
    return tuple(sorted(found, key=lambda one: -rounded(one.tis)))

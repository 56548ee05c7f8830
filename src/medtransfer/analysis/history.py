"""The baseline `history`: how well candidates did on other targets, which says nothing about the target itself.

A candidate's value is its mean TIS on the other targets on which it was fine-tuned beside other candidates. Values of
candidates that were not fine-tuned on the same targets rest on different grounds, so each comes with its number of targets.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from medtransfer.analysis.pool import Pool
from medtransfer.metrics.transfer import Key
from medtransfer.records.evidence import EvidenceRow
from medtransfer.selectors.selectors import HISTORY

K = TypeVar("K", bound=Hashable)
Outcomes = Mapping[K, float]  # mean outcome by candidate, in one mode by one protocol


@dataclass(frozen=True)
class History:
    """What other targets say about a candidate.

    Attributes:
        value: mean TIS over the other targets; None if there is none.
        targets: number of targets that it rests on.
        error: standard error over targets; None with fewer than two.
    """

    value: float | None
    targets: int
    error: float | None


def history(
    candidates: Collection[str], target: Collection[str], rows: Iterable[EvidenceRow], *, metric: str, mode: str, least: float
) -> dict[str, History]:
    """Return what evidence on other targets says about candidates.

    Args:
        candidates: SHA-256 of weights, or names such as `unet-simple/epoch-010` where that is not known.
        target: everything that names the present target: its fingerprint, the digest of its source files, its name.
        rows: evidence; rows on the present target, and on targets that share a digest or a name with it, are left out.
        metric: outcome that is compared.
        mode: mode of transfer; results of different modes or protocols are not compared with each other.
        least: outcome up to which models learned nothing; a comparison whose best is not above it is left out.

    Returns:
        By candidate, in their order.
    """
    chosen = [row for row in rows if (row.metric, row.mode) == (metric, mode)]
    (names, present), wanted = _targets(chosen, target), set(candidates)
    compared: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in chosen:
        if (name := names[row.data]) != present:
            for candidate in {row.weights, row.name} & wanted:
                compared[name][f"{row.data} {row.protocol}"][candidate].append(row.mean)
    means = {
        name: [{candidate: float(np.mean(values)) for candidate, values in group.items()} for group in groups.values()]
        for name, groups in compared.items()
    }
    found = over_targets(means, least)
    return {candidate: found.get(candidate, History(None, 0, None)) for candidate in candidates}


def _targets(rows: Sequence[EvidenceRow], present: Collection[str]) -> tuple[dict[str, str], str]:
    """Name the target of every data digest: data that share source files or a name are of one target.

    Returns:
        The name by data digest, and the name of the present target.
    """
    names: dict[str, str] = {}
    for ids in {*(row.target_ids for row in rows), frozenset(present)}:
        joined = {names.setdefault(name, name) for name in ids}
        names |= {name: min(joined) for name, other in names.items() if other in joined}
    return names, names[next(iter(present))] if present else ""


def over_targets(compared: Mapping[Any, Sequence[Outcomes[K]]], least: float) -> dict[K, History]:
    """Average the TIS of candidates over targets, each of which counts once.

    Args:
        compared: by target, outcomes that may be compared with each other; those with fewer than two candidates, or whose best
            is not above `least`, are left out.
        least: see `history`.
    """
    values: dict[K, list[float]] = defaultdict(list)
    for comparisons in compared.values():
        of_target: dict[K, list[float]] = defaultdict(list)
        for outcomes in comparisons:
            if len(outcomes) > 1 and (best := max(outcomes.values())) > max(least, 0.0):
                for candidate, outcome in outcomes.items():
                    of_target[candidate].append(outcome / best)
        for candidate, shares in of_target.items():
            values[candidate].append(float(np.mean(shares)))
    return {candidate: _summary(shares) for candidate, shares in values.items()}


def _summary(shares: Sequence[float]) -> History:
    error = float(np.std(shares, ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else None
    return History(float(np.mean(shares)), len(shares), error)


def with_history(pools: Sequence[Pool], least: float) -> list[Pool]:
    """Add the score `history` to every pool whose weights were fine-tuned in the same mode on other targets, too.

    A candidate's score is its mean TIS over these targets; pools that are incomplete or learned nothing say nothing.
    """
    usable: dict[tuple[str, ...], list[Pool]] = defaultdict(list)
    for pool in pools:
        if pool.complete and not pool.blind:
            usable[_start(pool)].append(pool)
    return [_with_history(pool, usable[_start(pool)], least) for pool in pools]


def _with_history(pool: Pool, pools: Sequence[Pool], least: float) -> Pool:
    others: dict[str, list[Mapping[Key, float]]] = defaultdict(list)
    for other in pools:
        same_target = pool.fields["target"] == other.fields["target"] or pool.digests["data"] == other.digests["data"]
        if not same_target:
            others[other.fields["target"]].append(other.means)
    found = over_targets(others, pool.metric.floor(least))
    scores = {key: summary.value for key, summary in found.items() if summary.value is not None and key in pool.candidates}
    if not scores:
        return pool
    targets = max(summary.targets for summary in found.values())
    return replace(pool, scores={**pool.scores, HISTORY: scores}, other_targets=targets)


def _start(pool: Pool) -> tuple[str, ...]:
    """What pools of the same candidates, mode, size and metric share; folds of a target are averaged."""
    return pool.weights, pool.digests.get("pretraining", ""), pool.fields["mode"], pool.portion[0], pool.metric.name

"""Rankings of the tracking store whose candidates were fine-tuned on the same target, too: how often pruning loses the winner."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.pruning import Cut, Pruning, judge_cut, left_in, over_pools
from medtransfer.records.evidence import EvidenceRow
from medtransfer.selectors.score_names import score_sign
from medtransfer.tasks import TASKS

LEAST = 3  # candidates with an outcome
SHARED = ("target", "data", "mode", "images")  # params that the candidates of a ranking share


def outcomes_of(
    weights: Sequence[str], data: str, mode: str, metric: str, evidence: Sequence[EvidenceRow], preferred: str = ""
) -> tuple[NDArray[np.float64], int, str]:  # fmt: skip
    """Return the mean outcome of each candidate, (C,), NaN where unknown, the least number of seeds, and the protocol.

    Args:
        weights: SHA-256 of the candidates' weights.
        data: fingerprint of the target.
        mode: mode of transfer.
        metric: name of the outcome.
        evidence: results; of the protocols that were used on this target the one with most candidates counts.
        preferred: protocol that counts if no other has more.
    """
    known = [row for row in evidence if (row.data, row.mode, row.metric) == (data, mode, metric) and row.weights in weights]
    candidates = Counter(row.protocol for row in known)
    protocol = min(candidates, key=lambda name: (-candidates[name], name != preferred, name), default="")
    chosen = {row.weights: row for row in known if row.protocol == protocol}
    means = np.array([chosen[one].mean if one in chosen else np.nan for one in weights])
    return means, min((row.seeds for row in chosen.values()), default=0), protocol


def pruned_so_far(
    indicator: str, eta: int, least: float, evidence: Sequence[EvidenceRow], confidence: float, recipe: str = ""
) -> Pruning | None:  # fmt: skip
    """Judge pruning by an indicator over all rankings of the store, by the plain cut, since runs hold no sets.

    Args:
        indicator: its name.
        eta: factor of the race.
        least: share of the way from chance to the highest outcome up to which models learned nothing.
        evidence: what fine-tuning gave.
        confidence: coverage of the interval.
        recipe: protocol of the fine-tunings that count if no other has more candidates.

    Returns:
        The judgement; None where no ranking has LEAST candidates with an outcome.
    """
    rankings: dict[tuple[str | None, ...], dict[str, float]] = defaultdict(dict)
    for run in tracking.read_runs("rank", only=(*SHARED, "settings", "stride", "weights", indicator)):  # newest first
        settings = run.params.get("settings", run.params.get("stride"))  # earlier runs have the stride alone
        by_weights = rankings[(*(run.params.get(name) for name in SHARED), settings)]
        by_weights.setdefault(run.params["weights"], run.metrics.get(indicator, math.nan))
    cuts, targets = list[dict[str, Cut]](), list[str]()
    for (target, data, mode, *_), scores in _distinct(rankings):
        cut = _judge(indicator, eta, least, scores, str(data), str(mode), evidence, recipe)
        if cut is not None:
            cuts.append({indicator: cut})
            targets.append(str(target))
    return over_pools(cuts, {"target": targets}, confidence)[0] if cuts else None


def _distinct(
    rankings: Mapping[tuple[str | None, ...], dict[str, float]],
) -> Iterator[tuple[tuple[str | None, ...], dict[str, float]]]:
    """Yield the rankings but those whose values are all in another one on the same images.

    The same candidates measured again, by a later version or by settings that are of other indicators, are no second ranking.
    """
    kept = defaultdict[tuple[str | None, ...], list[dict[str, float]]](list)
    for key, scores in sorted(rankings.items(), key=lambda item: -len(item[1])):
        others = kept[key[: len(SHARED)]]
        if not any(scores.items() <= other.items() for other in others):
            others.append(scores)
            yield key, scores


def _judge(
    indicator: str, eta: int, least: float, scores: dict[str, float], data: str, mode: str, evidence: Sequence[EvidenceRow],
    recipe: str,
) -> Cut | None:  # fmt: skip
    metrics = {(one := TASKS[row.task].primary).name: one for row in evidence if row.data == data and row.task in TASKS}
    if not metrics:
        return None
    metric = metrics[min(metrics)]
    means, *_ = outcomes_of(list(scores), data, mode, metric.name, evidence, recipe)
    values, known = score_sign(indicator) * np.array(list(scores.values())), np.isfinite(means)
    if known.sum() < LEAST or means[known].max() <= metric.floor(least) or not np.isfinite(values[known]).any():
        return None
    return judge_cut(means[known], left_in(values[known], eta))

"""Judge a ranking by what fine-tuning the same candidates on the same target gave, where the store or evidence files know it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtransfer.analysis.ranking import Array, agreement
from medtransfer.rank.ranking import Ranking
from medtransfer.records.evidence import EvidenceRow
from medtransfer.selectors.score_names import score_label

LEAST = 3  # candidates with an outcome


@dataclass(frozen=True)
class Judgement:
    """How well one way of choosing did among the candidates with an outcome.

    Attributes:
        way: indicator or baseline.
        takes: the chosen candidates; several where it cannot tell them apart, and then their mean counts.
        outcome: mean outcome of the chosen.
        tis: that divided by the best mean outcome.
        regret: the best mean outcome minus that.
        kendall: rank correlation with the outcome; NaN for baselines that rank nothing.
        ranked: candidates that the correlation rests on.
        candidates: candidates that the choice was among.
    """

    way: str
    takes: tuple[str, ...]
    outcome: float
    tis: float
    regret: float
    kendall: float
    ranked: int
    candidates: int


def outcomes_of(ranking: Ranking, data: str, metric: str, evidence: Sequence[EvidenceRow]) -> tuple[Array, int]:
    """Return the mean outcome of each candidate, (C,), NaN where unknown, and the least number of seeds.

    Args:
        ranking: of the candidates, in one mode of transfer.
        data: fingerprint of the target.
        metric: name of the outcome.
        evidence: results; of the protocols that were used on this target the one with most candidates counts.
    """
    rows = [row for row in evidence if (row.data, row.mode, row.metric) == (data, ranking.mode, metric)]
    weights = {candidate.weights for candidate in ranking.candidates}
    known = [row for row in rows if row.weights in weights]
    protocols = sorted({row.protocol for row in known}, key=lambda name: (-sum(row.protocol == name for row in known), name))
    chosen = {row.weights: row for row in known if row.protocol == protocols[0]}
    means = np.array([chosen[c.weights].mean if c.weights in chosen else np.nan for c in ranking.candidates])
    return means, min((row.seeds for row in chosen.values()), default=0)


def judge(ranking: Ranking) -> list[Judgement]:
    """Judge every indicator and baseline, the best first.

    Empty with fewer than LEAST candidates with an outcome, or if the best of these learned nothing (`Ranking.least`).
    """
    outcomes = np.array(ranking.outcomes)
    known = np.isfinite(outcomes)
    if known.sum() < LEAST or np.nanmax(outcomes) <= ranking.least:
        return []
    ways: list[tuple[str, Sequence[int], tuple[float, int]]] = []
    none = float("nan"), 0
    for name in ranking.indicators:
        ranks = np.where(known, ranking.standings[name].ranks, np.nan)
        if len(set(ranking.widths(name)[known])) > 1 or not np.isfinite(ranks).any():
            continue  # it does not compare all of them
        chosen = np.flatnonzero(ranks == np.nanmin(ranks))
        ways.append((score_label(name), chosen.tolist(), agreement(-ranks, outcomes)))
    accuracies = np.array([np.nan if c.source_accuracy is None else c.source_accuracy for c in ranking.candidates])
    for name, indices in ranking.baselines.items():
        taken = [index for index in indices if known[index]]
        correlation = agreement(accuracies, outcomes) if name == "source accuracy" else none
        ways += [(name, taken, correlation)] if taken else []
    ways.append(("any candidate, on average", np.flatnonzero(known).tolist(), none))
    best = float(np.nanmax(outcomes))
    judged = [
        Judgement(
            way, tuple(ranking.candidates[i].name for i in chosen), value := float(np.mean(outcomes[list(chosen)])), value / best,
            best - value, *kendall, int(known.sum()),
        )
        for way, chosen, kendall in ways
    ]  # fmt: skip
    return sorted(judged, key=lambda one: -one.tis)

"""Judge a ranking by what fine-tuning the same candidates on the same target gave, where the store or evidence files know it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtransfer.analysis.pruning import Cut, judge_cut, left_in
from medtransfer.analysis.ranking import agreement
from medtransfer.analysis.rankings import LEAST
from medtransfer.indicators.registry import INDICATORS
from medtransfer.rank.ranking import Ranking
from medtransfer.selectors.score_names import score_label


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
        pruned: what pruning by it, as before a race, would have done to these candidates: to the best of them and all that it
            cannot distinguish from its best; None for baselines.
        cut: likewise without those that it cannot distinguish.
    """

    way: str
    takes: tuple[str, ...]
    outcome: float
    tis: float
    regret: float
    kendall: float
    ranked: int
    candidates: int
    pruned: Cut | None = None
    cut: Cut | None = None


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
    cuts = {score_label(name): _prune(ranking, name, known) for name in ranking.indicators}
    judged = [
        Judgement(
            way, tuple(ranking.candidates[i].name for i in chosen), value := float(np.mean(outcomes[list(chosen)])), value / best,
            best - value, *kendall, int(known.sum()), *cuts.get(way, (None, None)),
        )
        for way, chosen, kendall in ways
    ]  # fmt: skip
    return sorted(judged, key=lambda one: -one.tis)


def _prune(ranking: Ranking, name: str, known: np.ndarray) -> tuple[Cut, Cut]:
    """Judge pruning the candidates with an outcome, with and without those that cannot be distinguished from the best."""
    values = (1 if INDICATORS[name].higher_is_better else -1) * ranking.values(name)[known]
    equal = np.flatnonzero(ranking.standings[name].kept[known]).tolist()
    outcomes = np.array(ranking.outcomes)[known]
    return judge_cut(outcomes, left_in(values, ranking.eta, equal)), judge_cut(outcomes, left_in(values, ranking.eta))

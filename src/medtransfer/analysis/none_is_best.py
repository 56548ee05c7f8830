"""Judge the guard against a pretraining that is worse than none, where several seeds were fine-tuned."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special

from medtransfer.analysis.model import Judged
from medtransfer.analysis.summary import mean_over
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.metrics.transfer import transferability_indicator_score
from medtransfer.selectors.none_is_best import prefer_none
from medtransfer.selectors.rules import Choice, Observation, find_stopping_rule
from medtransfer.selectors.selectors import complete_scores

DECIDING = 3  # seeds that the guard sees


@dataclass(frozen=True)
class GuardResult:
    """The guard behind a stopping rule.

    Attributes:
        rule: name of the rule.
        pools: number of pools.
        ahead: pools in which no pretraining has a higher mean outcome than the choice of the rule.
        gain: difference of TIS that the guard makes, judged on the seeds that it does not see.
    """

    rule: str
    pools: int
    ahead: int
    gain: ClusterMean


def judge_guard(judged: Sequence[Judged], rule: str, confidence: float) -> GuardResult | None:
    """Judge the guard behind a stopping rule on robustness, over all choices of the seeds that it sees.

    The fine-tunings are full ones, in place of short ones. Since the errors come from few seeds, Student's value decides.

    Args:
        judged: judged pools; used are series with all scores, no pretraining among the candidates and enough seeds.
        rule: name of the stopping rule.
        confidence: of the guard's decision.

    Returns:
        The result; None without such pools.
    """
    pools = [
        pool for pool in judged
        if pool.verdicts and pool.pool.is_series and 0 in pool.pool.means and complete_scores(pool.pool, "robustness")
        and len(pool.pool.common_seeds) > DECIDING
    ]  # fmt: skip
    if not pools:
        return None
    z = float(special.stdtrit(DECIDING - 1, (1 + confidence) / 2))
    scores = [{int(epoch): score for epoch, score in pool.pool.robustness.items()} for pool in pools]
    choices = [find_stopping_rule(rule, "a rule").choose(series) for series in scores]
    gains = [_gain(pool, choice, z) for pool, choice in zip(pools, choices, strict=True)]
    ahead = sum(p.pool.means[0] > p.pool.means[choice.candidate] for p, choice in zip(pools, choices, strict=True))
    return GuardResult(rule, len(pools), ahead, mean_over(pools, gains))


def _gain(judged: Judged, choice: Choice[int], z: float) -> float:
    """Return what the guard adds to the TIS of a choice, the mean over all sets of seeds that it may see."""
    pool, gains = judged.pool, []
    for seen in combinations(pool.common_seeds, DECIDING):
        none, pretrained = (_observe([pool.outcome[key, seed] for seed in seen]) for key in (0, choice.candidate))
        guarded = prefer_none(choice, none, pretrained, z).candidate
        rest = [seed for seed in pool.common_seeds if seed not in seen]
        means = {key: float(np.mean([pool.outcome[key, seed] for seed in rest])) for key in pool.means}
        gains.append(
            transferability_indicator_score(means, guarded) - transferability_indicator_score(means, choice.candidate)
        )  # fmt: skip
    return float(np.mean(gains))


def _observe(values: Sequence[float]) -> Observation:
    return Observation(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))

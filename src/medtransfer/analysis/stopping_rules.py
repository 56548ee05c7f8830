"""Judge stopping rules on the pools of a study, against lengths decided beforehand that cost as much.

The parameter of a rule is chosen on other targets, or on other encoders, than those that it is judged on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from medtransfer.analysis.model import Judged, Sampling, Summary, Verdict
from medtransfer.analysis.summary import at_cost, mean_over, summary_of
from medtransfer.metrics.comparison import ClusterMean, differences
from medtransfer.metrics.transfer import regret, transferability_indicator_score
from medtransfer.selectors.marks import BLACK, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Mark
from medtransfer.selectors.rules import RULES, Observation, find_stopping_rule
from medtransfer.selectors.selectors import Selector, complete_scores

HELD_OUT = {"target": "^", "encoder": "s"}  # fields of a pool that a parameter is chosen without, and their markers
COLOURS = {"first-drop": GREEN, "keep-stop": ORANGE, "patience": VERMILLION, "least-rise": PURPLE, "smoothed": SKY}


@dataclass(frozen=True)
class RuleResult:
    """One stopping rule over all pools.

    Attributes:
        family: its key in RULES.
        summary: its TIS and its cost.
        gain: difference of its TIS to that of fixed lengths that cost as much, each pool with a pretraining of its own.
        gain_shared: likewise where a pretraining serves all its pools, and so runs to the longest stop.
        chosen: rule with the chosen parameter by the target or encoder that it was chosen without; empty without a choice.
    """

    family: str
    summary: Summary
    gain: ClusterMean
    gain_shared: ClusterMean
    chosen: Mapping[str, str] = field(default_factory=dict)


def judge_rules(judged: Sequence[Judged], sampling: Sampling, error: float) -> tuple[RuleResult, ...]:
    """Judge every stopping rule of RULES on the robustness of pretrainings.

    Rules with a parameter are judged at its default, and with the one that is the best against fixed lengths of equal cost
    on the other targets, and on the other encoders.

    Args:
        judged: judged pools; those that are no series, or lack a score, are left out.
        sampling: how intervals are computed.
        error: standard error to assume of each score.

    Returns:
        The results in the order of RULES; none if the pools have different checkpoints, so that costs cannot be compared.
    """
    pools = [pool for pool in judged if pool.verdicts and pool.pool.is_series and complete_scores(pool.pool, "robustness")]
    comparable = len({pool.pool.candidates for pool in pools}) == 1
    families = [name for name, rule in RULES.items() if rule.needs_epochs] if comparable else []
    return tuple(result for family in families for result in _judge_family(family, pools, sampling, error))


def _judge_family(family: str, pools: Sequence[Judged], sampling: Sampling, error: float) -> Iterator[RuleResult]:
    """Judge a rule as it is, and, where it has a parameter, with one chosen on other pools."""
    parameter, colour = RULES[family].parameter, COLOURS.get(family, BLACK)
    name = f"{family}-{RULES[family].amount:g}" if parameter else family
    yield _judge(family, name, Mark(colour, "o" if parameter else "D"), [name] * len(pools), pools, sampling, error)
    for by, marker in HELD_OUT.items() if parameter else ():
        levels = [pool.pool.fields[by] for pool in pools]
        chosen = {
            level: _best(family, [pool for pool, own in zip(pools, levels, strict=True) if own != level], error)
            for level in sorted(set(levels))
        }
        if all(chosen.values()):
            names = [chosen[level] for level in levels]
            result = _judge(family, f"{family}, by other {by}s", Mark(colour, marker), names, pools, sampling, error)
            yield replace(result, chosen=chosen)


def _judge(
    family: str, name: str, mark: Mark, rules: Sequence[str], pools: Sequence[Judged], sampling: Sampling, error: float
) -> RuleResult:  # fmt: skip
    """Judge the rules of the pools, one for each, under one name."""
    selector = _selector(name, mark)
    own = [
        replace(pool, verdicts=(*pool.verdicts, _verdict(selector, rule, pool, error)))
        for pool, rule in zip(pools, rules, strict=True)
    ]  # fmt: skip
    tis, summary = [pool.by_selector[name].tis for pool in own], summary_of(selector, own, sampling)
    gain, gain_shared = (
        mean_over(own, differences(tis, at_cost(own, cost))) for cost in (summary.mean_epochs, summary.shared_epochs)
    )
    return RuleResult(family, summary, gain, gain_shared)


def _selector(name: str, mark: Mark) -> Selector:
    """Return the selector under whose name verdicts are summarised; they are made by `_verdict`."""
    return Selector(name, name, name, name, mark, choose=lambda pool: None, spent=lambda pool, choice: 0, needs="robustness")


def _verdict(selector: Selector, rule: str, judged: Judged, error: float) -> Verdict:
    pool = judged.pool
    accuracies = pool.scores.get("source_accuracy", {})
    choice = find_stopping_rule(rule, "a rule").choose(
        {int(epoch): Observation(score, error, accuracies.get(epoch)) for epoch, score in pool.robustness.items()}
    )
    spent = choice.stopped_at or pool.candidates[-1]
    chosen, means = choice.candidate, pool.means
    tis = transferability_indicator_score(means, chosen)
    return Verdict(selector, chosen, means[chosen], tis, None, regret(means, chosen), float(spent), choice.tied, None)


def _best(family: str, pools: Sequence[Judged], error: float) -> str:
    """Return the rule of a family whose parameter gains most over fixed lengths of equal cost; empty without pools.

    Of equally good parameters the one nearest to the default is taken.
    """
    parameter, default = RULES[family].parameter, RULES[family].amount
    assert parameter is not None
    selector, gains = _selector(family, Mark(BLACK, "o")), {}
    for amount in sorted(parameter.tried, key=lambda value: abs(value - default)):
        name = f"{family}-{amount:g}"
        verdicts = [_verdict(selector, name, pool, error) for pool in pools]
        if pools:
            fixed = at_cost(pools, sum(verdict.spent for verdict in verdicts) / len(verdicts))
            gains[name] = round(sum(differences([verdict.tis for verdict in verdicts], fixed)) / len(fixed), 12)
    return max(gains, key=lambda name: gains[name], default="")

"""Stopping rules over pools made by hand: choices, costs in both accounts, and parameters chosen on other pools."""

from collections.abc import Mapping

import pytest

from medtransfer.analysis.judge import judge
from medtransfer.analysis.model import Judged, Sampling
from medtransfer.analysis.none_is_best import judge_guard
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.stopping_rules import RuleResult, judge_rules
from medtransfer.selectors.rules import RULES
from medtransfer.tasks import TASKS

SAMPLING = Sampling(draws=10, confidence=0.95, seed=0, margin=0.01, least=0.1)
DICE = {0: 0.2, 1: 0.4, 10: 0.5, 20: 0.6, 30: 0.8}
RISING = {1: 0.1, 10: 0.2, 20: 0.3, 30: 0.4}
DIPS = {1: 0.1, 10: 0.05, 20: 0.3, 30: 0.4}  # keep-stop stops at 10, patience-2 never


def pool(encoder: str, target: str, scores: Mapping[int, float], dice: Mapping[int, float] = DICE) -> Judged:
    fields = {"source": "s", "origin": "simple", "encoder": encoder, "target": target, "mode": "full"}
    outcome = {(epoch, seed): value for epoch, value in dice.items() for seed in (1, 2)}
    known = {"robustness": dict(scores), "source_accuracy": {epoch: epoch / 100 for epoch in dice}}
    digests = {"pretraining": encoder, "data": target, "protocol": "p"}
    return judge(Pool(fields, digests, outcome, known, tuple(dice), TASKS["segmentation"].primary), SAMPLING)


def seeded(*outcomes: tuple[float, ...]) -> Judged:
    """Make a pool whose rule keep-stop chooses epoch 10, from the outcomes of epochs 0, 10 and 30 by seed."""
    fields = {"source": "s", "origin": "simple", "encoder": "unet", "target": "a", "mode": "full"}
    table = {(epoch, seed): value for epoch, row in zip((0, 1, 10, 30), outcomes, strict=True) for seed, value in enumerate(row)}
    scores = {"robustness": {1: 0.2, 10: 0.1, 30: 0.3}}
    digests = {"pretraining": "p", "data": "d", "protocol": "p"}
    return judge(Pool(fields, digests, table, scores, (0, 1, 10, 30), TASKS["segmentation"].primary), SAMPLING)


def test_the_guard_is_judged_on_the_seeds_that_it_does_not_see():
    """No pretraining is clearly ahead of epoch 10 in the first pool, behind in the second, and within noise in the third."""
    low, high, noisy = (0.5, 0.5, 0.51, 0.5), (0.8, 0.8, 0.81, 0.8), (0.2, 0.9, 0.5, 0.6)
    ahead, behind, unclear = seeded(high, low, low, low), seeded(low, low, high, low), seeded(noisy, low, low, low)
    one = judge_guard([ahead], "keep-stop", 0.95)
    splits = [(high[seed], low[seed]) for seed in range(4)]  # the one seed that judges
    assert one is not None and (one.pools, one.ahead) == (1, 1)
    assert one.gain.value == pytest.approx(sum(1 - b / a for a, b in splits) / 4)
    for judged, count in ((behind, 0), (unclear, 1)):
        other = judge_guard([judged], "keep-stop", 0.95)
        assert other is not None and (other.ahead, other.gain.value) == (count, 0)
    assert judge_guard([pool("unet", "a", RISING)], "keep-stop", 0.95) is None  # two seeds


def results(*pools: Judged) -> dict[str, RuleResult]:
    return {result.summary.selector.name: result for result in judge_rules(pools, SAMPLING, 0.001)}


def test_tis_and_both_costs_by_hand():
    """One pretraining serves two targets; on one keep-stop stops at 10, on the other it goes to 30."""
    kept = results(pool("unet", "a", DIPS), pool("unet", "b", RISING))["keep-stop"]
    assert kept.summary.mean_tis == pytest.approx((0.5 / 0.8 + 1) / 2)
    assert (kept.summary.mean_epochs, kept.summary.shared_epochs, kept.summary.pools) == (20, 30, 2)
    assert kept.gain.value == pytest.approx((0.5 / 0.8 + 1) / 2 - 0.6 / 0.8)  # always 20 epochs
    assert kept.gain_shared.value == pytest.approx((0.5 / 0.8 + 1) / 2 - 1)  # always 30 epochs
    assert kept.gain.outcome(0.95, 0.01) == "undecided"  # one pretraining shows nothing


def test_every_rule_is_judged_and_parameters_are_chosen_on_the_others():
    """On target a only patience pays; so it is chosen where a is among the others, and the least patient where it is not."""
    low = {0: 0.2, 1: 0.8, 10: 0.8, 20: 0.1, 30: 0.81}
    found = results(pool("unet", "a", DIPS, low), pool("swin", "b", DIPS), pool("vit", "b", RISING))
    parametric = {name for name, rule in RULES.items() if rule.needs_epochs and rule.parameter}
    assert {result.family for result in found.values()} == {name for name, rule in RULES.items() if rule.needs_epochs}
    assert {result.family for result in found.values() if result.chosen} == parametric
    chosen = found["patience, by other targets"].chosen
    assert set(chosen) == {"a", "b"} and set(found["patience, by other encoders"].chosen) == {"unet", "swin", "vit"}
    for level, pools in (("a", [pool("swin", "b", DIPS), pool("vit", "b", RISING)]), ("b", [pool("unet", "a", DIPS, low)])):
        gains = {}
        for k in (2, 1, 3, 4):  # the nearest to the default first
            tis, spent, fixed = [], [], []
            for other in pools:
                choice = RULES["patience"].at(k, "x").choose(other.pool.robustness)
                tis.append(other.pool.means[choice.candidate] / max(other.pool.means.values()))
                spent.append(choice.stopped_at or 30)
            cost = sum(spent) / len(spent)
            for other in pools:
                below, above = (max(e for e in DICE if e <= cost), min(e for e in DICE if e >= cost))
                share = (cost - below) / (above - below) if above > below else 0
                mix = (1 - share) * other.pool.means[below] + share * other.pool.means[above]
                fixed.append(mix / max(other.pool.means.values()))
            gains[f"patience-{k}"] = round((sum(tis) - sum(fixed)) / len(tis), 9)
        assert chosen[level] == max(gains, key=gains.__getitem__)


def test_what_cannot_be_compared_gives_nothing():
    assert results() == {}
    assert results(pool("unet", "a", {1: 0.1})) == {}  # lacks scores
    shorter = {epoch: value for epoch, value in DICE.items() if epoch < 30}
    assert results(pool("unet", "a", RISING), pool("unet", "b", RISING, shorter)) == {}
    one = results(pool("unet", "a", RISING))
    assert not any(result.chosen for result in one.values())  # no other target or encoder to choose on

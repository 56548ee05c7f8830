"""Association, permutations, power and spread, by enumeration, simulation and by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.analysis.test_judge import DICE, SAMPLING, pool

from medtransfer.analysis import evidence
from medtransfer.analysis.evidence import between_seeds, correlate_ranks, gather
from medtransfer.analysis.judge import judge
from medtransfer.analysis.summary import analyse, mean_over
from medtransfer.metrics.power import detectable_gap, seeds_needed


def test_correlation_given_the_epoch_is_that_of_the_residuals_of_ranks() -> None:
    rng = np.random.default_rng(0)
    epochs = [1, 5, 20, 50, 100, 150]
    scores, means = dict(zip([0, *epochs], rng.random(7), strict=True)), dict(zip([0, *epochs], rng.random(7), strict=True))
    x, y, z = (stats.rankdata(values) for values in ([scores[e] for e in epochs], [means[e] for e in epochs], epochs))
    rest = [side - np.polyval(np.polyfit(z, side, 1), z) for side in (x, y)]
    expected = (stats.spearmanr(x, y).statistic, stats.spearmanr(z, y).statistic, np.corrcoef(*rest)[0, 1])
    assert correlate_ranks(scores, means) == pytest.approx(expected)


@pytest.mark.parametrize("scores", [{0: 0.1, 1: 0.2, 5: 0.3, 10: 0.4}, dict.fromkeys((1, 5, 10, 20), 0.5)])
def test_no_correlation_with_few_epochs_or_equal_scores(scores: dict[int, float]) -> None:
    assert correlate_ranks(scores, {0: 0.1, 1: 0.3, 5: 0.2, 10: 0.5, 20: 0.4}) is None


def test_scores_that_follow_the_epoch_count_but_have_no_partial_correlation() -> None:
    """The mean over both pools, by SciPy; the partial correlation is that of the second alone."""
    dice = {0: 0.1, 1: 0.3, 5: 0.2, 10: 0.5, 20: 0.4}
    followed, other = {0: 0.0, 1: 0.1, 5: 0.2, 10: 0.3, 20: 0.4}, {0: 0.0, 1: 0.3, 5: 0.1, 10: 0.4, 20: 0.2}
    pools = [pool({e: (d, d) for e, d in dice.items()}, scores, name=name) for name, scores in (("a", followed), ("b", other))]
    found = analyse(pools, [], SAMPLING).evidence.association
    assert found is not None and (found.configurations, found.given_in) == (2, 1)
    trained = [list(values.values())[1:] for values in (dice, followed, other)]
    first, second = (stats.spearmanr(scores, trained[0]).statistic for scores in trained[1:])
    assert found.robustness.value == pytest.approx((first + second) / 2)
    assert found.epoch.value == pytest.approx(first)  # the epoch is as robustness in the first
    partial = correlate_ranks(other, dice)
    assert found.given_epoch is not None and partial is not None and found.given_epoch.value == partial[2]
    alone = analyse(pools[:1], [], SAMPLING).evidence.association
    assert alone is not None and alone.given_epoch is None


def test_choices_are_permuted_within_encoder_and_mode() -> None:
    """Three targets of one encoder, whose best epochs are chosen: all 6 orders by hand."""
    best = {"moon": 1, "sun": 5, "star": 10}
    pools = []
    for name, epoch in best.items():
        dice = {e: (0.5 + 0.3 * (e == epoch), 0.52 + 0.3 * (e == epoch)) for e in (0, 1, 5, 10)}
        pools.append(pool(dice, {e: 0.5 + 0.1 * (e == epoch) for e in dice}, name=name))
    share = analyse(pools, [], replace(SAMPLING, draws=6000)).evidence.permuted["offline"]
    as_good = sum(order == (0, 1, 2) for order in itertools.permutations(range(3))) / 6
    assert share == pytest.approx(as_good, abs=0.02)
    other = [replace(one, fields={**one.fields, "encoder": f"e{i}"}) for i, one in enumerate(pools)]
    assert analyse(other, [], SAMPLING).evidence.permuted == {}


@pytest.mark.parametrize("seeds", [2, 5, 20])
def test_a_detectable_gap_is_seen_in_four_of_five_comparisons(seeds: int) -> None:
    rng, gap = np.random.default_rng(seeds), detectable_gap(0.01, seeds, 0.95)
    first, second = rng.normal(gap, 0.01, (6000, seeds)), rng.normal(0, 0.01, (6000, seeds))
    test = stats.ttest_ind(first, second, axis=1)
    assert np.mean((test.pvalue < 0.05) & (test.statistic > 0)) == pytest.approx(0.8, abs=0.02)


def test_seeds_needed_are_the_fewest_that_see_the_gap() -> None:
    count = int(seeds_needed(0.01, 0.01, 0.95))
    assert count == 17  # tables of the two-sample t test: effect size 1, power .8
    assert detectable_gap(0.01, count, 0.95) <= 0.01 < detectable_gap(0.01, count - 1, 0.95)


def test_a_trial_is_compared_with_the_last_candidate_on_the_seeds_that_all_share() -> None:
    """The last one has a further seed, which counts in its own TIS alone."""
    dice = {0: (0.10, 0.20), 1: (0.90, 0.50), 5: (0.60, 0.80, 0.20)}
    judged = judge(pool(dice, {0: 0.1, 1: 0.2, 5: 0.3}, every_seed=True), SAMPLING)
    once = (0.50 + 0.60) / 2 / 0.70  # epoch 1 by the first seed, epoch 5 by the second
    assert judged.by_selector["one-each"].tis == pytest.approx(once)
    assert gather([judged], SAMPLING, mean_over).trials["one-each"].value == pytest.approx(once - 1)


def test_the_spread_between_pretraining_seeds_by_hand() -> None:
    """Two seeds of one recipe on two targets: best .82 and .84, TIS .42/.82 and 1; best .82 and .82, TIS equal."""
    other = {epoch: tuple(value + 0.02 for value in values) for epoch, values in DICE.items()}
    right = {0: 0.1, 1: 0.2, 5: 0.9, 10: 0.3}
    first = pool(recipe="r", pretraining_seed="1")
    second = pool(other, right, recipe="r", pretraining_seed="2")
    pairs = [first, second, *(pool(name="sun", recipe="r", pretraining_seed=seed) for seed in "12")]
    spread = between_seeds([judge(one, SAMPLING) for one in pairs])
    assert spread is not None and (spread.groups, spread.seeds) == (2, 2)
    assert spread.best == pytest.approx(0.02 / 2)  # standard deviations .02 / sqrt(2) and 0
    assert spread.tis == pytest.approx((1 - 0.42 / 0.82) / 2)
    alone = [first, pool(recipe="other", pretraining_seed="2"), pool(), pool(name="sun", recipe="r", pretraining_seed="2")]
    assert between_seeds([judge(one, SAMPLING) for one in alone]) is None


@pytest.mark.parametrize(("recipes", "seeds", "clusters"), [(6, 2, 6), (3, 2, 6), (1, 6, 6), (2, 2, 4), (7, 1, 7)])
def test_seeds_of_a_recipe_are_clusters_only_where_recipes_are_few(recipes: int, seeds: int, clusters: int) -> None:
    pools = [
        pool(fields={"source": "s", "encoder": f"e{recipe}", "origin": f"simple-s{seed}", "target": "moon", "mode": "full"},
             recipe=str(recipe), pretraining_seed=str(seed))
        for recipe in range(recipes) for seed in range(seeds)
    ]  # fmt: skip
    judged = [judge(one, SAMPLING) for one in pools]
    assert mean_over(judged, [0.9] * len(judged)).clusters == clusters


def test_draws_of_patients_without_a_best_above_zero_have_no_tis(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:  # fmt: skip
    """As where no model predicts anything on the patients drawn: of the others the standard deviation by hand."""
    judged = judge(replace(pool(DICE, {e: 0.5 + 0.01 * e for e in DICE}), fine_tunings={(0, 1): "run"}), SAMPLING)
    keys = list(judged.pool.means)
    chosen = keys.index(judged.by_selector["offline"].candidate)
    values = np.full((4, len(keys)), 0.5)
    values[0] = 0.0
    values[1, chosen], values[2, chosen] = 0.25, 0.4
    monkeypatch.setattr(evidence, "resample_patients", lambda *_: (keys, values, 3))
    patients, _ = evidence._patients([judged], replace(SAMPLING, patients=10**6))
    assert patients is not None and patients.deviation == pytest.approx(np.std([0.5, 0.8, 1.0], ddof=1))
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_seeds_needed_are_those_at_the_median_spread_of_a_target() -> None:
    """As `grid --plan` counts them: the median of their numbers would be larger, since they grow with the square."""
    spreads, pools = [0.01, 0.05], []
    for number, spread in enumerate(spreads):
        dice = {epoch: (0.8 - epoch / 100, 0.8 - epoch / 100 + spread) for epoch in (0, 1, 5, 10)}
        one = pool(dice, name="moon")
        pools.append(replace(one, fields={**one.fields, "encoder": f"e{number}"}))
    found = analyse(pools, [], SAMPLING).evidence.power
    relative = [spread / np.sqrt(2) / (0.8 + spread / 2) for spread in spreads]  # two values, and the best mean
    assert found is not None and found.seeds == {"moon": seeds_needed(float(np.mean(relative)), SAMPLING.margin, 0.95)}

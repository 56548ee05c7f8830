"""Statistics of a ranking against Student's interval, enumeration and simulation."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from medtransfer.analysis.ranking import agreement, null_spread, stand
from medtransfer.metrics.paired_difference import paired_difference


def left_out(samples: np.ndarray) -> np.ndarray:
    """Means of (C, K) values without each of the K blocks."""
    blocks = samples.shape[1]
    return np.stack([np.delete(samples, block, axis=1).mean(axis=1) for block in range(blocks)], axis=1)


def standing(samples: np.ndarray, confidence: float = 0.95):
    return stand(samples.mean(axis=1), left_out(samples), confidence, 2000, np.random.default_rng(0))


def test_the_interval_of_a_mean_is_students():
    samples = np.random.default_rng(1).normal(size=(3, 8))
    result = standing(samples)
    for index, values in enumerate(samples):
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (result.low[index], result.high[index]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_two_candidates_are_compared_by_the_paired_t_test():
    rng = np.random.default_rng(2)
    for gap in (0.0, 0.3, 1.0):
        shared = rng.normal(0, 5, 10)  # what the images add to every candidate
        samples = np.stack([shared + rng.normal(0, 0.4, 10), shared + gap + rng.normal(0, 0.4, 10)])
        first, second = sorted(samples, key=lambda values: values.mean())
        beaten = stats.ttest_rel(second, first).pvalue < 0.05
        assert standing(samples).kept.sum() == (1 if beaten else 2)


def test_ranks_share_ties_and_undefined_values_have_none():
    values = np.array([0.5, np.nan, 0.9, 0.5])
    result = stand(values, np.zeros((4, 0)), 0.95, 10, np.random.default_rng(0))
    assert result.ranks.tolist()[:1] + result.ranks.tolist()[2:] == [2.5, 1, 2.5] and np.isnan(result.ranks[1])
    assert result.kept.tolist() == [True, False, True, True]  # without blocks nothing is distinguished
    assert np.isnan(result.low).all() and np.isnan(result.best).all()


def test_a_candidate_without_replicates_is_kept_and_takes_nothing_from_the_others():
    samples = np.random.default_rng(4).normal(size=(3, 8)) + np.array([[0], [3], [0]])
    replicates, alone = left_out(samples), standing(samples[:2])
    replicates[2] = np.nan
    result = stand(samples.mean(axis=1), replicates, 0.95, 100, np.random.default_rng(0))
    assert result.kept.tolist() == [False, True, True] and np.isnan(result.low[2]) and np.isnan(result.best).all()
    assert result.low[:2] == pytest.approx(alone.low)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_the_kept_set_holds_the_best_as_often_as_it_says(spread):
    rng, runs = np.random.default_rng(3), 1500
    covered, said, right = 0, [], []
    for _ in range(runs):
        truth = rng.normal(0, spread, 6)
        samples = truth[:, None] + rng.normal(0, 1, 10) + rng.normal(0, 0.3, (6, 10))
        result = stand(samples.mean(axis=1), left_out(samples), 0.95, 200, rng)
        covered += result.kept[truth.argmax()]
        said.append(result.best.max())
        right.append(result.best.argmax() == truth.argmax())
    assert covered / runs > 0.94
    if spread:
        assert abs(np.mean(said) - np.mean(right)) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 6])
def test_equal_candidates_are_told_apart_as_rarely_as_it_says(count: int) -> None:
    rng, runs = np.random.default_rng(5), 3000
    samples = rng.normal(0, 1, (runs, 1, 10)) + rng.normal(0, 0.3, (runs, count, 10))
    alone = [stand(one.mean(axis=1), left_out(one), 0.95, 1, rng).kept.sum() == 1 for one in samples]
    assert np.mean(alone) < 0.06


def trained(rng: np.random.Generator, truth: np.ndarray, seeds: int, patients: int, spread: float) -> tuple[np.ndarray, ...]:
    """Return values by seed (C, S), and means over seeds without each patient (C, P)."""
    count = len(truth)
    table = truth[:, None, None] + rng.normal(0, spread, (count, seeds, 1)) + rng.normal(0, 0.1, patients)
    table = table + rng.normal(0, 0.02, (count, 1, patients)) + rng.normal(0, 0.01, (count, seeds, patients))
    return table.mean(axis=2), left_out(table.mean(axis=1))


def test_two_candidates_with_seeds_are_compared_by_their_paired_difference():
    rng = np.random.default_rng(6)
    kept = []
    for gap in np.linspace(0, 0.2, 41):
        by_seed, without = trained(rng, np.array([0.0, gap]), 3, 12, 0.02)
        result = stand(by_seed.mean(axis=1), without, 0.95, 1, rng, by_seed)
        low, high = paired_difference(by_seed[1] - by_seed[0], np.tile(without[1] - without[0], (3, 1))).interval(0.95)
        assert result.kept.all() == (low <= 0 <= high)
        kept.append(result.kept.all())
    assert any(kept) and not all(kept)
    alone = stand(by_seed.mean(axis=1), without, 0.95, 1, rng)
    assert (result.high - result.low > alone.high - alone.low).all()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("count", [2, 4])
def test_equal_models_of_noisy_training_are_seldom_told_apart(count: int, seeds: int) -> None:
    rng, alone, best = np.random.default_rng(7), 0, []
    for _ in range(1000):
        by_seed, without = trained(rng, np.zeros(count), seeds, 30, 0.02)
        result = stand(by_seed.mean(axis=1), without, 0.95, 200, rng, by_seed)
        alone += result.kept.sum() == 1
        best.append(result.best.max())
    assert alone / 1000 < 0.06
    assert np.mean(best) < 0.9  # .97 and more where the patients alone are asked


def test_agreement_is_kendalls_over_what_both_define():
    first, second = np.array([1.0, 2, 3, np.nan, 5]), np.array([1.0, 3, 2, 4, 9])
    tau, count = agreement(first, second)
    assert count == 4 and tau == pytest.approx((5 - 1) / 6)
    assert np.isnan(agreement(first, np.ones(5))[0])


@pytest.mark.parametrize("count", [3, 5, 6])
def test_the_null_spread_is_that_of_all_orders(count):
    taus = [stats.kendalltau(range(count), order).statistic for order in permutations(range(count))]
    assert null_spread(count) == pytest.approx(np.std(taus))

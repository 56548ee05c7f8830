"""Intervals of means, TIS, P(best) and the set of the best against scipy, limma's published method, and by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtransfer.metrics.uncertainty import (
    Estimates,
    _errors,
    _satterthwaite,
    confidence_set,
    draw_groups,
    estimate,
    mean_interval,
    probability_best,
    tis_interval,
)

DICE = {20: [0.7, 0.72, 0.71, 0.74, 0.68], 1: [0.5, 0.6], 5: [0.65, 0.65, 0.66]}
FEW = {1: [0.50, 0.52, 0.54], 5: [0.55, 0.57, 0.59]}  # two candidates keep spreads of their own


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def known(means: list[float], errors: list[float], degrees: float = 1e9, seeds: int = 5) -> Estimates:
    apart = np.zeros(len(means), dtype=bool)  # nothing is pooled
    return Estimates(tuple(range(len(means))), np.array(means), np.array(errors), np.full(len(means), degrees), seeds, apart, 0.0)


def test_interval_of_a_mean_is_students() -> None:
    values = DICE[20]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx(tuple(expected))
    assert mean_interval([0.1, 0.9], 0.95, low=0.0, high=1.0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 values, but got 1"):
        mean_interval([0.3], 0.95)


def test_two_candidates_keep_their_own_spreads() -> None:
    result = estimate(FEW)
    assert result.means == pytest.approx([0.52, 0.57])
    assert result.errors == pytest.approx([stats.sem(FEW[1]), stats.sem(FEW[5])])
    assert result.degrees.tolist() == [2, 2]
    assert (result.candidates, result.seeds) == ((1, 5), 3)


def test_spreads_that_agree_are_pooled() -> None:
    """Equal variances: the common one has the degrees of freedom of all candidates together, as in an analysis of variance."""
    values = {epoch: [0.5 + epoch / 100, 0.52 + epoch / 100, 0.54 + epoch / 100] for epoch in (1, 5, 20, 50)}
    result = estimate(values)
    assert result.errors == pytest.approx([0.02 / np.sqrt(3)] * 4)
    assert result.degrees == pytest.approx([8] * 4)


def test_spreads_that_differ_are_moderated_as_in_limma() -> None:
    """Variances and prior fitted by limma's squeezeVar method; the numbers are its formulas, written out with scipy."""
    variances = np.array([1.0, 2.0, 40.0, 0.05, 300.0, 7.0])
    values = {i: [0.0, np.sqrt(2 * v)] for i, v in enumerate(variances)}  # variance of two values: half the squared gap
    result = estimate(values)
    logs = np.log(variances) - stats.loggamma(0.5).mean() + np.log(0.5)  # digamma(1/2) is the mean of a log gamma variable
    excess = logs.var(ddof=1) - stats.loggamma(0.5).var()
    grid = np.geomspace(0.01, 100, 20_001)
    prior = 2 * grid[np.argmax(stats.loggamma(grid).var() < excess)]
    scale = np.exp(logs.mean() + stats.loggamma(prior / 2).mean() - np.log(prior / 2))
    expected = (prior * scale + variances) / (prior + 1)
    assert result.errors**2 * 2 == pytest.approx(expected, rel=1e-3)
    assert result.degrees == pytest.approx([min(1 + prior, 6)] * 6, rel=1e-3)


def test_a_candidate_apart_keeps_its_own_spread_and_widens_no_other() -> None:
    values = {epoch: [0.5, 0.52, 0.54] for epoch in (1, 5, 20, 50)} | {0: [0.1, 0.5, 0.9]}
    result = estimate(values, apart={0})
    assert result.errors[0] == pytest.approx(stats.sem(values[0]))
    assert result.errors[1:] == pytest.approx([0.02 / np.sqrt(3)] * 4)


def test_what_a_seed_adds_to_every_candidate_is_no_uncertainty_of_their_differences() -> None:
    rng = generator(4)
    noise, shift = rng.normal(0, 0.001, (6, 5)), np.array([0.05, -0.02, 0.0, 0.04, -0.06])
    blocked = estimate({i: (0.5 + shift + row).tolist() for i, row in enumerate(noise)}, blocked=True)
    assert blocked.errors == pytest.approx(estimate({i: row.tolist() for i, row in enumerate(noise)}).errors, rel=0.35)
    plain = estimate({i: (0.5 + shift + row).tolist() for i, row in enumerate(noise)})
    assert np.all(plain.errors > 20 * blocked.errors)


def test_a_candidate_of_another_spread_tells_little_of_what_a_seed_adds() -> None:
    """Were it a sixth of the mean that is removed, the other five would have a tenth of its spread each."""
    rng = generator(4)
    noise, shift = rng.normal(0, 0.001, (6, 5)), np.array([0.005, -0.002, 0.0, 0.004, -0.006])
    noise[5] *= 50
    values = {i: (0.5 + shift + row).tolist() for i, row in enumerate(noise)}
    without = estimate({i: values[i] for i in range(5)}, blocked=True)
    assert estimate(values, blocked=True).errors[:5] == pytest.approx(without.errors, rel=0.2)


def test_removing_what_seeds_add_leaves_the_spread_of_the_candidates_unbiased() -> None:
    rng = generator(5)
    squares = [
        np.square(estimate(dict(enumerate((rng.normal(0, 1, (3, 5)) + rng.normal(0, 3, 5)).tolist())), blocked=True).errors).mean()
        for _ in range(300)
    ]
    assert 5 * np.mean(squares) == pytest.approx(1, rel=0.08)


@pytest.mark.parametrize(("values", "message"), [({}, "got none"), ({1: [0.1, 0.2], 5: [0.3]}, "2 seeds for epoch 5, but got 1")])
def test_estimates_need_two_seeds(values: dict[int, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(values)


@pytest.mark.parametrize("blocked", [True, False])
def test_the_set_of_equal_spreads_is_that_of_an_analysis_of_variance(blocked: bool) -> None:
    """A Latin square of residuals; its F test of one difference is a t test with the degrees of freedom of the residuals.

    The same residuals have a mean square of 6 / 4 with the effects of the seeds taken out, and of 6 / 6 without.
    """
    square = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    degrees = 4 if blocked else 6
    least = stats.t.ppf(1 - 0.05 / 2, degrees) * np.sqrt(2 * (square**2).sum() / degrees / 3)
    for lead, expected in ((0.999 * least, (0, 1, 2)), (1.001 * least, (1, 2))):
        values = {i: (row + mean).tolist() for i, (row, mean) in enumerate(zip(square, (0.0, lead, lead / 2), strict=True))}
        assert confidence_set(estimate(values, blocked=blocked), 0.95) == expected


def test_a_difference_from_a_candidate_apart_adds_its_degrees_of_freedom() -> None:
    """Satterthwaite's formula for two independent variances: one of 8 degrees of freedom, one of 2."""
    rows = [[-0.01, 0.0, 0.01]] * 4
    values = {i: (0.5 + np.array(row)).tolist() for i, row in enumerate(rows, 1)} | {0: [0.38, 0.4, 0.42]}
    pooled, own = 1e-4 / 3, 4e-4 / 3
    degrees = (pooled + own) ** 2 / (pooled**2 / 8 + own**2 / 2)
    least = stats.t.ppf(1 - 0.05 / 4, degrees) * np.sqrt(pooled + own)
    for lead, kept in ((0.999 * least, True), (1.001 * least, False)):
        values[0] = (0.5 - lead + np.array([-0.02, 0.0, 0.02])).tolist()
        assert (0 in confidence_set(estimate(values, apart={0}), 0.95)) == kept


def test_few_spreads_that_agree_by_chance_have_at_most_six_prior_degrees() -> None:
    """Twelve candidates, three seeds: a variance is shrunk by six prior degrees to the mean, 2 own ones are added."""
    spreads = np.array([0.01, 0.011] * 6)
    result = estimate({i: [0.5 - spread, 0.5, 0.5 + spread] for i, spread in enumerate(spreads)})
    assert result.errors**2 * 3 == pytest.approx((6 * np.mean(spreads**2) + 2 * spreads**2) / 8)
    assert result.degrees.tolist() == [8] * 12
    assert result.residual == 24


def test_no_spread_has_more_degrees_than_seeds_and_candidates_leave() -> None:
    """Of four candidates and two seeds three are left when the effects of the seeds are removed: (4 - 1)(2 - 1)."""
    values = {1: [0.50, 0.52], 5: [0.60, 0.62], 10: [0.70, 0.74], 20: [0.80, 0.84]}  # apart from the seeds all differ by .01
    assert estimate(values, blocked=True).degrees.tolist() == pytest.approx([3, 3, 3, 3])


def test_tis_of_two_candidates_by_hand() -> None:
    """The ratio to the other has the error sqrt(.03^2 + (.9 * .02)^2); the upper limit has no other rival to share with."""
    result = tis_interval(known([0.9, 1.0], [0.03, 0.02]), 0, 0.95)
    error = np.sqrt(0.03**2 + (0.9 * 0.02) ** 2)
    assert result == pytest.approx((0.9 - 1.959964 * error, 0.9 + 1.959964 * error), abs=1e-6)
    low, high = tis_interval(known([0.9, 1.0], [0.03, 0.02]), 1, 0.95)
    assert (low < 1.0, high) == (False, 1.0)  # the ratio to the worse candidate is above 1 by four errors


def test_a_candidate_that_brings_nothing_is_no_rival() -> None:
    with_zero = tis_interval(known([0.9, 1.0, 0.0], [0.03, 0.02, 0.0]), 0, 0.95)
    assert with_zero[0] == pytest.approx(tis_interval(known([0.9, 1.0], [0.03, 0.02]), 0, 0.95)[0])
    assert with_zero[1] <= 1


def test_tis_of_a_uniform_draw_by_hand() -> None:
    """(m0 + m1) / 2 / m1 = m0 / m1 / 2 + 1/2: half the error of the ratio."""
    half = tis_interval(known([0.9, 1.0], [0.03, 0.02]), 0, 0.95)
    assert tis_interval(known([0.9, 1.0], [0.03, 0.02]), None, 0.95) == pytest.approx(tuple(x / 2 + 0.5 for x in half))


def test_tis_of_a_negative_outcome_by_hand() -> None:
    """The best of the rivals gives the ratio nearest to 0, -.2, which is the TIS; the ratio to the other is -.4."""
    errors = {1.0: np.sqrt(0.03**2 + (0.2 * 0.02) ** 2), 0.5: np.sqrt(0.03**2 + (0.4 * 0.02) ** 2) / 0.5}
    low, high = tis_interval(known([-0.2, 1.0, 0.5], [0.03, 0.02, 0.02]), 0, 0.95)
    assert low == pytest.approx(max(-0.2 - 2.241403 * errors[1.0], -0.4 - 2.241403 * errors[0.5]), abs=1e-6)
    assert high == pytest.approx(max(-0.2 + 1.959964 * errors[1.0], -0.4 + 1.959964 * errors[0.5]), abs=1e-6)
    assert low < -0.2 < high
    low, high = tis_interval(known([-1.3, 1.0], [0.03, 0.02]), None, 0.95)
    assert low < -0.15 < high < 0


@pytest.mark.parametrize("true", [-0.4, -0.05, 0.0, 0.05])
def test_tis_of_outcomes_about_0_is_covered(true: float) -> None:
    """Outcomes of three seeds, as of a kappa of random weights beside good ones."""
    rng, means = generator(3), np.array([true, 0.3, 0.7, 0.68])
    hits = 0
    for _ in range(600):
        values = {index: (mean + rng.normal(0, 0.05, 3)).tolist() for index, mean in enumerate(means)}
        low, high = tis_interval(estimate(values, apart={0}), 0, 0.95)
        estimated = np.mean(values[0]) / max(np.mean(row) for row in values.values())
        assert low <= estimated <= high
        hits += low <= true / 0.7 <= high
    assert hits / 600 >= 0.93


def test_more_rivals_move_only_the_upper_limit() -> None:
    few, many = known([0.8, 1.0], [0.01, 0.01]), known([0.8, 1.0, 0.1, 0.1, 0.1], [0.01] * 5)
    (low, high), (low_many, high_many) = tis_interval(few, 0, 0.95), tis_interval(many, 0, 0.95)
    assert low_many == pytest.approx(low)
    assert high_many > high


def test_p_best_is_the_chance_that_one_normal_exceeds_another() -> None:
    result = probability_best(known([0.52, 0.50, 0.1], [0.01, 0.02, 0.01]), 200_000, generator())  # .1 widens: no shrinkage
    assert result == pytest.approx([(p := stats.norm.cdf(0.02 / np.hypot(0.01, 0.02))), 1 - p, 0], abs=0.01)
    near = probability_best(known([0.52, 0.50], [0.01, 0.02]), 200_000, generator())
    assert near is not None and 0.5 < near[0] < p  # the lead may be noise
    assert probability_best(known([0.5, 0.5, 0.2], [0, 0, 0]), 10, generator()) == pytest.approx([0.5, 0.5, 0])
    assert probability_best(known([0.5, 0.4], [0.1, 0.1], seeds=2), 10, generator()) is None


def test_candidates_that_differ_by_the_rounding_of_their_sums_share_being_the_best() -> None:
    """Solved heads give every seed the same: the mean of three .7 is 0.6999999999999998, that of five is 0.7."""
    first, second = [0.7] * 3, [0.7] * 5
    assert np.mean(first) != np.mean(second)
    assert probability_best(estimate({1: first, 2: second}), 1000, generator()) == pytest.approx([0.5, 0.5])
    third = estimate({0: [0.2, 0.3, 0.25], 1: first, 2: second}, apart={0})
    assert probability_best(third, 1000, generator()) == pytest.approx([0, 0.5, 0.5], abs=0.01)


def beaten(values: dict[int, list[float]], confidence: float) -> set[int]:
    """Find what any other beats in scipy's own Welch test, at the level shared by the rivals."""
    return {
        loser for winner, loser in itertools.permutations(values, 2)
        if stats.ttest_ind(values[winner], values[loser], equal_var=False, alternative="greater").pvalue
        < (1 - confidence) / (len(values) - 1)
    }  # fmt: skip


curves = st.dictionaries(
    st.integers(0, 300), st.lists(st.integers(0, 1000).map(lambda value: value / 1000), min_size=3, max_size=6, unique=True),
    min_size=2, max_size=2,
)  # fmt: skip


@settings(max_examples=30)
@given(curves)
def test_the_set_of_two_candidates_is_welchs_and_holds_the_best_mean(values: dict[int, list[float]]) -> None:
    result = confidence_set(estimate(values), 0.9)
    assert set(result) == set(values) - beaten(values, 0.9)
    assert max(sorted(values), key=lambda epoch: np.mean(values[epoch])) in result


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({7: [0.1, 0.2]}, (7,)),
        ({1: [0.5, 0.5], 5: [0.6, 0.6]}, (5,)),  # no spread: the means decide
        ({1: [0.3, 0.3, 0.3], 5: [0.1 + 0.2, 0.3, 0.3]}, (1, 5)),  # equal but for rounding
        ({1: [0.2, 0.2, 0.2], 5: [0.8, 0.81, 0.82]}, (5,)),  # one side without spread
        ({1: [0.2, 0.9], 5: [0.8, 0.9]}, (1, 5)),
        ({1: [-0.2, -0.21], 5: [0.0, 0.0]}, (5,)),  # means at and below 0
    ],
)
def test_the_set_in_corner_cases(values: dict[int, list[float]], expected: tuple[int, ...]) -> None:
    assert confidence_set(estimate(values), 0.95) == expected


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(2, 5))
def test_what_is_in_the_set_has_a_tis_interval_up_to_1(seed: int, candidates: int, seeds: int) -> None:
    rng = generator(seed)
    values = {i: (0.5 + rng.normal(0, 0.02) + rng.normal(0, 0.01, seeds)).tolist() for i in range(candidates)}
    result = estimate(values)
    near = confidence_set(result, 0.95)
    for candidate in values:
        low, high = tis_interval(result, candidate, 0.95)
        tis = result.means[candidate] / result.means.max()
        assert low <= tis <= high <= 1
        if candidate in near:  # a ratio r to the best has r to 1 times the error of the difference, and a little other degrees
            assert tis_interval(result, candidate, 0.9)[1] >= 1 - (1 - tis) ** 2 - 0.005


def test_whole_groups_are_drawn() -> None:
    groups = ["b", "a", "b", "c", "b"]
    taken = draw_groups(groups, 20_000, generator())
    assert np.array_equal(taken[:, 0], taken[:, 2]) and np.array_equal(taken[:, 0], taken[:, 4])
    assert np.all(taken[:, [0, 1, 3]].sum(axis=1) == 3)  # as many groups as there are
    assert np.cov(taken[:, [0, 1, 3]].T) == pytest.approx(stats.multinomial(3, [1 / 3] * 3).cov(), abs=0.03)
    assert np.array_equal(taken[:100], draw_groups(groups, 100, generator()))


@pytest.mark.parametrize("apart", [(), (0,)])
def test_errors_of_one_candidate_are_those_of_all_its_parts(apart: tuple[int, ...]) -> None:
    """For a chosen candidate two variances are added in each row, in place of one for every candidate, and to the same bits."""
    rng = np.random.default_rng(5)
    estimates = estimate({key: rng.normal(0.5 + key / 100, 0.02, 4).tolist() for key in range(9)}, apart)
    for chosen in range(9):
        weights = (np.arange(9) == chosen).astype(float)
        ratios = weights @ estimates.means / estimates.means
        parts = ((weights - np.diag(ratios)) * estimates.errors) ** 2
        for got, expected in zip(_errors(estimates, weights, ratios), _satterthwaite(estimates, parts, np.arange(9)), strict=True):
            assert got.tolist() == expected.tolist()

"""Robustness against fixtures, hand-made pairs and its bounds; negatives against their definition."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike
from scipy import stats

from medtransfer.indicators.robustness import DISTANCES, triplet
from medtransfer.indicators.robustness.negatives import NEGATIVES, NegativePlan, negatives
from medtransfer.indicators.robustness.triplet import (
    SortedGaps,
    bootstrap_robustness,
    robustness,
    standard_error,
    standard_errors,
    triplet_losses,
    without_each_group,
)
from medtransfer.metrics.uncertainty import draw_groups

quick = settings(max_examples=40)


def alone(n: int) -> list[str]:
    """Return a group of its own for each of n images."""
    return [f"p{image}" for image in range(n)]


def at_one(d_pos: ArrayLike, d_neg: ArrayLike, margin: float, groups: ArrayLike | None = None) -> tuple[float, float]:
    """Return the robustness at one margin and its standard error."""
    (value,), (error,) = robustness(d_pos, d_neg, [margin], groups)
    return value, error


def views(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of n images with 6 features, as in the indicators' fixtures."""
    i, j = torch.meshgrid(*(torch.arange(k, dtype=torch.float64) for k in (n, 6)), indexing="ij")
    a = torch.sin(1 + 0.7 * i * (j + 1)) + torch.cos(0.3 * (i + 1) * (j + 2))
    return a, a + 0.25 * torch.sin(2 * i + 0.5 * j)


@pytest.mark.parametrize(
    ("distance", "margin", "n", "loss"),
    [
        ("cosine", 1.0, 4, 0.0652639684),
        ("cosine", 1.0, 8, 0.0891504166),
        ("pearson", 0.5, 8, 0.0899015396),
        ("l2", 1.0, 8, 0.0),
    ],
)
def test_fixtures_with_paper_negatives(distance, margin, n, loss):
    a, b = views(n)
    measure = DISTANCES[distance]
    d_neg = measure(a, b[negatives(alone(n), "paper", 0).negative])
    assert 1 - at_one(measure(a, b), d_neg, margin)[0] == pytest.approx(loss, abs=1e-10)


def test_hand_made_values_and_standard_errors():
    assert at_one([0.1, 0.2, 0.9], [0.8, 0.4, 0.5], 0.5) == pytest.approx((1 - 0.4, (0.21 / 3) ** 0.5))  # losses 0, 0.3, 0.9
    repeated = [[0.0, 0.4], [0.2, 0.8]]  # means over the repeats of an image: 0.1, 0.6
    assert at_one(repeated, np.zeros((2, 2)), 0.0) == pytest.approx((1 - 0.35, 0.25))
    assert at_one([[0.0], [1.0]], [[1.0], [0.0]], 0.0)[0] == pytest.approx(0.5)  # the hinge comes before the mean
    value, error = at_one([0.5], [0.5], 0.5)
    assert value == 0.5 and np.isnan(error)


def test_several_margins_are_the_single_ones():
    d_pos, d_neg = np.random.default_rng(0).random((2, 3, 20))
    margins, groups = [0.0, 0.25, 1.0], np.arange(20) // 4
    single = [at_one(d_pos, d_neg, margin, groups) for margin in margins]
    found = np.array(robustness(d_pos, d_neg, margins, groups)).T
    assert found == pytest.approx(np.array(single))
    assert single[1][0] == 1 - triplet_losses(d_pos, d_neg, 0.25).mean()


def test_the_error_over_groups_by_hand():
    """Losses 0, 0.2 and 0.4, 0.6 of two patients: their means 0.1 and 0.5 have the error 0.2 x sqrt(2) / sqrt(2)."""
    losses = np.array([0.0, 0.2, 0.4, 0.6])
    assert standard_error(losses, ["a", "a", "b", "b"]) == pytest.approx(0.2)
    assert at_one(losses, np.zeros(4), 0.0, ["a", "a", "b", "b"]) == pytest.approx((0.7, 0.2))
    assert standard_error(losses, ["a", "b", "c", "d"]) == standard_error(losses) == pytest.approx(losses.std(ddof=1) / 2)
    assert standard_error(losses, ["a", "b", "b", "a"]) == pytest.approx(0)  # both patients have the mean 0.3
    assert np.isnan(standard_error(losses, ["a"] * 4))


@quick
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(2, 5))
def test_the_error_over_groups_is_that_of_their_means_and_of_the_jackknife(seed, groups, size):
    """With groups of one size, both are the plain formula on the groups' means."""
    losses = np.random.default_rng(seed).random((groups, size))
    member = np.repeat(np.arange(groups), size)
    error = standard_error(losses.ravel(), member)
    assert error == pytest.approx(stats.sem(losses.mean(axis=1)))
    without = np.array([losses.ravel()[member != group].mean() for group in range(groups)])
    assert error == pytest.approx(np.sqrt((groups - 1) / groups * ((without - losses.mean()) ** 2).sum()))
    order = np.random.default_rng(seed + 1).permutation(losses.size)
    assert standard_error(losses.ravel()[order], member[order]) == pytest.approx(error)


def test_the_error_over_unequal_groups_is_near_the_jackknife():
    rng = np.random.default_rng(5)
    member = np.repeat(np.arange(60), rng.integers(1, 9, size=60))
    losses = rng.random(len(member)) + rng.normal(0, 0.3, 60)[member]
    without = np.array([losses[member != group].mean() for group in range(60)])
    jackknife = np.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
    assert standard_error(losses, member) == pytest.approx(jackknife, rel=0.03)
    assert standard_error(losses, member) > 1.5 * standard_error(losses)  # images of a patient are alike


def test_triplet_losses_average_the_repeats_of_an_image():
    assert triplet_losses([0.1, 0.2, 0.9], [0.8, 0.4, 0.5], 0.5) == pytest.approx([0, 0.3, 0.9])
    assert triplet_losses([[0.0, 0.5], [1.0, 0.5]], [[1.0, 0.5], [0.0, 0.5]], 0.25) == pytest.approx([1.25 / 2, 0.25])
    with pytest.raises(ValueError, match="margins >= 0"):
        triplet_losses([0.1], [0.1], -0.1)


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5, 1.0])
def test_collapsed_encoder_and_perfect_separation(margin):
    same = np.full(9, 0.3)
    assert at_one(same, same, margin)[0] == pytest.approx(1 - margin, abs=1e-15)
    assert at_one(np.zeros(9), np.full(9, margin), margin)[0] == 1
    assert at_one(np.full(9, 2.0), np.zeros(9), margin)[0] == pytest.approx(1 - (2 + margin))


@quick
@given(st.integers(0, 2**31), st.floats(0, 2), st.integers(2, 30))
def test_bounds_and_order_of_images(seed, margin, n):
    generator = np.random.default_rng(seed)
    d_pos, d_neg = 2 * generator.random((2, n))
    value, error = at_one(d_pos, d_neg, margin)
    assert 1 - (2 + margin) <= value <= 1
    shuffle = generator.permutation(n)
    assert at_one(d_pos[shuffle], d_neg[shuffle], margin) == pytest.approx((value, error))


@pytest.mark.parametrize(
    ("d_pos", "d_neg", "margin", "said"),
    [
        ([0.1], [0.1, 0.2], 0.5, "one shape"),
        ([], [], 0.5, "one shape"),
        ([float("nan")], [0.1], 0.5, "finite distances"),
        ([0.1], [0.1], -0.1, "margins >= 0"),
        ([0.1], [0.1], float("nan"), "margins >= 0"),
    ],
)
def test_bad_values_are_refused(d_pos, d_neg, margin, said):
    with pytest.raises(ValueError, match=said):
        robustness(d_pos, d_neg, [margin])


def cycle_of(plan: NegativePlan) -> list[int]:
    """Follow the negatives from image 0 until one comes again."""
    visited = [0]
    while (image := int(plan.negative[visited[-1]])) not in visited:
        visited.append(image)
    return visited


@pytest.mark.parametrize("kind", NEGATIVES)
@pytest.mark.parametrize("n", [*range(2, 12), 101])
def test_no_image_is_its_own_negative_and_the_order_keeps_pairs_adjacent(kind, n):
    plan = negatives(alone(n), kind, 7)
    assert sorted(plan.order) == list(range(n))
    assert not np.any(plan.negative == np.arange(n))
    for place, image in enumerate(plan.order):
        assert plan.negative[image] in (plan.order[place - 1], plan.order[(place + 1) % n])
    assert plan.negative.shape == plan.order.shape == (n,)


@pytest.mark.parametrize("n", [2, 3, 10, 57])
def test_random_negatives_are_one_cycle_and_seeded(n):
    plan = negatives(alone(n), "random", 3)
    assert len(cycle_of(plan)) == n
    assert plan.repaired is None and plan.alike == 0
    assert np.array_equal(plan.negative, negatives(alone(n), "random", 3).negative)
    assert n < 10 or not np.array_equal(plan.negative, negatives(alone(n), "random", 4).negative)


def test_random_negatives_are_uniform_over_cycles():
    drawn = [tuple(negatives(alone(4), "random", seed).negative) for seed in range(1200)]
    counts = [drawn.count(cycle) for cycle in set(drawn)]
    assert len(counts) == 6  # (4 - 1)! cycles of 4 images
    assert min(counts) > 150


@quick
@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=30), st.integers(0, 2**31))
def test_random_negatives_are_of_other_groups_as_far_as_there_are_some(groups, seed):
    """The k images of a group are separated by n - k others, so that at least k - (n - k) of them follow another."""
    plan = negatives(groups, "random", seed)
    most = max(groups.count(group) for group in groups)
    alike = sum(groups[image] == groups[negative] for image, negative in enumerate(plan.negative))
    assert alike == max(0, 2 * most - len(groups))
    assert plan.alike == (alike if len(set(groups)) > 1 else 0)
    assert len(cycle_of(plan)) == len(groups) and not np.any(plan.negative == np.arange(len(groups)))
    assert np.array_equal(plan.negative[plan.order], np.roll(plan.order, -1))
    assert np.array_equal(plan.negative, negatives(groups, "random", seed).negative)


def test_every_cycle_of_other_groups_is_drawn():
    """Of the 24 cycles of 5 images, 8 have no neighbours among a a b b c, by enumeration."""
    groups = list("aabbc")
    orders = [(0, *rest) for rest in permutations(range(1, 5))]
    allowed = {order for order in orders if all(groups[i] != groups[j] for i, j in zip(order, order[1:] + order[:1], strict=True))}
    drawn = [tuple(cycle_of(negatives(groups, "random", seed))) for seed in range(800)]
    assert set(drawn) == allowed and len(allowed) == 8
    assert min(drawn.count(order) for order in allowed) > 60


@pytest.mark.parametrize("groups", ["abcdefgh", "aabbccdd"])
def test_a_draw_without_neighbours_of_one_group_stays_as_it_is(groups):
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(8)
        members = [groups[image] for image in order]
        plan = negatives(list(groups), "random", seed)
        assert np.array_equal(plan.order, order) == all(members[i] != members[i - 1] for i in range(8))


def test_a_lone_group_is_drawn_as_images_of_their_own():
    assert np.array_equal(negatives(["a"] * 7, "random", 3).negative, negatives(alone(7), "random", 3).negative)


def test_paper_negatives_do_not_depend_on_groups():
    assert np.array_equal(negatives(list("aabb"), "paper", 0).negative, negatives(alone(4), "paper", 0).negative)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9])
def test_paper_negatives_follow_the_formula(n):
    plan = negatives(alone(n), "paper", 0)
    expected = [1, 0, *(n + 1 - j for j in range(2, n))]
    if n % 2:
        assert plan.repaired == (n + 1) // 2
        assert expected[plan.repaired] == plan.repaired
        expected[plan.repaired] -= 1
    else:
        assert plan.repaired is None
        for pair in plan.order.reshape(-1, 2):  # batches of even size hold whole pairs
            assert set(plan.negative[pair]) == set(pair)
    assert plan.negative.tolist() == expected


def test_negatives_need_two_images_and_a_known_kind():
    for kind in NEGATIVES:
        for n in (0, 1):
            with pytest.raises(ValueError, match=f"at least 2 images.*got {n}"):
                negatives(alone(n), kind, 0)
    with pytest.raises(ValueError, match="random, paper.*'hard'"):
        negatives(alone(5), "hard", 0)


distances = st.integers(1, 3).flatmap(
    lambda repeats: st.integers(1, 40).flatmap(
        lambda images: hnp.arrays(np.float32, (2, repeats, images), elements=st.floats(0, 2, width=32))
    )
)


@given(both=distances, margin=st.floats(0, 3), place=st.integers(0, 10**6))
def test_any_margin_by_binary_search_is_the_robustness(both: np.ndarray, margin: float, place: int):
    gaps = (both[0].astype(float) - both[1].astype(float)).ravel()
    for chosen in (margin, abs(gaps[place % len(gaps)])):  # at the second a gap is just closed
        assert SortedGaps(*both).robustness(chosen) == pytest.approx(at_one(*both, chosen)[0], abs=1e-12)


def test_sorted_gaps_by_hand():
    gaps = SortedGaps([0.1, 0.5], [0.4, 0.3])  # gaps -0.3 and 0.2
    assert gaps.robustness(0.0) == pytest.approx(1 - 0.1)
    assert gaps.robustness(0.5) == pytest.approx(1 - (0.2 + 0.7) / 2)
    margins = np.array([0.0, 0.2, 0.5, 1.0])
    assert gaps.robustness(margins).tolist() == [gaps.robustness(margin) for margin in margins]
    assert SortedGaps([0.1], [0.9]).robustness(0.5) == 1.0
    assert SortedGaps([0.2, 0.2], [0.2, 0.2]).robustness(0.25) == 0.75


def test_robustness_of_draws_has_the_bootstrap_variance():
    losses = np.array([[0.0, 0.3, 0.9], [0.5, 0.5, 0.5]])
    taken = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    assert bootstrap_robustness(losses, taken, np.full((3, 1), 3.0)) == pytest.approx(
        np.array([[0.6, 0.5], [0.3, 0.5], [1.0, 0.5]])
    )
    unequal = bootstrap_robustness(losses[:1], np.array([[2.0, 2.0, 1.0]]), np.array([[5.0]]))
    assert unequal == pytest.approx(1 - 1.5 / 5)  # 5 images were taken
    losses = np.random.default_rng(1).random((1, 40)).repeat(2, axis=0)
    losses[1] += 0.1
    drawn = bootstrap_robustness(losses, draw_groups(alone(40), 20_000, np.random.default_rng(0)), np.full((20_000, 1), 40.0))
    assert drawn[:, 0].mean() == pytest.approx(1 - losses[0].mean(), abs=2e-3)
    assert drawn[:, 0].std() == pytest.approx(losses[0].std() / np.sqrt(40), rel=0.03)
    assert drawn[:, 0] - drawn[:, 1] == pytest.approx(np.full(20_000, 0.1))


def test_robustness_of_many_draws_is_that_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    losses, taken = rng.random((2, 30)), draw_groups(alone(30), 50, rng)
    monkeypatch.setattr(triplet, "AT_ONCE", 30 * 7)  # so that 7 draws are a block, and one is left
    expected = [[1 - sum(row[i] * loss[i] for i in range(30)) / 30 for loss in losses] for row in taken.tolist()]
    drawn = bootstrap_robustness(losses, taken, taken.sum(axis=1, keepdims=True))
    assert drawn == pytest.approx(np.array(expected), abs=1e-12)


def test_robustness_of_drawn_groups_has_the_error_over_groups():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(50), 4)
    losses = rng.random((1, 200)) + rng.normal(0, 0.5, 50)[groups]
    taken = draw_groups([f"p{group}" for group in groups], 20_000, rng)
    drawn = bootstrap_robustness(losses, taken, np.full((20_000, 1), 200.0))
    assert drawn.std() == pytest.approx(standard_error(losses[0], groups), rel=0.03)


@pytest.mark.parametrize("groups", [None, ["a", "a", "b", "c", "c", "c"], ["a"] * 6])
def test_the_errors_of_rows_are_those_of_each(groups):
    rows = np.random.default_rng(3).random((4, 6))
    assert standard_errors(rows, groups) == pytest.approx([standard_error(row, groups) for row in rows], nan_ok=True)
    if groups is None:
        assert standard_errors(rows) == pytest.approx(stats.sem(rows, axis=1))


@pytest.mark.parametrize("groups", [np.repeat(np.arange(5), 4), np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])])
def test_the_jackknife_over_groups_has_the_standard_error(groups):
    values = np.random.default_rng(0).normal(size=len(groups))
    left = without_each_group(values, groups)
    assert np.sqrt((len(left) - 1) * left.var()) == pytest.approx(standard_error(values, groups), rel=1e-12)
    if len(values) == 20:  # groups of one size: the means without each
        assert left == pytest.approx([values[groups != group].mean() for group in range(5)], rel=1e-12)
    assert without_each_group(values, np.zeros(len(values))).size == 0

"""Robustness against fixtures, hand-made pairs and its bounds; negatives against their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.negatives import NEGATIVES, negatives
from medtransfer.indicators.robustness.triplet import (
    SortedGaps,
    bootstrap_robustness,
    robustness,
    robustness_curve,
    triplet_losses,
)
from medtransfer.metrics.uncertainty import draw_images

quick = settings(max_examples=40)


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
    d_neg = measure(a, b[negatives(n, "paper", 0).negative])
    assert 1 - robustness(measure(a, b), d_neg, margin).value == pytest.approx(loss, abs=1e-10)


def test_hand_made_values_and_standard_errors():
    found = robustness([0.1, 0.2, 0.9], [0.8, 0.4, 0.5], 0.5)  # losses 0, 0.3, 0.9
    assert found.value == pytest.approx(1 - 0.4)
    assert found.standard_error == pytest.approx((0.21 / 3) ** 0.5)
    found = robustness([[0.0, 0.4], [0.2, 0.8]], np.zeros((2, 2)), 0.0)  # means over the repeats of an image: 0.1, 0.6
    assert found.value == pytest.approx(1 - 0.35)
    assert found.standard_error == pytest.approx(0.25)
    assert robustness([[0.0], [1.0]], [[1.0], [0.0]], 0.0).value == pytest.approx(0.5)  # the hinge comes before the mean
    alone = robustness([0.5], [0.5], 0.5)
    assert alone.value == 0.5 and np.isnan(alone.standard_error)


def test_curve_is_the_single_values():
    d_pos, d_neg = np.random.default_rng(0).random((2, 3, 20))
    margins = [0.0, 0.25, 1.0]
    curve, single = robustness_curve(d_pos, d_neg, margins), [robustness(d_pos, d_neg, margin) for margin in margins]
    assert [value.value for value in curve] == pytest.approx([value.value for value in single])
    assert [value.standard_error for value in curve] == pytest.approx([value.standard_error for value in single])
    assert single[1].value == 1 - triplet_losses(d_pos, d_neg, 0.25).mean()


def test_triplet_losses_average_the_repeats_of_an_image():
    assert triplet_losses([0.1, 0.2, 0.9], [0.8, 0.4, 0.5], 0.5) == pytest.approx([0, 0.3, 0.9])
    assert triplet_losses([[0.0, 0.5], [1.0, 0.5]], [[1.0, 0.5], [0.0, 0.5]], 0.25) == pytest.approx([1.25 / 2, 0.25])
    with pytest.raises(ValueError, match="margins >= 0"):
        triplet_losses([0.1], [0.1], -0.1)


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5, 1.0])
def test_collapsed_encoder_and_perfect_separation(margin):
    same = np.full(9, 0.3)
    assert robustness(same, same, margin).value == pytest.approx(1 - margin, abs=1e-15)
    assert robustness(np.zeros(9), np.full(9, margin), margin).value == 1
    assert robustness(np.full(9, 2.0), np.zeros(9), margin).value == pytest.approx(1 - (2 + margin))


@quick
@given(st.integers(0, 2**31), st.floats(0, 2), st.integers(2, 30))
def test_bounds_and_order_of_images(seed, margin, n):
    generator = np.random.default_rng(seed)
    d_pos, d_neg = 2 * generator.random((2, n))
    found = robustness(d_pos, d_neg, margin)
    assert 1 - (2 + margin) <= found.value <= 1
    shuffle = generator.permutation(n)
    again = robustness(d_pos[shuffle], d_neg[shuffle], margin)
    assert again.value == pytest.approx(found.value)
    assert again.standard_error == pytest.approx(found.standard_error)


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
        robustness(d_pos, d_neg, margin)


@pytest.mark.parametrize("kind", NEGATIVES)
@pytest.mark.parametrize("n", [*range(2, 12), 101])
def test_no_image_is_its_own_negative_and_the_order_keeps_pairs_adjacent(kind, n):
    plan = negatives(n, kind, 7)
    assert sorted(plan.order) == list(range(n))
    assert not np.any(plan.negative == np.arange(n))
    for place, image in enumerate(plan.order):
        assert plan.negative[image] in (plan.order[place - 1], plan.order[(place + 1) % n])
    assert plan.negative.shape == plan.order.shape == (n,)


@pytest.mark.parametrize("n", [2, 3, 10, 57])
def test_random_negatives_are_one_cycle_and_seeded(n):
    plan = negatives(n, "random", 3)
    image, visited = 0, set()
    while image not in visited:
        visited.add(image)
        image = int(plan.negative[image])
    assert len(visited) == n
    assert plan.repaired is None
    assert np.array_equal(plan.negative, negatives(n, "random", 3).negative)
    assert n < 10 or not np.array_equal(plan.negative, negatives(n, "random", 4).negative)


def test_random_negatives_are_uniform_over_cycles():
    drawn = [tuple(negatives(4, "random", seed).negative) for seed in range(1200)]
    counts = [drawn.count(cycle) for cycle in set(drawn)]
    assert len(counts) == 6  # (4 - 1)! cycles of 4 images
    assert min(counts) > 150


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9])
def test_paper_negatives_follow_the_formula(n):
    plan = negatives(n, "paper", 0)
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
                negatives(n, kind, 0)
    with pytest.raises(ValueError, match="random, paper.*'hard'"):
        negatives(5, "hard", 0)


distances = st.integers(1, 3).flatmap(
    lambda repeats: st.integers(1, 40).flatmap(
        lambda images: hnp.arrays(np.float32, (2, repeats, images), elements=st.floats(0, 2, width=32))
    )
)


@given(both=distances, margin=st.floats(0, 3), place=st.integers(0, 10**6))
def test_any_margin_by_binary_search_is_the_robustness(both: np.ndarray, margin: float, place: int):
    gaps = (both[0].astype(float) - both[1].astype(float)).ravel()
    for chosen in (margin, abs(gaps[place % len(gaps)])):  # at the second a gap is just closed
        assert SortedGaps(*both).robustness(chosen) == pytest.approx(robustness(*both, chosen).value, abs=1e-12)


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
    assert bootstrap_robustness(losses, taken) == pytest.approx(np.array([[0.6, 0.5], [0.3, 0.5], [1.0, 0.5]]))
    losses = np.random.default_rng(1).random((1, 40)).repeat(2, axis=0)
    losses[1] += 0.1
    drawn = bootstrap_robustness(losses, draw_images(40, 20_000, np.random.default_rng(0)))
    assert drawn[:, 0].mean() == pytest.approx(1 - losses[0].mean(), abs=2e-3)
    assert drawn[:, 0].std() == pytest.approx(losses[0].std() / np.sqrt(40), rel=0.03)
    assert drawn[:, 0] - drawn[:, 1] == pytest.approx(np.full(20_000, 0.1))

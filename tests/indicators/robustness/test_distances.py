"""Distances against scipy, hand-made corner rows, and the properties that define them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance as scipy_distance

from medtransfer.indicators.robustness import DISTANCES, distances
from medtransfer.indicators.robustness.distances import pair_distances

INDEPENDENT = {
    "cosine": scipy_distance.cosine,
    "pearson": scipy_distance.correlation,
    "l2": lambda x, y: scipy_distance.sqeuclidean(x, y) / len(x),
    "euclidean": scipy_distance.euclidean,
}
quick = settings(max_examples=30)
seeds = st.integers(0, 2**31)


def rows(seed: int, n: int = 7, d: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("name", DISTANCES)
def test_equals_scipy(name):
    a, b = rows(1)
    expected = [INDEPENDENT[name](x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(DISTANCES[name](a, b), expected, rtol=1e-12)


def test_hand_made_values():
    a, b = torch.tensor([[1.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 4.0, 2.0, -1.0]])
    found, counts = pair_distances(a, b)
    assert found["l2"].item() == 25 / 4
    assert found["euclidean"].item() == 5
    assert found["cosine"].item() == pytest.approx(1 - 3 / (3 * 22**0.5))
    assert found["pearson"].item() == pytest.approx(1 + 4.5 / (2.75 * 13) ** 0.5)
    assert counts == {"nonfinite": 0, "zero": 0, "constant": 0}


@pytest.mark.parametrize("name", DISTANCES)
def test_chunks_change_nothing(name, monkeypatch):
    a, b = rows(2, n=10)
    whole = DISTANCES[name](a, b)
    monkeypatch.setattr(distances, "CHUNK", 30)  # 2 rows at once
    torch.testing.assert_close(pair_distances(a, b)[0][name], whole, rtol=1e-14, atol=0)


@quick
@given(seeds, st.floats(1e-4, 1e-2))
def test_near_identical_float32_rows_keep_their_digits(seed, step):
    a, b = (side.float() for side in rows(seed, d=500))
    near = a + step * b
    for name in DISTANCES:
        exact = DISTANCES[name](a.double(), near.double())
        torch.testing.assert_close(DISTANCES[name](a, near).double(), exact, rtol=2e-3, atol=0)


@quick
@given(seeds)
def test_bounds_symmetry_and_row_order(seed):
    a, b = rows(seed)
    shuffle = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
    for name, function in DISTANCES.items():
        found = function(a, b)
        assert bool((found >= 0).all())
        assert name in ("l2", "euclidean") or bool((found <= 2).all())
        torch.testing.assert_close(function(b, a), found)
        torch.testing.assert_close(function(a[shuffle], b[shuffle]), found[shuffle])
        assert torch.equal(function(a.float(), a.float()), torch.zeros(7))
        for dtype, used in ((torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
            assert function(a.to(dtype), b.to(dtype)).dtype == used
    opposite = DISTANCES["cosine"](a.float(), -3 * a.float())
    assert torch.allclose(opposite, torch.full((7,), 2.0), atol=1e-6) and bool((opposite <= 2).all())


@quick
@given(seeds, st.floats(1e-140, 1e140), st.floats(1e-140, 1e140), st.floats(-100, 100), st.floats(-100, 100))
def test_what_distances_ignore(seed, scale, other_scale, shift, other_shift):
    a, b = rows(seed)
    for name, function in DISTANCES.items():
        if name in ("cosine", "pearson"):
            torch.testing.assert_close(function(scale * a, other_scale * b), function(a, b), rtol=1e-9, atol=1e-12)
        if name == "pearson":
            torch.testing.assert_close(function(a + shift, b + other_shift), function(a, b), rtol=0, atol=1e-9)
        if name in ("l2", "euclidean"):
            torch.testing.assert_close(function(a + shift, b + shift), function(a, b), rtol=1e-9, atol=1e-9)


def test_zero_and_constant_rows_have_distance_one_and_are_counted():
    a = torch.tensor([[0.0, 0.0], [0.1, 0.1], [1.0, 2.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 3.0], [1.0, 3.0], [0.0, 0.0], [0.0, 0.0]])
    found, counts = pair_distances(a, b)
    assert found["cosine"].tolist() == pytest.approx([1, 1 - 4 / 20**0.5, 1, 1])
    assert found["pearson"].tolist() == [1, 1, 1, 1]
    assert found["l2"].tolist() == pytest.approx([5, (0.81 + 8.41) / 2, 2.5, 0])
    assert counts == {"nonfinite": 0, "zero": 3, "constant": 4}
    constant = torch.full((1, 1001), 0.1)  # in spite of rounding
    found, counts = pair_distances(constant, torch.randn(1, 1001, generator=torch.Generator().manual_seed(0)))
    assert (found["pearson"].item(), counts["constant"], counts["zero"]) == (1, 1, 0)
    wave = torch.tensor([[0.0, 1.0, 0.0, 1.0, 2.0]])
    nearly = 1000 + 2.0**-12 * wave  # exact in float32
    assert DISTANCES["pearson"](nearly, wave).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_nonfinite_rows_count_as_zero_vectors(bad, side):
    pair = [part.clone() for part in rows(5)]
    clean, _ = pair_distances(*pair)
    pair[side][2, 3] = bad
    found, counts = pair_distances(*pair)
    assert counts == {"nonfinite": 1, "zero": 0, "constant": 0}
    replaced = {name: values[2].item() for name, values in found.items()}
    assert replaced == {"cosine": 1, "pearson": 1, "l2": 0, "euclidean": 0}
    others = torch.arange(7) != 2
    for name in DISTANCES:
        torch.testing.assert_close(found[name][others], clean[name][others])
        torch.testing.assert_close(DISTANCES[name](*pair), found[name])


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_extreme_float32_values_stay_finite(size):
    a, b = (part.float() for part in rows(6))
    found, _ = pair_distances(a * size, b * size)
    torch.testing.assert_close(found["cosine"], DISTANCES["cosine"](a, b), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["pearson"], DISTANCES["pearson"](a, b), rtol=1e-5, atol=1e-6)
    assert all(bool(torch.isfinite(values).all()) for values in found.values())


@pytest.mark.parametrize(("a", "b"), [((3, 4), (3, 5)), ((3, 4, 1), (3, 4, 1)), ((0, 4), (0, 4)), ((3, 0), (3, 0))])
def test_other_shapes_are_refused(a, b):
    for function in (pair_distances, *DISTANCES.values()):
        with pytest.raises(ValueError, match="expected two feature tensors"):
            function(torch.zeros(a), torch.zeros(b))

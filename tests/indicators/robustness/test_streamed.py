"""Distances from one reading of the maps against float64, pair by pair, and against `pair_distances`, whose rules hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from medtransfer.indicators.robustness import DISTANCES, streamed
from medtransfer.indicators.robustness.distances import pair_distances
from medtransfer.indicators.robustness.streamed import BatchDistances

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31)
SHAPES = ((4, 6, 6), (9, 3, 5), (1, 40, 40))  # (C, H, W): less than a block, odd, several blocks with a rest
NEGATIVE = torch.tensor([1, 2, 3, 0, 5])  # all but one follow each other; the last is from outside


def maps(seed: int, spread: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    """Draw maps of 5 queries and, near them, of 6 keys."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys = [], []
    for shape in SHAPES:
        first = torch.randn(6, *shape, generator=generator).relu() + 0.1 * torch.randn(6, *shape, generator=generator)
        queries.append(first[:5].to(dtype))
        keys.append((first + spread * torch.randn(6, *shape, generator=generator)).to(dtype))
    return queries, keys


def by_definition(queries: list[Tensor], keys: list[Tensor], negative: Tensor = NEGATIVE) -> np.ndarray:
    """Return (names, spaces, 2, B), in float64."""
    found = []
    for first, second in zip(queries, keys, strict=True):
        for pooled in (False, True):
            a, b = (part.double().mean((2, 3)) if pooled else part.double().flatten(1) for part in (first, second))
            sides = [pair_distances(a, b[rows])[0] for rows in (torch.arange(len(a)), negative)]
            found.append(torch.stack([torch.stack([side[name] for side in sides]) for name in DISTANCES]))
    return torch.stack(found, dim=1).numpy()


def close(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-4) -> None:
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-30)


def close_if_near(found: np.ndarray, expected: np.ndarray, rtol: float = 4e-3) -> None:
    """Compare tiny distances.

    Pooled features are rounded to float32, by some 1e-7 of their size, so the root of a distance (euclidean is one) may be off by
    as much, times ten for Pearson's, since the means are taken off: whatever the formula. Flattened ones lose nothing.
    """
    close(found[:, ::2], expected[:, ::2], rtol=rtol)
    for row, name in enumerate(DISTANCES):
        near, exact = (side[row, 1::2] if name == "euclidean" else np.sqrt(side[row, 1::2]) for side in (found, expected))
        np.testing.assert_allclose(near, exact, rtol=2e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("chunk", [1, 300, 2**19])
def test_equals_the_definition_in_any_order_of_memory_and_piece(form, chunk, monkeypatch):
    monkeypatch.setitem(streamed.CHUNK, "cpu", chunk)
    queries, keys = maps(0)
    changed = ([part.contiguous(memory_format=form) for part in side] for side in (queries, keys))
    found, counts = BatchDistances(*changed, NEGATIVE).collect()
    close(found, by_definition(queries, keys))
    assert counts == [{"nonfinite": 0, "zero": 0, "constant": 10 if setting == 5 else 0} for setting in range(6)]  # one channel


@pytest.mark.parametrize("negative", [[4, 3, 2, 1, 0], [1, 0, 3, 2, 0], [5, 5, 5, 5, 5]])
def test_any_negatives_and_strides(negative):
    queries, keys = maps(2)
    rows = torch.tensor(negative)
    same = [torch.cat([part, part[:1]]) for part in queries]
    assert (BatchDistances(queries, same, torch.arange(5)).collect()[0][:, :5] == 0).all()  # pooled, one channel is constant
    expected = by_definition(queries, keys, rows)
    close(BatchDistances(queries, keys, rows).collect()[0], expected)
    queries, keys = ([part.transpose(2, 3).contiguous().transpose(2, 3) for part in side] for side in (queries, keys))
    close(BatchDistances(queries, keys, rows).collect()[0], expected)


@quick
@given(seeds, st.floats(1e-4, 1e-1), st.floats(0.8, 1.2), st.floats(-0.2, 0.2))
def test_near_identical_maps_keep_their_digits_also_of_another_brightness(seed, spread, scale, shift):
    queries, keys = maps(seed, spread)
    close_if_near(BatchDistances(queries, keys, NEGATIVE).collect()[0], by_definition(queries, keys))
    queries, keys = maps(seed, 1e-3)
    keys = [scale * part + shift for part in keys]
    close_if_near(BatchDistances(queries, keys, NEGATIVE).collect()[0], by_definition(queries, keys))


def test_large_areas_of_one_value_keep_their_digits():
    """Rounding of equal numbers adds up in one direction: the black background of a medical image.

    Distances here are 1e-7; `pair_distances` in float32 is itself off by 0.5 % of that, so no more is asked for.
    """
    generator = torch.Generator().manual_seed(0)
    first = torch.full((5, 16, 64, 64), 0.1)
    first[:, :, 20:40, 20:40] = torch.rand(5, 16, 20, 20, generator=generator)
    second = first * 1.05 + 1e-3 * (first > 0.5) * torch.rand(5, 16, 64, 64, generator=generator)
    rows = torch.tensor([1, 2, 3, 4, 0])
    close_if_near(BatchDistances([first], [second], rows).collect()[0], by_definition([first], [second], rows), rtol=1e-2)


@pytest.mark.parametrize(("size", "other"), [(1e-30, 1e-30), (1e-12, 1e-12), (1e12, 1e12), (1e30, 1e30), (1, 1e6)])
def test_extreme_values_stay_finite_and_keep_cosine_and_pearson(size, other):
    queries, keys = maps(3)
    found = BatchDistances([part * size for part in queries], [part * other for part in keys], NEGATIVE).collect()[0]
    assert np.isfinite(found).all()
    close(found[:2], by_definition(queries, keys)[:2], rtol=1e-4 if size == other else 4e-3)


@pytest.mark.parametrize("bad", [0.0, 0.25, float("nan"), float("inf"), -float("inf")])
def test_zero_constant_and_nonfinite_maps_follow_the_rules(bad):
    queries, keys = maps(5)
    for part in keys:
        part[1] = bad  # positive of query 1, negative of query 0
    found, counts = BatchDistances(queries, keys, NEGATIVE).collect()
    for level, (first, second) in enumerate(zip(queries, keys, strict=True)):
        flat = [pair_distances(first.flatten(1), second.flatten(1)[rows]) for rows in (torch.arange(5), NEGATIVE)]
        for side, (expected, _) in enumerate(flat):
            for row, name in enumerate(DISTANCES):
                np.testing.assert_allclose(found[row, 2 * level, side], expected[name], rtol=1e-4, err_msg=name)
        assert counts[2 * level] == {name: flat[0][1][name] + flat[1][1][name] for name in flat[0][1]}
    assert counts[2]["zero" if bad == 0 else "constant" if bad == 0.25 else "nonfinite"] == 2


def test_a_single_bad_value_counts_the_pair_pooled_and_flattened():
    queries, keys = maps(6)
    queries[0][3, 2, 1, 1] = float("nan")
    found, counts = BatchDistances(queries, keys, NEGATIVE).collect()
    assert [count["nonfinite"] for count in counts] == [2, 2, 0, 0, 0, 0]
    assert found[:, 0, :, 3].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    queries, keys = maps(7, dtype=dtype)
    found = BatchDistances(queries, keys, NEGATIVE).collect()[0]
    close(found, by_definition(queries, keys), rtol=1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize(
    ("queries", "keys", "negative", "words"),
    [
        ([], [], [0], "as many maps"),
        ([(2, 3, 4, 4)], [(2, 3, 4, 4)] * 2, [1, 0], "as many maps"),
        ([(2, 3, 4)], [(2, 3, 4)], [1, 0], "expected maps"),
        ([(2, 3, 4, 4)], [(2, 3, 4, 5)], [1, 0], "expected maps"),
        ([(2, 3, 4, 4)], [(1, 3, 4, 4)], [0, 0], "expected maps"),
        ([(2, 3, 4, 4)], [(2, 3, 4, 4)], [0], "expected maps"),
        ([(2, 3, 4, 4)], [(2, 3, 4, 4)], [1, 2], "0..1"),
        ([(2, 3, 4, 4)], [(2, 3, 4, 4)], [1, -1], "0..1"),
    ],
)
def test_maps_that_do_not_fit_are_refused(queries, keys, negative, words):
    with pytest.raises(ValueError, match=words):
        BatchDistances([torch.ones(shape) for shape in queries], [torch.ones(shape) for shape in keys], torch.tensor(negative))

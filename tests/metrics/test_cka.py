"""Linear CKA: printed values, sums over quadruples, known invariances, batches, and where the plain estimate misleads."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group

from medtransfer.metrics.cka import LinearCKA, MinibatchCKA, hsic, linear_cka, unbiased_cka

Numbers = NDArray[np.float64]


ROW, COLUMN = np.arange(24)[:, None], np.arange(40)[None]
WAVES = np.sin(1 + 0.7 * ROW * (COLUMN + 1)) + np.cos(0.3 * (ROW + 1) * (COLUMN + 2))
SETS = {
    "X": WAVES[:, :6], "Z": WAVES,
    "Y": np.tanh(WAVES[:, :6] @ np.cos(1.3 * np.arange(6)[:, None] + 0.5 * np.arange(5)[None])),
}  # fmt: skip
PRINTED = {  # linear, unbiased of all 24 samples, of batches of 8 and of 6; to ten digits, by another implementation
    "XY": (0.6100967458, 0.5640438464, 0.5546840854, 0.5602616322),
    "XZ": (0.7960425433, 0.7410119685, 0.5326959465, 0.5647010443),
    "YZ": (0.4830318574, 0.4060985215, 0.2499660775, 0.2066591876),
}


def over_batches(cka: LinearCKA | MinibatchCKA, size: int, *sets: Numbers) -> Numbers:
    for start in range(0, len(sets[0]), size):
        cka.update(*(x[start : start + size] for x in sets))
    return cka.compute()


def features(n: int, d: int, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).normal(size=(n, d))


def quadruples(first: Numbers, second: Numbers) -> float:
    """Average over all quadruples of different samples: the definition of the unbiased estimate (Song et al., 2012, Eq. 4)."""
    k, m = first @ first.T, second @ second.T
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(terms))


@pytest.mark.parametrize(("n", "d", "e"), [(4, 3, 3), (7, 2, 5), (8, 12, 3)])
def test_it_is_the_mean_over_quadruples(n: int, d: int, e: int) -> None:
    x, y = features(n, d) + 3, features(n, e, 1)
    y[:, 0] += x[:, 0]
    expected = quadruples(x, y) / np.sqrt(quadruples(x, x) * quadruples(y, y))
    assert unbiased_cka(x, y) == pytest.approx(expected, abs=1e-10)
    assert unbiased_cka(y, x) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x @ ortho_group.rvs(x.shape[1], random_state=3),
        lambda x: -1e-4 * x,
        lambda x: x + 50,
        lambda x: np.hstack([x, np.zeros((len(x), 4))]),
    ],
    ids=["itself", "rotated", "scaled", "moved", "widened"],
)
def test_it_is_one_for_the_same_geometry(change: Callable[[Numbers], Numbers]) -> None:
    x, y = features(40, 6), features(40, 9, 1)
    y[:, :6] += x
    assert unbiased_cka(x, change(x)) == pytest.approx(1, abs=1e-9)
    assert unbiased_cka(change(x), y) == pytest.approx(unbiased_cka(x, y), abs=1e-9)


def test_the_order_of_the_samples_does_not_matter() -> None:
    x, y, order = features(30, 5), features(30, 5, 1), np.random.default_rng(2).permutation(30)
    assert unbiased_cka(x[order], y[order]) == pytest.approx(unbiased_cka(x, y), abs=1e-12)


def test_unrelated_wide_features_are_not_alike() -> None:
    """The plain estimate of the same features is above .9, since D is 20 times N."""
    pairs = [(features(30, 600, seed), features(30, 600, 100 + seed)) for seed in range(20)]
    centred = [(x - x.mean(axis=0), y - y.mean(axis=0)) for x, y in pairs]
    plain = [np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)) for x, y in centred]
    assert np.mean(plain) > 0.9
    assert np.mean([unbiased_cka(x, y) for x, y in pairs]) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("x", [np.ones((9, 4)), features(3, 4)], ids=["constant", "three samples"])
def test_it_is_not_defined(x: Numbers) -> None:
    assert np.isnan(unbiased_cka(x, features(len(x), 4)))


@pytest.mark.parametrize("y", [features(8, 3), features(9, 3)[:, 0], np.full((9, 3), np.inf)])
def test_what_does_not_fit_is_refused(y: Numbers) -> None:
    with pytest.raises(ValueError, match="expected "):
        unbiased_cka(features(9, 3), y)


@pytest.mark.parametrize("names", PRINTED)
def test_printed_values(names: str) -> None:
    x, y = (SETS[name] for name in names)
    linear, *unbiased = PRINTED[names]
    assert linear_cka(x, y) == pytest.approx(linear, abs=1e-10)
    for size, value in zip((24, 8, 6), unbiased, strict=True):
        assert over_batches(MinibatchCKA(), size, x, y)[0, 1] == pytest.approx(value, abs=1e-10)
    assert unbiased_cka(x, y) == pytest.approx(unbiased[0], abs=1e-10)


def test_the_printed_hsic() -> None:
    assert hsic([SETS["X"], SETS["Y"]])[0, 1] == pytest.approx(3.3828980358, abs=1e-10)


@pytest.mark.parametrize("widths", [(3, 5), (3, 30), (30, 40)], ids=["products", "kernels of one", "kernels"])
def test_the_unbiased_hsic_by_its_formula(widths: tuple[int, int]) -> None:
    """Traces and sums of kernels without their diagonals (Song et al., 2012, Eq. 5), for narrow and wide features."""
    n, (x, y) = 9, [features(9, width, width) + 2 for width in widths]
    k, m = (z @ z.T * (1 - np.eye(n)) for z in (x, y))
    one = np.ones(n)
    expected = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 * (one @ k @ m @ one) / (n - 2)
    assert hsic([x, y])[0, 1] == pytest.approx(expected / (n * (n - 3)), rel=1e-11)


@pytest.mark.parametrize("size", [1, 5, 24, 50])
@pytest.mark.parametrize("widths", [(3, 6), (40, 70)], ids=["products", "samples"])
def test_the_linear_one_does_not_depend_on_the_batches(widths: tuple[int, int], size: int) -> None:
    x, y = (features(50, width, width) + 100 for width in widths)
    y[:, 0] += x[:, 0]
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.sum((b.T @ a) ** 2) / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert over_batches(LinearCKA(), size, x, y) == pytest.approx(np.array([[1, expected], [expected, 1]]), rel=1e-11)


def test_the_linear_one_keeps_the_smaller_of_samples_and_products() -> None:
    cka = LinearCKA()
    held = []
    for start in range(0, 60, 4):
        cka.update(features(60, 10)[start : start + 4], features(60, 20, 1)[start : start + 4])
        held.append(sum(rows.size for rows in cka._rows) + (0 if cka._products is None else cka._products.size))
    assert held[:5] == [120, 240, 360, 480, 600] and set(held[5:]) == {900}  # 2 kernels of 24 samples are larger than 30 x 30


@pytest.mark.parametrize("make", [LinearCKA, MinibatchCKA])
def test_over_batches_it_is_one_for_the_same_geometry(make: Callable[[], LinearCKA | MinibatchCKA]) -> None:
    x, rotation = features(24, 6), ortho_group.rvs(6, random_state=3)
    values = over_batches(make(), 8, x, -1e-4 * x, x @ rotation, x + 50, features(24, 6, 1))
    assert values[:4, :4] == pytest.approx(np.ones((4, 4)), abs=1e-9) and (np.diagonal(values) == pytest.approx(1))
    assert values[:4, 4] == pytest.approx(np.full(4, values[0, 4]), abs=1e-9) and values[0, 4] < 0.5
    assert values == pytest.approx(values.T, abs=1e-15)


def test_minibatches_do_not_see_an_offset_of_each_batch() -> None:
    x, y, offsets = features(24, 5), features(24, 50, 1), np.repeat(features(3, 50, 2) * 9, 8, axis=0)
    values = over_batches(MinibatchCKA(), 8, x, y, y + offsets)
    assert values[0, 1] == pytest.approx(values[0, 2], abs=1e-9) and values[1, 2] == pytest.approx(1, abs=1e-9)


def test_the_size_of_the_batches_leaves_no_bias() -> None:
    """Of 4,000 samples the batches of 8 and of 40 agree with the value of the population, by its covariances."""
    x = features(4000, 3)
    y = np.hstack([x[:, :1] + features(4000, 1, 1), features(4000, 40, 2)])
    expected = 1 / np.sqrt(3 * (2**2 + 40))  # ||cov(x, y)||² / (||cov(x)|| ||cov(y)||)
    for size in (8, 40):
        assert over_batches(MinibatchCKA(), size, x, y)[0, 1] == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("make", [LinearCKA, MinibatchCKA])
def test_over_batches_what_does_not_fit_is_refused(make: Callable[[], LinearCKA | MinibatchCKA]) -> None:
    cka = make()
    with pytest.raises(ValueError, match="at least one batch"):
        cka.compute()
    cka.update(features(8, 3), features(8, 5))
    for wrong in ([features(8, 3), features(8, 6)], [features(8, 3), features(7, 5)], [features(8, 3)], []):
        with pytest.raises(ValueError, match="expected "):
            cka.update(*wrong)
    constant = np.full((8, 5), 0.1, np.float32)
    for again in (make(), make()):
        again.update(features(8, 3), constant)
        assert np.isnan(again.compute()).tolist() == [[False, True], [True, True]]


def test_minibatches_are_equal_and_of_four_at_least() -> None:
    cka = MinibatchCKA()
    with pytest.raises(ValueError, match="at least 4 samples"):
        cka.update(features(3, 2), features(3, 2))
    cka.update(features(6, 2), features(6, 2))
    with pytest.raises(ValueError, match="batches of one shape"):
        cka.update(features(5, 2), features(5, 2))

"""CC-FV and LBTC against published values, matrix square roots, all spanning trees, and what must not change them."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from tests.published_maps import LABELS, MAPS

from medtransfer.indicators.ccfv import ccfv, class_distances, compare_maps, variety
from medtransfer.indicators.lbtc import boundaries, boundary, chance_of_crossing, count_crossings, lbtc, lbtc_corrected
from medtransfer.records import IGNORE

FLAT = np.ones_like(MAPS)


@pytest.mark.parametrize(("raw", "consistency", "score"), [(False, 0.4147307920, 1.0381937688), (True, 1.1625225165, 0.0074758784)])
def test_published_values_of_ccfv(raw, consistency, score):
    assert MAPS.sum() == pytest.approx(566.4038686699, abs=1e-9) and np.bincount(LABELS.ravel()).tolist() == [140, 84, 32]
    compared = compare_maps([MAPS], [LABELS], raw)
    assert compared.consistency()[0] == pytest.approx(consistency, abs=1e-8)
    assert compared.variety()[0] == pytest.approx(1.1712459605, abs=1e-8)
    assert ccfv([MAPS], [LABELS], raw) == (pytest.approx(score, abs=1e-8), {})


@pytest.mark.parametrize(("window", "expected"), [(3, 0.7242647059), (5, 0.7249705145)])
def test_published_values_of_lbtc(window, expected):
    assert lbtc(MAPS, LABELS, window) == (pytest.approx(expected, abs=1e-8), {})
    assert boundaries(MAPS, LABELS, window).anchors.sum() == 68


def test_published_value_of_corrected_lbtc():
    assert lbtc_corrected(MAPS, LABELS) == (pytest.approx(0.5071553738, abs=1e-8), {})


@pytest.mark.parametrize(("sizes", "width"), [((5, 9), 3), ((4, 2), 7), ((3, 3), 1)])
def test_the_distance_equals_that_by_matrix_roots(sizes, width):
    rng = np.random.default_rng(width)
    samples = [rng.normal(loc, 1 + loc, size=(size, width)) for loc, size in zip((0.0, 0.5), sizes, strict=True)]
    (mean, other_mean), (cov, other) = (
        [statistic(rows) for rows in samples] for statistic in (lambda x: x.mean(0), lambda x: np.atleast_2d(np.cov(x.T)))
    )
    root = np.real(sqrtm(cov + 1e-14 * np.eye(width)))
    middle = np.real(sqrtm(root @ other @ root + 1e-14 * np.eye(width)))
    expected = np.sqrt(np.square(mean - other_mean).sum() + np.trace(cov + other - 2 * middle))
    distances = class_distances([samples[0], samples[0][:1], samples[1]])
    assert distances[0, 2] == distances[2, 0] == pytest.approx(expected, abs=1e-5)
    assert distances[0, 0] == 0 and np.isnan(distances[1]).all()


def test_the_distance_of_spheres_is_that_of_means_and_radii():
    cross = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    spread = np.sqrt(2 / 3)  # standard deviation along either axis
    distance = class_distances([cross, 3 * cross + [3, 4]])[0, 1]
    assert distance == pytest.approx(np.sqrt(25 + 2 * (2 * spread) ** 2), abs=1e-12)


def test_variety_by_hand():
    square = np.array([[1.0, 0], [0, 2], [-3, 0], [0, -4]])
    assert variety(square) == pytest.approx(1 / np.mean([1 / np.sqrt(2)] * 4 + [1 / 2] * 2))
    assert variety(np.ones((2, 3))) == pytest.approx(np.sqrt(1e-3))  # duplicates
    assert variety(np.array([[0.0, 0], [0, 5]])) == 1  # a zero vector stays zero
    assert np.isnan(variety(square[:1]))


def crossings_by_enumeration(points: np.ndarray, labels: np.ndarray) -> int:
    """Edges that join two labels in the lightest of all spanning trees."""
    edges = [(np.linalg.norm(points[i] - points[j]), i, j) for i, j in combinations(range(len(points)), 2)]

    def spans(tree: tuple) -> bool:
        part = list(range(len(points)))
        for _, i, j in tree:
            part = [part[i] if p == part[j] else p for p in part]
        return len(set(part)) == 1

    trees = [tree for tree in combinations(edges, len(points) - 1) if spans(tree)]
    return sum(labels[i] != labels[j] for _, i, j in min(trees, key=lambda tree: sum(edge[0] for edge in tree)))


def test_crossings_equal_those_of_the_lightest_of_all_trees():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(12, 6, 2)), rng.integers(0, 3, (12, 6))
    labels[:4, 1] = labels[:2, 4] = IGNORE
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    crossings, edges = count_crossings(distances, labels)
    for window in range(12):
        valid = labels[window] != IGNORE
        assert edges[window] == valid.sum() - 1
        assert crossings[window] == crossings_by_enumeration(points[window][valid], labels[window][valid])
        pairs = [a != b for a, b in combinations(labels[window][valid], 2)]
        assert chance_of_crossing(labels)[window] == pytest.approx(np.mean(pairs))


def test_anchors_are_foreground_beside_another_class():
    labels = np.array([[1, 1, 0], [1, 1, 1], [IGNORE, 1, 2]])
    assert boundary(labels).tolist() == [[0, 1], [1, 2], [2, 1], [2, 2]]
    assert not len(boundary(np.ones((3, 3), dtype=int)))


@pytest.mark.parametrize("function", [lambda *a: ccfv([a[0]], [a[1]]), lbtc, lbtc_corrected], ids=["ccfv", "lbtc", "corrected"])
def test_rotation_scale_order_and_names_change_nothing(function):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    value, order = function(MAPS, LABELS)[0], rng.permutation(4)
    for maps, labels in (
        (np.einsum("ndhw,de->nehw", MAPS, turn), LABELS), (1000 * MAPS, LABELS), (MAPS[order], LABELS[order]),
        (MAPS, np.array([0, 2, 1])[LABELS]), (MAPS[..., ::-1].copy(), LABELS[..., ::-1]),
    ):  # fmt: skip
        assert function(maps, labels)[0] == pytest.approx(value, abs=1e-8)


def test_raw_ccfv_depends_on_scale():
    assert ccfv([10 * MAPS], [LABELS], raw=True)[0] == pytest.approx(0.0074758784 - np.log(10), abs=1e-8)


def test_ccfv_is_the_mean_over_levels_that_can_be_compared():
    coarse, few = MAPS[..., ::2, ::2], LABELS[:, ::2, ::2]
    single = [ccfv([maps], [labels])[0] for maps, labels in ((MAPS, LABELS), (coarse, few))]
    assert ccfv([MAPS, coarse], [LABELS, few])[0] == pytest.approx(np.mean(single))
    assert ccfv([MAPS, coarse], [LABELS, 0 * few]) == (pytest.approx(single[0]), {"levels_without_pairs": 1})
    value, flags = ccfv([MAPS], [0 * LABELS])
    assert np.isnan(value) and flags == {"levels_without_pairs": 1}


def test_vectors_without_a_direction_are_counted():
    dead = MAPS.copy()
    dead[0, :, 0, :3] = 0
    value, flags = ccfv([dead], [LABELS])
    assert np.isfinite(value) and flags == {"zero_vectors": 3}


@pytest.mark.parametrize("raw", [False, True])
def test_a_collapsed_encoder_has_no_ccfv(raw):
    value, flags = ccfv([0.1 * FLAT], [LABELS], raw)
    assert np.isnan(value) and flags == {"collapsed_levels": 1}


def test_leakage_of_a_constant_encoder_is_chance_and_flagged():
    many, labels = np.tile(FLAT, (40, 1, 1, 1)), np.tile(LABELS, (40, 1, 1))
    value, flags = lbtc_corrected(many, labels)
    assert abs(value) < 0.03 and flags == {"tied_windows": 40 * 68}
    separated = np.stack([label == LABELS for label in range(3)], 1) + 0.01 * MAPS[:, :3]
    assert lbtc_corrected(separated, LABELS)[0] > lbtc_corrected(MAPS, LABELS)[0] + 0.1


def test_shuffled_labels_leak_as_chance_does():
    rng = np.random.default_rng(0)
    values = [lbtc_corrected(MAPS, rng.permuted(LABELS.reshape(4, -1), axis=1).reshape(LABELS.shape))[0] for _ in range(20)]
    assert abs(np.mean(values)) < 0.05


def test_ignored_pixels_do_not_count():
    hidden, broken = LABELS.copy(), MAPS.copy()
    hidden[:, :2], broken[:, :, :2] = IGNORE, 100 * MAPS[:, :, ::-1][:, :, :2]
    for function in (lbtc, lbtc_corrected, lambda *a: ccfv([a[0]], [a[1]])):
        assert function(MAPS, hidden) == function(broken, hidden) != function(MAPS, LABELS)
    assert lbtc(MAPS, hidden)[0] == pytest.approx(lbtc(MAPS[:, :, 2:].copy(), LABELS[:, 2:])[0])


def test_without_a_boundary_there_is_no_leakage():
    value, flags = lbtc(MAPS, 0 * LABELS)
    assert np.isnan(value) and flags == {"images_without_anchors": 4}


@pytest.mark.parametrize(
    ("maps", "labels"), [(MAPS[0], LABELS), (MAPS, LABELS[:3]), (MAPS[:0], LABELS[:0]), (MAPS * np.nan, LABELS)]
)  # fmt: skip
def test_what_are_no_maps_is_refused(maps, labels):
    for function in (lbtc, lbtc_corrected, lambda *a: ccfv([a[0]], [a[1]])):
        with pytest.raises(ValueError, match="expected finite maps"):
            function(maps, labels)
    with pytest.raises(ValueError, match="odd side .* but got 4"):
        lbtc(MAPS, LABELS, 4)


def test_streamed_windows_equal_those_of_arrays():
    """More anchors and pixels allowed than there are, a mask as large as the map."""
    from medtransfer.indicators.ccfv import compare
    from medtransfer.indicators.contract import Batch
    from medtransfer.indicators.lbtc import BoundarySampler
    from medtransfer.indicators.samples.class_pixels import ClassPixelSampler

    names = ("a", "b", "c", "d")
    leaks, pixels = BoundarySampler(names, 3, -1, 3, 100, 5), ClassPixelSampler(names, 3, 3, 100, 10, 5)
    maps, labels = torch.from_numpy(MAPS).float(), torch.from_numpy(LABELS.astype(np.uint8))
    for rows in ([3, 1], [0, 2]):
        batch = Batch(np.array(rows), None, [maps[rows][..., ::2, ::2], maps[rows]], labels[rows])
        leaks.update(batch), pixels.update(batch)
    assert leaks.collect().score(corrected=True) == pytest.approx(0.5071553738, abs=1e-6)
    compared = compare(pixels.collect())
    assert compared.flags == {"missing_levels": 1}
    assert compared.consistency()[-1] == pytest.approx(0.4147307920, abs=1e-6)
    assert compared.variety()[-1] == pytest.approx(1.1712459605, abs=1e-6)


def test_leaving_out_an_image_equals_computing_without_it():
    rest = np.array([True, False, True, True])
    kept = compare_maps([MAPS], [LABELS]).keep(rest)
    assert kept.images.tolist() == [0, 2, 3]
    assert kept.score()[0] == pytest.approx(ccfv([MAPS[rest]], [LABELS[rest]])[0], abs=1e-12)
    sums = boundaries(MAPS, LABELS, 3).keep(rest)
    assert sums.images.tolist() == [0, 2, 3]
    assert sums.score(corrected=False) == pytest.approx(lbtc(MAPS[rest], LABELS[rest])[0], abs=1e-12)
    assert sums.score(corrected=True) == pytest.approx(lbtc_corrected(MAPS[rest], LABELS[rest])[0], abs=1e-12)


@pytest.mark.parametrize("names", [["ccfv", "ccfv_raw"], ["lbtc", "lbtc_corrected"]])
def test_blocks_of_patients_give_standard_errors(names):
    from medtransfer.indicators.ccfv import CCFVOptions
    from medtransfer.indicators.contract import Batch, Context, Options
    from medtransfer.indicators.lbtc import LBTCOptions
    from medtransfer.indicators.registry import INDICATORS
    from medtransfer.indicators.robustness.setting import RobustnessSetting

    own = {"ccfv": CCFVOptions(levels=1, class_pixels=100, class_images=9), "lbtc": LBTCOptions(window=3, anchors=100)}
    options = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (0.5,), 60, own=own)
    context = Context(list("abcd"), list("pqrs"), 3, 0, 1, (), options, blocks=4)
    measurements = [INDICATORS[name].begin(context) for name in names]
    maps, labels = torch.from_numpy(MAPS).float(), torch.from_numpy(LABELS.astype(np.uint8))
    context.samples.update(Batch(np.arange(4), None, [maps], labels))
    functions = {
        "ccfv": lambda m, k: ccfv([m], [k])[0], "ccfv_raw": lambda m, k: ccfv([m], [k], raw=True)[0],
        "lbtc": lambda m, k: lbtc(m, k)[0], "lbtc_corrected": lambda m, k: lbtc_corrected(m, k)[0],
    }  # fmt: skip
    for name, measurement in zip(names, measurements, strict=True):
        (score,) = measurement.compute().scores
        expected = [functions[name](np.delete(MAPS, image, 0), np.delete(LABELS, image, 0)) for image in range(4)]
        assert sorted(score.replicates) == pytest.approx(sorted(expected), abs=1e-5)
        assert score.error == pytest.approx(np.sqrt(3 / 4 * np.square(expected - np.mean(expected)).sum()), abs=1e-5)


def test_a_sample_is_bounded_and_independent_of_the_batches():
    from medtransfer.indicators.contract import Batch
    from medtransfer.indicators.samples.class_pixels import ClassPixelSampler

    names = ("a", "b", "c", "d")
    maps, labels = torch.from_numpy(MAPS).float(), torch.from_numpy(LABELS.astype(np.uint8))
    collected = []
    for batches in ([[0, 1, 2, 3]], [[2], [3, 0], [1]]):
        sampler = ClassPixelSampler(names, 3, 1, 4, 3, 5)
        for rows in batches:
            sampler.update(Batch(np.array(rows), None, [maps[rows]], labels[rows]))
        collected.append(sampler.collect())
    first, second = collected
    assert first.images.tolist() == second.images.tolist() and len(first.images) == 3
    for image, same in zip(first.levels[0], second.levels[0], strict=True):
        assert image.spread.shape == (4, 6) and all(len(rows) == 4 for rows in image.classes.values())
        assert np.array_equal(image.spread, same.spread)
        assert all(np.array_equal(rows, same.classes[label]) for label, rows in image.classes.items())

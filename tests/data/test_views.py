"""Two views: what an image and its negative get does not depend on the batches."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medtransfer.data.jitter import draw_jitter, jitter
from medtransfer.data.pixels import normalise, to_images
from medtransfer.data.views import TwoViews, select_images
from medtransfer.records import PreparedTarget

NORM: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
ORDER = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
NEGATIVE = np.array([7, 4, 0, 1, 9, 2, 8, 3, 5, 6])


def views_of(views: TwoViews, batch_size: int, repeat: int = 0) -> dict[int, tuple[torch.Tensor, ...]]:
    """Return query, positive key and negative key by image."""
    found: dict[int, tuple[torch.Tensor, ...]] = {}
    for batch in views.batches(ORDER[: len(views)], NEGATIVE, batch_size, repeat):
        for row, position in enumerate(batch.positions.tolist()):
            found[position] = (batch.queries[row], batch.keys[row], batch.keys[batch.negative[row]])
    return found


def test_views_are_jittered_with_their_draws(colour_target: PreparedTarget) -> None:
    found = views_of(TwoViews(colour_target, "train", seed=4, max_images=None, **NORM), 3, repeat=2)
    assert sorted(found) == list(range(10))
    pixels = to_images(np.asarray(colour_target.images))
    first, second = (normalise(jitter(pixels, draw_jitter(10, 4, 2, view)), **NORM) for view in (0, 1))
    for position, (query, positive, negative) in found.items():
        torch.testing.assert_close(query, first[position])
        torch.testing.assert_close(positive, second[position])
        torch.testing.assert_close(negative, second[NEGATIVE[position]])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 64])
def test_batches_change_nothing(colour_target: PreparedTarget, batch_size: int) -> None:
    views = TwoViews(colour_target, "train", seed=4, max_images=None, **NORM)
    whole, parts = views_of(views, 10), views_of(views, batch_size)
    assert whole.keys() == parts.keys()
    for position, expected in whole.items():
        assert all(torch.equal(a, b) for a, b in zip(expected, parts[position], strict=True))


def test_a_batch_holds_its_images_and_their_negatives_only(colour_target: PreparedTarget) -> None:
    views = TwoViews(colour_target, "train", seed=4, max_images=None, **NORM)
    for batch in views.batches(ORDER, NEGATIVE, 4, 0):
        inside = set(batch.positions.tolist())
        outside = {NEGATIVE[position] for position in inside} - inside
        assert len(batch.queries) == len(batch.positions) == len(batch.negative)
        assert len(batch.keys) == len(inside) + len(outside)


def test_repeats_and_views_differ(colour_target: PreparedTarget) -> None:
    views = TwoViews(colour_target, "train", seed=4, max_images=None, **NORM)
    first, second = views_of(views, 5, 0), views_of(views, 5, 1)
    assert not torch.equal(first[0][0], first[0][1]) and not torch.equal(first[0][0], second[0][0])


def test_a_subset_keeps_the_views_of_its_images(colour_target: PreparedTarget) -> None:
    whole = TwoViews(colour_target, "train", seed=4, max_images=None, **NORM)
    part = TwoViews(colour_target, "train", seed=4, max_images=5, **NORM)
    assert len(part) == 5 and len(set(part.groups)) == 5
    by_id = {whole.ids[position]: seen[0] for position, seen in views_of(whole, 10).items()}
    for batch in part.batches(np.arange(5), np.roll(np.arange(5), 1), 2, 0):
        for query, position in zip(batch.queries, batch.positions.tolist(), strict=True):
            assert torch.equal(query, by_id[part.ids[position]])


def test_size_and_larger_windows(make_target: Callable[..., PreparedTarget]) -> None:
    images = np.full((2, 12, 12, 1), 100, np.uint8)
    target = make_target(images, images[..., 0], size=(8, 8))
    for size, expected in ((None, (8, 8)), ((4, 6), (4, 6))):
        views = TwoViews(target, "train", seed=0, max_images=None, size=size, **NORM)
        batch = next(views.batches(np.arange(2), np.array([1, 0]), 2, 0))
        assert batch.queries.shape == batch.keys.shape == (2, 3, *expected)
        assert torch.allclose(batch.queries, batch.queries[..., :1, :1])  # a constant image stays constant
        assert all(side.is_contiguous(memory_format=torch.channels_last) for side in (batch.queries, batch.keys))


@pytest.mark.parametrize(
    ("order", "negative", "batch_size", "words"),
    [
        ([0, 0], NEGATIVE, 2, "different images"),
        ([10], NEGATIVE, 2, "different images"),
        (ORDER, NEGATIVE[:9], 2, "10 negatives"),
        (ORDER, np.arange(10), 2, "image 0 is its own"),
        (ORDER, NEGATIVE, 0, "at least 1"),
    ],
)
def test_wrong_pairings_are_refused(colour_target: PreparedTarget, order: Any, negative: Any, batch_size: int, words: str) -> None:
    views = TwoViews(colour_target, "train", seed=4, max_images=None, **NORM)
    with pytest.raises(ValueError, match=words):
        views.batches(np.asarray(order), np.asarray(negative), batch_size, 0)


def test_selected_images_are_spread_over_groups() -> None:
    groups = ["a"] * 10 + ["b"] * 3 + ["c"]
    chosen = select_images(groups, 6, 0)
    assert Counter(groups[place] for place in chosen) in ({"a": 3, "b": 2, "c": 1}, {"a": 2, "b": 3, "c": 1})
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(chosen, select_images(groups, 6, 0))
    assert any(not np.array_equal(chosen, select_images(groups, 6, seed)) for seed in range(1, 5))


def test_all_images_when_there_are_no_more() -> None:
    for max_images in (None, 3, 99):
        assert np.array_equal(select_images(["a", "a", "b"], max_images, 0), [0, 1, 2])
    with pytest.raises(ValueError, match="at least 1"):
        select_images(["a"], 0, 0)


def test_windows_are_cut_on_the_fly_and_mapped_pages_let_go(make_target: Callable[..., PreparedTarget]) -> None:
    """Many overlapping windows of one image: the views show its pixels; memory holds a batch, not the windows, nor the image."""
    image = np.random.default_rng(0).integers(0, 256, (1, 512, 1024, 3), dtype=np.uint8)  # 1.5 MiB
    boxes = [(0, top, left, 64, 64) for top in range(0, 449, 16) for left in range(0, 961, 16)]  # 21 MiB if they were stored
    target = make_target(image, image[..., 0], size=(64, 64), windows=boxes)
    views = TwoViews(target, "train", seed=4, max_images=None, **NORM)
    count = len(views)
    tracemalloc.start()
    plan = np.arange(count), np.roll(np.arange(count), 1)
    batch = next(views.batches(*plan, 8, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(boxes) == 1769 and peak < 3 * 2**20
    top, left = boxes[3][1:3]
    pixels = to_images(image[:, top : top + 64, left : left + 64])
    torch.testing.assert_close(batch.queries[3:4], normalise(jitter(pixels, draw_jitter(count, 4, 0, 0)[3:4]), **NORM))
    assert _resident(target) == 0


def _resident(target: PreparedTarget) -> int:
    """Return the KiB of images.npy that this process's memory holds, by the kernel's own account."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(target.folder / "images.npy"))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


def test_views_of_other_channels_repeat_mean_and_std(make_target) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(4, 16, 16, 5), dtype=np.uint8)
    target = make_target(pixels, (pixels[..., 0] > 127).astype(np.uint8), size=(16, 16))
    views = TwoViews(target, "train", mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3], seed=4, max_images=None)
    mean, std = (np.array([a, b, c, a, b]).reshape(5, 1, 1) for a, b, c in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    plain = pixels.transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(views.images(np.arange(4)), (plain - mean) / std, atol=1e-5)
    (batch,) = views.batches(np.arange(4), np.array([1, 0, 3, 2]), 4, 2)
    moved = jitter(torch.tensor(plain, dtype=torch.float32), draw_jitter(4, 4, 2, 0, channels=5))
    np.testing.assert_allclose(batch.queries, (moved.numpy() - mean) / std, atol=1e-5)

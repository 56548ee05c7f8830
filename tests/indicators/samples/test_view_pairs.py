"""Pooled embeddings of views: means by hand, in any batches, of at most so many images."""

import numpy as np
import pytest
import torch

from medtransfer.indicators.contract import Batch, Context, Options, ViewMaps
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.samples.view_pairs import ViewPairs, Views, view_pairs

RNG = np.random.default_rng(0)
MAPS = torch.from_numpy(RNG.normal(size=(4, 6, 5, 2, 3)).astype(np.float32))  # (V, N, D, h, w)


def sample(most: int = 100, batch: int = 6, maps: torch.Tensor = MAPS, seed: int = 0) -> Views:
    """Pass both repeats; the keys have one more row, a negative of another batch."""
    pairs = ViewPairs(6, 2, -1, most, seed)
    for repeat in (0, 1):
        for start in range(0, 6, batch):
            rows = [(start + offset) % 6 for offset in range(batch + 1)]
            queries, keys = maps[2 * repeat, rows[:-1]], maps[2 * repeat + 1, rows]
            views = ViewMaps(repeat, [queries], [keys], torch.zeros(batch, dtype=torch.int64))
            pairs.update(Batch(np.array(rows[:-1]), views=views))
    return pairs.collect()


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_views_are_averaged_over_pixels_and_in_the_order_of_repeats(batch):
    views = sample(batch=batch)
    assert views.images.tolist() == list(range(6)) and views.flags == {}
    assert views.features == pytest.approx(MAPS.mean((3, 4)).numpy().swapaxes(0, 1), abs=1e-6)  # (N, V, D)


def test_of_many_images_a_seeded_choice_is_kept():
    few, all_of_them = sample(most=3), sample()
    assert len(few.images) == 3 and np.array_equal(few.features, all_of_them.features[few.images])
    assert np.array_equal(sample(most=3, batch=2).images, few.images)
    assert len({tuple(sample(most=3, seed=seed).images) for seed in range(5)}) > 1


def test_images_whose_views_are_not_finite_are_zeros_and_counted():
    maps = MAPS.clone()
    maps[1, 2, 0, 0, 0], maps[2, 2] = torch.nan, torch.inf
    views = sample(maps=maps)
    assert views.flags == {"nonfinite": 1} and not views.features[2].any()
    kept = views.keep(views.images != 2)
    assert kept.images.tolist() == [0, 1, 3, 4, 5] and kept.features.all()


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        ViewPairs(6, 2, -1, 10, 0).collect()


def test_indicators_of_one_pass_share_it():
    options = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (), 10)
    context = Context(["a", "b"], ["p", "q"], 1, 0, 1, (), options)
    assert view_pairs(context) is view_pairs(context)

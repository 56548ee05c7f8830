"""Views for pretext tasks: crops, colours, the three kinds of masks, and seeds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medtransfer.data.pretext_views import (
    PretextViews,
    View,
    _paint_in,
    _paint_out,
    _shuffle,
    change_colours,
    mask_pixels,
    random_crop,
)
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.resampling import RESAMPLINGS
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.data.unlabelled_pictures import FolderPictures, open_pictures
from medtransfer.errors import InputError

SIDE = 64


def image(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of two classes, and one beside the classes' folders."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "source" / name)
    return tmp_path / "source"


@pytest.mark.parametrize("seed", range(20))
def test_nothing_outside_the_mask_changes(seed):
    plain = image()
    masked, mask = mask_pixels(plain, np.random.default_rng(seed))
    assert set(mask.unique().tolist()) <= {0.0, 1.0} and mask.shape == (1, SIDE, SIDE)
    assert torch.equal(masked * (1 - mask), plain * (1 - mask))
    assert masked.min() >= 0 and masked.max() <= 1 and (mask.any() or torch.equal(masked, plain))


@pytest.mark.parametrize(("kind", "low", "high"), [("shuffled", 0, 0.33), ("in", 0.33, 0.66), ("out", 0.66, 1)])
def test_the_kind_of_mask_is_drawn_first(kind, low, high):
    """Shuffled views have the view's own pixels; in-painted ones at most five blocks of a fifth; out-painted ones one colour."""
    plain = image()
    seeds = [seed for seed in range(300) if low < np.random.default_rng(seed).random() <= high]
    assert 70 <= len(seeds) <= 130
    for seed in seeds:
        masked, mask = mask_pixels(plain, np.random.default_rng(seed))
        painted = {tuple(pixel) for pixel in masked[:, mask[0] == 1].T.tolist()}
        if kind == "shuffled":
            assert torch.equal(masked.flatten(1).sort(1).values, plain.flatten(1).sort(1).values)
        else:
            assert len(painted) <= (5 if kind == "in" else 1) and (kind == "out" or mask.mean() <= 0.21)


def test_blocks_have_the_stated_sides():
    plain = torch.zeros(3, 100, 100)
    sides: dict[str, set[int]] = {"in": set(), "out": set()}
    for seed in range(200):
        for kind, paint in (("in", _paint_in), ("out", _paint_out)):
            _, mask = paint(plain, np.random.default_rng(seed))
            shown = mask[0] == (1 if kind == "in" else 0)
            sides[kind] |= {int(shown.any(1).sum()), int(shown.any(0).sum())}
    assert min(sides["in"] - {0}) >= 14 and min(sides["out"]) >= 57 and {57, 71} <= sides["out"]
    assert {14, 20} <= sides["in"]
    assert max(int(_shuffle(plain, np.random.default_rng(seed))[1].sum()) for seed in range(50)) <= 15 * 20 * 20


def test_colours_stay_in_range_and_often_change():
    changed, grey = 0, 0
    for seed in range(200):
        moved = change_colours(image(), np.random.default_rng(seed))
        assert moved.min() >= 0 and moved.max() <= 1 + 1e-6 and moved.shape == (3, SIDE, SIDE)
        changed += not torch.equal(moved, image())
        grey += bool((moved[0] - moved[1]).abs().max() < 1e-5)
    assert 175 <= changed <= 195  # 1 - .2 * .8 * .5 of 200 is 184
    assert 22 <= grey <= 60  # .2 of 200


@pytest.mark.parametrize("resampling", RESAMPLINGS.values(), ids=RESAMPLINGS)
def test_crops_have_the_stated_areas_and_aspects(resampling):
    """The picture's channels are its coordinates, so that a crop tells its own box."""
    rows, columns = np.mgrid[0:200, 0:240]
    pixels = np.stack([rows, columns, 0 * rows], 2).astype(np.uint8)
    picture = torch.from_numpy(pixels) if resampling.name == "torch" else Image.fromarray(pixels)
    areas, aspects = [], []
    for seed in range(300):
        crop = np.moveaxis(random_crop(picture, 32, 0.25, np.random.default_rng(seed), resampling).astype(float), -1, 0)
        tall, wide = ((crop[axis].max() - crop[axis].min()).item() * 32 / 31 for axis in (0, 1))
        areas.append(tall * wide / (200 * 240))
        aspects.append(wide / tall)
    assert 0.22 <= min(areas) < 0.3 and 0.8 < max(areas) <= 1.03
    assert min(aspects) >= 0.7 and max(aspects) <= 1.4


def test_items_depend_on_seed_epoch_and_index_alone(root):
    views, again = (PretextViews(open_pictures(root, "train"), 32, 7, views=2, smallest=0.2) for _ in range(2))
    first = views[1]
    views[0], views[2]
    assert first.shape == (2, 10, 32, 32) and torch.equal(first, again[1]) and not torch.equal(first[0], first[1])
    views.set_epoch(1)
    assert not torch.equal(first, views[1])
    assert not torch.equal(first, PretextViews(open_pictures(root, "train"), 32, 8, views=2, smallest=0.2)[1])
    plain = PretextViews(open_pictures(root, "train"), 32, 7, views=2, smallest=0.2, colours=False, masks=False)[1]
    assert plain.shape == (2, 32, 32, 3) and plain.dtype == torch.uint8
    view = View.split(first)
    assert torch.equal(view.masked * (1 - view.mask), view.plain * (1 - view.mask))


def test_an_imagefolder_is_read_without_its_labels(root):
    options = {"mean": (0,) * 3, "std": (1,) * 3, "train": False, "randaugment": None, "seed": 1}
    labelled, plain = SourceImages(root, "train", 32, **options), FolderPictures(root, "train")
    assert len(plain) == len(labelled) == 3 and source_fingerprint(root, "classes") == source_fingerprint(root, "pictures")
    assert all(list(plain.picture(i).getdata()) == list(labelled.picture(i).getdata()) for i in range(3))
    before = source_fingerprint(root, "classes")
    (root / "train/a/1.png").rename(root / "train/3.png")  # pictures need no class
    assert len(FolderPictures(root, "train")) == 3 and source_fingerprint(root, "pictures") != before


def test_a_source_without_validation_pictures_is_refused(root):
    (root / "val").rename(root / "validation")
    with pytest.raises(InputError, match="val is not a folder; name the folder above train and val, or a prepared target"):
        open_pictures(root, "train")

"""Indicators with labels on targets whose images have one label each."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.indicators.test_registry import CONTRACT, OPTIONS, VIEWS, Broken, Flat, Patches, same, score
from tests.tasks.label_targets import relabel

from medtransfer.data.views import TwoViews
from medtransfer.indicators.contract import Context
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.requirements import fits
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.records import IGNORE, UNCERTAIN, PreparedTarget

OF_IMAGES = [name for name in INDICATORS if "one" in INDICATORS[name].labels]
OF_SEVERAL = [name for name in INDICATORS if "several" in INDICATORS[name].labels]
MASKS_ONLY = {"ccfv", "ccfv_raw", "lbtc", "lbtc_corrected", "gradients"}


LABELS = np.array([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])


@pytest.fixture
def labelled(make_target: Callable[..., PreparedTarget]) -> PreparedTarget:
    """Return a target of twelve images of four patients and three classes, of which each is darker than the one before."""
    target = make_target(12, "aaabbbcccddd")
    images = np.load(target.folder / "images.npy")
    np.save(target.folder / "images.npy", images // (1 + LABELS[:, None, None, None]).astype(np.uint8))
    return relabel(target, "multiclass", target.folder, LABELS)


def test_all_but_those_that_compare_pixels_fit(labelled: PreparedTarget) -> None:
    assert {name for name in INDICATORS if not fits(INDICATORS[name], labelled)} == MASKS_ONLY


def test_several_labels_of_an_image_fit_all_but_source_heads(make_target: Callable[..., PreparedTarget]) -> None:
    target = make_target(6)
    several = relabel(target, "multilabel", target.folder, np.eye(6, 3))
    assert {name for name in INDICATORS if not fits(INDICATORS[name], several)} == MASKS_ONLY | {"leep", "nce"}


@pytest.mark.parametrize("level", [-1, -2])
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_an_image_counts_with_the_mean_of_its_map(labelled: PreparedTarget, name: str, level: int) -> None:
    images = TwoViews(labelled, "train", seed=4, max_images=None, **CONTRACT)
    everything = np.arange(len(images.ids))
    pooled = Patches()(images.images(everything))[level].detach().double().mean((2, 3)).numpy()
    labels = images.labels(everything).numpy().ravel().astype(np.int64)
    options = replace(OPTIONS, robustness=replace(OPTIONS.robustness, level=level))
    context = Context(images.ids, images.groups, 3, VIEWS.seed, 1, (), options, labels="one")
    expected = INDICATORS[name].measure(Pixels(pooled, labels, everything), context)[0]
    (row, *_) = score([INDICATORS[name]], Patches(), labelled, options=options)[name].scores
    assert row.number == pytest.approx(expected, rel=1e-4) and math.isfinite(expected)
    assert row.setting == {"level": level, "pixels": OPTIONS.pixels}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_batches_and_other_indicators_change_nothing(labelled: PreparedTarget, name: str) -> None:
    alone = score([INDICATORS[name]], Patches(), labelled)[name]
    same(score([INDICATORS[one] for one in OF_IMAGES], Patches(), labelled)[name], alone)
    cut = score([INDICATORS[name]], Patches(), labelled, 5)[name]
    assert [row.number for row in cut.scores] == pytest.approx([row.number for row in alone.scores], abs=1e-5)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_constant_encoder_is_not_preferred(labelled: PreparedTarget, name: str) -> None:
    value, constant = (score([INDICATORS[name]], encoder, labelled)[name].scores[0].number for encoder in (Patches(), Flat()))
    assert math.isnan(constant) or value > constant


def test_a_class_has_at_most_its_share_of_the_sample(labelled: PreparedTarget) -> None:
    """One image of each class spans three of six dimensions."""
    few, whole = (
        score([INDICATORS["logme"]], Patches(), labelled, options=replace(OPTIONS, pixels=pixels))["logme"].scores[0]
        for pixels in (3, 60)
    )
    assert few.flags["rank_deficit"] == 3 and "rank_deficit" not in whole.flags


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_of_several_labels_each_counts_where_it_is_known(make_target: Callable[..., PreparedTarget], name: str) -> None:
    """The first is unknown for one image, the second uncertain, which the rule takes for true; all images have the third."""
    target = make_target(12, "aaabbbcccddd")
    images = np.load(target.folder / "images.npy")
    np.save(target.folder / "images.npy", images // (1 + LABELS[:, None, None, None]).astype(np.uint8))
    labels = np.stack([LABELS == 0, LABELS > 1, np.ones(12)], axis=1).astype(np.uint8)
    labels[4, 0], labels[2, 1] = IGNORE, UNCERTAIN
    target = relabel(target, "multilabel", target.folder, labels, settings={"options": {"uncertain": "lsr-ones"}})
    views = TwoViews(target, "train", seed=4, max_images=None, **CONTRACT)
    everything = np.arange(12)
    embeddings = Patches()(views.images(everything))[-1].detach().double().mean((2, 3)).numpy()
    context = Context(views.ids, views.groups, 3, VIEWS.seed, 1, (), OPTIONS, labels="several")
    known = everything[np.arange(12) != 4]
    parts = [Pixels(embeddings[known], (LABELS == 0).astype(np.int64)[known], known),
             Pixels(embeddings, (LABELS > 1).astype(np.int64), everything)]  # fmt: skip
    expected = np.mean([INDICATORS[name].measure(part, context)[0] for part in parts])
    (row, *terms) = score([INDICATORS[name]], Patches(), target)[name].scores
    assert row.number == pytest.approx(expected, rel=1e-4) and row.flags["undefined_labels"] == 1
    assert [term.number for term in terms] == pytest.approx(
        [
            np.mean([INDICATORS[name].measure_terms(part, context)[2][str(term.setting["term"])] for part in parts])
            for term in terms
        ],
        rel=1e-4,
    )


def test_a_sample_of_several_labels_is_of_all_images_alike(make_target: Callable[..., PreparedTarget]) -> None:
    """Five images span five of six dimensions, whatever their three labels are."""
    target, number = make_target(12), np.arange(12)
    target = relabel(target, "multilabel", target.folder, np.stack([number % 2, number % 2 == 0, number // 2 % 2], axis=1))
    (row,) = score([INDICATORS["logme"]], Patches(), target, options=replace(OPTIONS, pixels=5))["logme"].scores
    assert row.flags == {"rank_deficit": 1}
    (broken,) = score([INDICATORS["logme"]], Broken(), target)["logme"].scores
    assert broken.flags["nonfinite"] > 0 and math.isfinite(broken.number)

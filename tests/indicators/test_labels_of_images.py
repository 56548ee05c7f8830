"""Indicators with labels on targets whose images have one label each."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.indicators.test_registry import CONTRACT, OPTIONS, VIEWS, Broken, Flat, Patches, same, score
from tests.tasks.label_targets import relabel

from medtransfer.data.views import TwoViews
from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.requirements import fits
from medtransfer.indicators.samples.labelled_images import LabelledImages
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.records import IGNORE, UNCERTAIN, PreparedTarget
from medtransfer.records.scores import Score

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


@pytest.mark.parametrize(("level", "rule"), [(-1, "lsr-ones"), (-2, "lsr-zeros")])
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_of_several_labels_each_counts_where_it_is_known(
    make_target: Callable[..., PreparedTarget], name: str, level: int, rule: str
) -> None:  # fmt: skip
    """The first is unknown for one image, the second uncertain, which a rule decides; all images have the third."""
    target = make_target(12, "aaabbbcccddd")
    images = np.load(target.folder / "images.npy")
    np.save(target.folder / "images.npy", images // (1 + LABELS[:, None, None, None]).astype(np.uint8))
    labels = np.stack([LABELS == 0, LABELS > 1, np.ones(12)], axis=1).astype(np.uint8)
    labels[4, 0], labels[2, 1] = IGNORE, UNCERTAIN
    target = relabel(target, "multilabel", target.folder, labels, settings={"options": {"uncertain": rule}})
    views = TwoViews(target, "train", seed=4, max_images=None, **CONTRACT)
    everything = np.arange(12)
    embeddings = Patches()(views.images(everything))[level].detach().double().mean((2, 3)).numpy()
    options = replace(OPTIONS, robustness=replace(OPTIONS.robustness, level=level))
    context = Context(views.ids, views.groups, 3, VIEWS.seed, 1, (), options, labels="several")
    known = everything[np.arange(12) != 4]
    second = (LABELS > 1).astype(np.int64)
    second[2] = rule == "lsr-ones"
    parts = [Pixels(embeddings[known], (LABELS == 0).astype(np.int64)[known], known), Pixels(embeddings, second, everything)]
    expected = np.mean([INDICATORS[name].measure(part, context)[0] for part in parts])
    (row, *terms) = score([INDICATORS[name]], Patches(), target, options=options)[name].scores
    assert row.number == pytest.approx(expected, rel=1e-4) and row.flags["undefined_labels"] == 1
    assert [term.number for term in terms] == pytest.approx(
        [
            np.mean([INDICATORS[name].measure_terms(part, context)[2][str(term.setting["term"])] for part in parts])
            for term in terms
        ],
        rel=1e-4,
    )


@pytest.fixture
def three_labels(make_target: Callable[..., PreparedTarget]) -> Callable[..., PreparedTarget]:
    """Return a function that gives 24 images of 8 patients three labels, the first as told, and other settings if need be."""

    def build(first: np.ndarray, **changed: object) -> PreparedTarget:
        target, number = make_target(24, "".join(3 * letter for letter in "abcdefgh")), np.arange(24)
        return relabel(target, "multilabel", target.folder, np.stack([first, number % 2, number // 2 % 2], axis=1), **changed)

    return build


def sample_of(target: PreparedTarget, most: int, seed: int = 0) -> Pixels:
    """Return the sample of the target's images, in batches of five, whose embeddings are their positions and a sixteenth."""
    views = TwoViews(target, "train", seed=4, max_images=None, **CONTRACT)
    sampler, everything = LabelledImages(tuple(views.ids), -1, most, seed), np.arange(24)
    for positions in np.split(everything, [5, 10, 15, 20]):
        maps = (torch.tensor(positions)[:, None, None, None] + torch.tensor([[0, 0], [0, 0.25]])).to(torch.bfloat16)
        sampler.update(Batch(positions, features=[maps], labels=views.labels(positions)))
    return sampler.collect()


def test_a_sample_of_several_labels_is_balanced_for_each(three_labels: Callable[..., PreparedTarget]) -> None:
    """Of each label as many images of either value as of a target with that label alone, a rare one's all; an unknown one none."""
    first = np.zeros(24, dtype=np.uint8)
    first[[3, 20]], first[7] = 1, IGNORE
    sample = sample_of(three_labels(first), 8)
    assert (np.sort(sample.images) == sample.images).all() and (sample.features[:, 0] == sample.images + 1 / 16).all()
    assert [np.bincount(part.labels).tolist() for part in sample.by_label()] == [[4, 2], [4, 4], [4, 4]]
    number = np.arange(24)
    for values, part in zip((first, number % 2, number // 2 % 2), sample.by_label(), strict=True):
        assert (values[part.images] == part.labels).all()
    assert set(sample.by_label()[0].images[sample.by_label()[0].labels == 1]) == {3, 20}
    kept = [frozenset(sample_of(three_labels(first), 8, seed).images) for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    assert sorted(sample_of(three_labels(first), 100).images) == list(range(24))


def test_a_label_that_a_block_of_patients_has_alone_counts_in_no_mean(three_labels: Callable[..., PreparedTarget]) -> None:
    """Else the means without a block were of fewer labels, and their spread that between labels."""
    alone, number = np.arange(24) < 2, np.arange(24)
    few = make_score(three_labels(alone))
    assert few.flags["undefined_labels"] == 1 and few.error is not None
    constant = make_score(three_labels(np.ones(24)))
    assert (few.number, few.error) == (constant.number, constant.error) and constant.flags["undefined_labels"] == 1
    assert "undefined_labels" not in make_score(three_labels(number % 3 == 0)).flags


def test_labels_that_no_other_block_has_give_a_value_without_error(make_target: Callable[..., PreparedTarget]) -> None:
    target = make_target(24, "".join(3 * letter for letter in "abcdefgh"))
    row = make_score(relabel(target, "multilabel", target.folder, np.repeat((np.arange(24) < 2)[:, None], 3, axis=1)))
    assert row.value is not None and row.error is None and "undefined_labels" not in row.flags


def make_score(target: PreparedTarget) -> Score:
    views = replace(VIEWS, blocks=8)
    return score([INDICATORS["ridge"]], Patches(), target, views=views)["ridge"].scores[0]


def test_flags_are_there_without_a_value(three_labels: Callable[..., PreparedTarget]) -> None:
    row = score([INDICATORS["ncti"]], Flat(), three_labels(np.ones(24)))["ncti"].scores[0]
    assert row.value is None and row.flags == {"constant": 1, "undefined": 1, "undefined_labels": 3}


def test_a_broken_image_counts_as_zeros(three_labels: Callable[..., PreparedTarget]) -> None:
    (broken,) = score([INDICATORS["logme"]], Broken(), three_labels(np.arange(24) % 3 == 0))["logme"].scores
    assert broken.flags["nonfinite"] > 0 and math.isfinite(broken.number)


def test_one_label_has_no_value(make_target: Callable[..., PreparedTarget]) -> None:
    target = make_target(12, "aaabbbcccddd")
    target = relabel(target, "multiclass", target.folder, np.zeros(12))
    for name in OF_IMAGES:
        row = score([INDICATORS[name]], Patches(), target)[name].scores[0]
        assert row.value is None and row.flags["undefined"] == 1, name

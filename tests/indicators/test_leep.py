"""LEEP and NCE against published values, loops, and scikit-learn's mutual information."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import mutual_info_score
from tests.indicators.test_registry import CONTRACT, OPTIONS, VIEWS, Patches
from tests.indicators.test_registry import head as source_head

from medtransfer.data.views import TwoViews
from medtransfer.encoders.source_head import NoHead
from medtransfer.errors import InputError
from medtransfer.indicators.leep import leep, nce
from medtransfer.indicators.registry import find_indicators
from medtransfer.indicators.requirements import require_labels
from medtransfer.indicators.streamed_pass import measure
from medtransfer.records import PreparedTarget


def with_labels(target: PreparedTarget, task: str, classes: list[str]) -> tuple[PreparedTarget, np.ndarray]:
    """Return the target of eight images with labels in place of masks, and the labels."""
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 1], np.uint8)
    replace(target.info, task=task, classes=classes, arrays={"labels.npy": ""}).write(target.folder / "dataset.json")
    np.save(target.folder / "labels.npy", labels)
    return PreparedTarget.open(target.folder), labels


def head(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 5) of source classes and labels of the published set of test values."""
    i, s = np.ogrid[:n, :5]
    labels = np.arange(n) % 3
    return softmax(np.sin(0.9 * (i + 1) * (s + 1)) + 1.5 * (labels[:, None] == s % 3), axis=1), labels


@pytest.mark.parametrize(("n", "expected", "conditional"), [(60, -0.7315667920, -0.2900375836), (20, -0.7272216868, -0.3500346637)])
def test_published_values(n, expected, conditional):
    assert leep(*head(n)) == (pytest.approx(expected, abs=1e-8), {})
    assert nce(*head(n))[0] == pytest.approx(conditional, abs=1e-8)


def test_definitions():
    probabilities, labels = head(20)
    joint = np.zeros((3, 5))
    for p, y in zip(probabilities, labels, strict=True):
        joint[y] += p / 20
    logs = [
        np.log(sum(joint[y, z] / joint[:, z].sum() * p[z] for z in range(5))) for p, y in zip(probabilities, labels, strict=True)
    ]
    assert leep(probabilities, labels)[0] == pytest.approx(np.mean(logs))
    shares = np.bincount(labels) / 20
    entropy = -(shares * np.log(shares)).sum()
    assert nce(probabilities, labels)[0] == pytest.approx(mutual_info_score(labels, probabilities.argmax(1)) - entropy)


@pytest.mark.parametrize("score", [leep, nce])
def test_a_source_class_without_mass_adds_nothing(score):
    probabilities, labels = head(60)
    wider = np.insert(probabilities, 2, 0.0, axis=1)
    value, flags = score(probabilities, labels)
    assert score(wider, labels) == (pytest.approx(value), {"empty_source_classes": flags.get("empty_source_classes", 0) + 1})
    assert score(np.eye(3)[labels], np.array([5, 2, 9])[labels])[0] == pytest.approx(0)
    assert score(np.ones((60, 1)), labels)[0] == pytest.approx(-np.log(3))


@pytest.mark.parametrize("score", [leep, nce])
def test_what_are_no_probabilities_is_refused(score):
    probabilities, labels = head(20)
    with pytest.raises(ValueError, match="expected rows of probabilities.* but got 20 of 20 rows"):
        score(np.log(probabilities), labels)
    with pytest.raises(ValueError, match=r"but got \(20,\)"):
        score(labels, probabilities)


def score(target, head, options=OPTIONS, blocks=0):
    views = replace(VIEWS, blocks=blocks)
    return measure(
        find_indicators(["leep", "nce"], "key"), Patches(), target, views, options, contract=CONTRACT, batch_size=4,
        device=torch.device("cpu"), autocast=nullcontext, label="test", head=head,
    )  # fmt: skip


@pytest.mark.parametrize("level", [-1, -2])
def test_every_pixel_has_the_softmax_of_the_head_at_its_position(make_target, level):
    """All 32 x 32 images, whose last level has 4 x 4 positions; of the finer level 2 x 2 pixels share one."""
    target, stride = make_target(5), 8 if level == -1 else 4
    images = TwoViews(target, "train", seed=4, max_images=None, **CONTRACT)
    last, linear = Patches()(images.images(np.arange(5)))[-1].detach().numpy(), source_head().layers[0]
    masks = images.labels(np.arange(5)).numpy()
    rows = [
        (linear.weight.detach().numpy() @ last[i, :, y // 8, x // 8] + linear.bias.detach().numpy(), masks[i, y, x])
        for i in range(5) for y in range(0, 32, stride) for x in range(0, 32, stride)
    ]  # fmt: skip
    probabilities, labels = softmax(np.array([row[0] for row in rows]), axis=1), np.array([row[1] for row in rows])
    options = replace(OPTIONS, robustness=replace(OPTIONS.robustness, level=level), pixels=3000)  # all are in the sample
    measured = score(target, source_head(), options)
    for name, function in (("leep", leep), ("nce", nce)):
        (row,) = measured[name].scores
        assert (row.value, row.setting) == (
            pytest.approx(function(probabilities, labels)[0], abs=1e-5),
            {"level": level, "pixels": 3000},
        )


@pytest.mark.parametrize(("task", "classes"), [("multiclass", ["a", "b", "c"]), ("binary", ["ill"])])
def test_of_labelled_images_each_has_the_softmax_of_the_mean(make_target, task, classes):
    target, labels = with_labels(make_target(8), task, classes)
    images = TwoViews(target, "train", seed=4, max_images=None, **CONTRACT)
    pooled, linear = Patches()(images.images(np.arange(8)))[-1].detach().numpy().mean((2, 3)), source_head().layers[0]
    probabilities = softmax(pooled @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), axis=1)
    measured = score(target, source_head())
    for name, function in (("leep", leep), ("nce", nce)):
        assert measured[name].scores[0].value == pytest.approx(function(probabilities, labels)[0], abs=1e-5)


def test_labels_of_images_serve_what_needs_no_pixels(make_target):
    target, _ = with_labels(make_target(8), "binary", ["ill"])
    require_labels(find_indicators(["leep", "logme", "ridge"], "key"), target, "key")
    with pytest.raises(InputError, match=r"expected masks.npy among the arrays in [^,]*, which ccfv needs, but got labels.npy;"):
        require_labels(find_indicators(["leep", "ccfv"], "key"), target, "key")
    several, _ = with_labels(target, "multilabel", ["a", "b"])
    require_labels(find_indicators(["logme", "ridge"], "key"), several, "key")
    with pytest.raises(InputError, match="or one label for each image, which leep needs, but got labels.npy; name another one"):
        require_labels(find_indicators(["logme", "leep"], "key"), several, "key")


def test_without_a_head_they_are_not_defined_and_the_reason_is_said(make_target, caplog):
    measured = score(make_target(5), NoHead("its classifier has a single output"), blocks=3)
    assert "test: leep and nce not measured, since there is no softmax head: its classifier has a single output" in caplog.text
    for name in ("leep", "nce"):
        (row,) = measured[name].scores
        assert (row.value, row.error, row.replicates, row.flags) == (None, None, [], {"no_source_head": 1, "undefined": 1})


def test_of_one_class_they_are_not_defined(make_target):
    target = make_target(5)
    np.save(target.folder / "masks.npy", np.zeros((5, 32, 32), np.uint8))
    measured = score(PreparedTarget.open(target.folder), source_head())
    assert {result.scores[0].value for result in measured.values()} == {None}


def test_patients_that_are_left_out_give_the_error(make_target):
    measured = score(make_target(9, "aaabbbccc"), source_head(), blocks=3)
    for result in measured.values():
        (row,) = result.scores
        spread = np.array(row.replicates) - np.mean(row.replicates)
        assert len(row.replicates) == 3 and row.error == pytest.approx(np.sqrt(2 / 3 * (spread**2).sum()))

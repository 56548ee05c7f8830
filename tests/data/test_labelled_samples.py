"""Images with labels: rules for uncertain labels, ten crops, and labels that are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tasks.label_targets import relabel, several, uncertain

from medtransfer import study
from medtransfer.config import Params
from medtransfer.data.labelled_samples import LabelledSamples
from medtransfer.errors import InputError
from medtransfer.records import IGNORE, UNCERTAIN, PreparedTarget

CONTRACT = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "seed": 3}


@pytest.fixture(scope="module")
def masks(shared_workplace: Path, tiny_params: Callable[..., Params]) -> PreparedTarget:
    """Prepare a target with masks."""
    return study.prepare(tiny_params())


def with_uncertain(masks: PreparedTarget, folder: Path, rule: str | None) -> PreparedTarget:
    options = {} if rule is None else {"uncertain": rule}
    return relabel(masks, "multilabel", folder, uncertain(masks), settings={**masks.info.settings, "options": options})


@pytest.mark.parametrize(("rule", "low", "high", "evaluated"), [("lsr-ones", 0.55, 0.85, 1), ("lsr-zeros", 0.0, 0.3, 0)])
def test_uncertain_labels_are_drawn_for_training_and_whole_otherwise(rule, low, high, evaluated, masks, tmp_path):
    target = with_uncertain(masks, tmp_path / "target", rule)
    samples = LabelledSamples(target, "train", augment=True, **CONTRACT)
    is_uncertain = samples.labels == UNCERTAIN
    assert is_uncertain.any()
    seen = []
    for epoch in (1, 2):
        samples.set_epoch(epoch)
        labels = np.stack([samples[i][1].numpy() for i in range(len(samples))])
        assert np.array_equal(labels[~is_uncertain], samples.labels[~is_uncertain])
        drawn = labels[is_uncertain]
        assert ((drawn >= low) & (drawn <= high)).all() and len(set(drawn.tolist())) == len(drawn)
        assert np.array_equal(labels, np.stack([samples[i][1].numpy() for i in range(len(samples))]))
        seen.append(drawn)
    assert not set(seen[0].tolist()) & set(seen[1].tolist())
    plain = LabelledSamples(target, "train", augment=False, **CONTRACT)
    assert (plain.labels[is_uncertain] == evaluated).all() and (plain.labels[~is_uncertain] == samples.labels[~is_uncertain]).all()


def test_labels_do_not_change_the_augmented_image(masks, tmp_path):
    target = with_uncertain(masks, tmp_path / "target", "lsr-ones")
    labelled = LabelledSamples(target, "train", augment=True, **CONTRACT)
    certain = LabelledSamples(
        relabel(masks, "multilabel", tmp_path / "certain", several(masks)), "train", augment=True, **CONTRACT
    )  # fmt: skip
    assert torch.equal(labelled[0][0], certain[0][0])
    assert certain[0][1].dtype == torch.float32 and set(np.unique(certain.labels)) == {0, 1, IGNORE}


def test_ten_crops_are_the_corners_the_centre_and_their_mirror_images(masks, tmp_path):
    target = relabel(masks, "binary", tmp_path / "large", input=[24, 24])
    stored = target.images[target.samples("test")["row"][0]]  # (32, 32, C)
    crops, label, _ = LabelledSamples(target, "test", augment=False, ten_crop=True, **CONTRACT)[0]
    assert crops.shape == (10, 24, 24, 3) and label in (0, 1)
    for crop, (top, left) in zip(crops, [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)], strict=False):
        window = torch.tensor(stored[top : top + 24, left : left + 24]).float() / 255
        assert torch.allclose(crop, window.expand(-1, -1, 3), atol=1e-6)
    assert torch.equal(crops[5:], crops[[1, 0, 3, 2, 4]].flip(-2))  # of the mirrored image, whose left is the right one
    same = relabel(masks, "binary", tmp_path / "same")
    assert LabelledSamples(same, "test", augment=False, ten_crop=True, **CONTRACT)[0][0].shape == (10, 32, 32, 3)


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        ("binary", 2, "labels 0, 1 in .*labels.npy, but got 2"),
        ("ordinal", 3, "labels 0, 1, 2 in .*labels.npy, but got 3"),
        ("multilabel", 2, "labels 0, 1, 254, 255 in .*labels.npy, but got 2"),
        ("multilabel", UNCERTAIN, "option uncertain in .*dataset.json to be lsr-ones or lsr-zeros, .* but got None"),
    ],
)
def test_unknown_labels_are_refused(task, value, message, masks, tmp_path):
    labels = np.zeros((len(masks.images), 3) if task == "multilabel" else len(masks.images), np.uint8)
    labels[1] = value
    with pytest.raises(InputError, match=message):
        LabelledSamples(relabel(masks, task, tmp_path / "target", labels), "train", augment=False, **CONTRACT)


def test_labels_of_another_shape_are_refused(masks, tmp_path):
    target = relabel(masks, "multilabel", tmp_path / "target", np.zeros((len(masks.images), 2)))
    with pytest.raises(InputError, match=r"uint8 of shape \(\d+, 3\) in .*labels.npy"):
        LabelledSamples(target, "train", augment=False, **CONTRACT)

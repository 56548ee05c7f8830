"""What is said of splits whose images have one label alone, and of classes that are not learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.tasks.label_targets import LABELS, relabel

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.metrics.image_labels import LabelEvaluation
from medtransfer.records import IGNORE, PreparedTarget
from medtransfer.tasks import TASKS


@pytest.fixture(scope="module")
def masked(shared_workplace: Path, tiny_params: Callable[..., Params]) -> PreparedTarget:
    return study.prepare(tiny_params())


def rows(target: PreparedTarget, split: str) -> np.ndarray:
    return target.samples(split)["row"].to_numpy()


def labelled(masked: PreparedTarget, task: str, folder: Path, **values: object) -> PreparedTarget:
    """Return a target with the labels of its task, but in some splits these values, or the images of some classes as others."""
    labels = np.asarray(LABELS[task][1](masked)).astype(np.uint8)
    for split, value in values.items():
        labels[rows(masked, split)] = value
    return relabel(masked, task, folder / task, labels)


@pytest.mark.parametrize(
    ("task", "value", "said"),
    [
        ("binary", 1, "all {} are large"),
        ("binary", 0, "all {} are not large"),
        ("multiclass", 1, "all {} are middle"),
        ("ordinal", 2, "all {} are grade 2"),
        ("multilabel", [1, 0, 0], "all {} have the same known labels (large, not small, not any)"),
        ("multilabel", [IGNORE, 0, 1], "all {} have the same known labels (not small, any)"),
        ("multilabel", IGNORE, "all {} have the same known labels (none)"),
    ],
)
def test_the_label_that_all_images_have_is_named(
    task: str, value: object, said: str, masked: PreparedTarget, tmp_path: Path
) -> None:
    target, number = labelled(masked, task, tmp_path, test=value), len(rows(masked, "test"))
    with pytest.raises(InputError) as refused:
        TASKS[task].check(target, {"train", "test"})
    label = TASKS[task].primary.label
    assert f"since the {label} is undefined otherwise, but {said.format(number)}; take another split" in str(refused.value)


def test_a_class_that_is_not_learned_may_count_in_the_mean(masked: PreparedTarget, tmp_path: Path) -> None:
    """The mean AUC of made-up probabilities, by scikit-learn, has the class that no training image is of."""
    train = np.arange(len(rows(masked, "train"))) % 2
    target = labelled(masked, "multiclass", tmp_path, train=train, test=np.arange(len(rows(masked, "test"))) % 3)
    (note,) = TASKS["multiclass"].check(target, {"train", "test"})
    assert note == (
        f"in the train samples of {target.folder} all or none are large: they are not learned, but count in the mean AUC "
        "of the test samples"
    )
    truth = np.array(target.image_labels)[rows(target, "test")].astype(int)
    made_up = np.random.default_rng(0).dirichlet([1, 1, 1], len(truth))
    evaluation = LabelEvaluation(target.info.classes, "auc", exclusive=True)
    evaluation.update(*map(torch.from_numpy, (made_up, truth)), [f"{row}" for row in range(len(truth))], ["p"] * len(truth))
    mean = np.mean([roc_auc_score(truth == c, made_up[:, c]) for c in range(3)])
    assert evaluation.compute().metrics["auc"] == pytest.approx(mean)


def test_a_class_that_no_judged_split_defines_counts_nowhere(masked: PreparedTarget, tmp_path: Path) -> None:
    values = {split: np.arange(len(rows(masked, split))) % 2 for split in ("train", "test")}
    target = labelled(masked, "multiclass", tmp_path, **values)
    train, test = sorted(TASKS["multiclass"].check(target, {"train", "test"}), reverse=True)
    assert train.endswith("all or none are large: they are not learned")
    assert test.endswith("all or none are large: their AUC is undefined, and left out of the mean")


def test_of_several_classes_those_that_count_are_named(masked: PreparedTarget, tmp_path: Path) -> None:
    """All training images have the last two of three labels, all test images the last."""
    values = {split: [[1, 1, 1], [0, second, 1]] for split, second in (("train", 1), ("test", 0))}
    of_split = {split: np.resize(labels, (len(rows(masked, split)), 3)) for split, labels in values.items()}
    target = labelled(masked, "multilabel", tmp_path, **of_split)
    notes = TASKS["multilabel"].check(target, {"train", "test"})
    assert notes[1].endswith(
        "all or none are small, any: they are not learned, but count in the mean AUC of the test samples (small)"
    )

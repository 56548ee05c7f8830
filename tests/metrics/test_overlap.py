"""Pixel counts and overlap metrics against scikit-learn, a hand-made table and the rules for empty masks."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.metrics.overlap import confusion, most_probable
from medtransfer.records import IGNORE

INDEPENDENT = {
    "jaccard": sk.jaccard_score,
    "mcc": sk.matthews_corrcoef,
    "precision": sk.precision_score,
    "sensitivity": sk.recall_score,
    "specificity": lambda truth, prediction: sk.recall_score(truth, prediction, pos_label=0),
}
quick = settings(max_examples=40)


def counts(tp: int, fp: int, fn: int, tn: int) -> Counts:
    return Counts(*(np.array([[value]]) for value in (tp, fp, fn, tn)))


def labels(seed: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, classes + 1, (4, 5, 6), generator=generator) for _ in range(2))


@quick
@given(st.integers(0, 2**31))
def test_confusion_equals_sklearn(seed):
    prediction, truth = labels(seed)
    table = confusion(prediction, truth.to(torch.uint8), 3)
    for image in range(4):
        expected = sk.multilabel_confusion_matrix(truth[image].flatten(), prediction[image].flatten(), labels=[1, 2, 3])
        matrix = np.stack([table.tn, table.fp, table.fn, table.tp], axis=-1)[image].reshape(3, 2, 2)
        np.testing.assert_array_equal(matrix, expected)
    assert table.tp.dtype == np.int64
    assert table.tp.shape == (4, 3)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_metrics_equal_sklearn(name):
    prediction, truth = labels(5)
    values = OVERLAP[name](confusion(prediction, truth, 3).sum())
    expected = [INDEPENDENT[name]((truth == c).flatten(), (prediction == c).flatten()) for c in (1, 2, 3)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_hand_made_table():
    truth = torch.tensor([[[1, 1, 0], [0, 2, 2]]])
    prediction = torch.tensor([[[1, 0, 0], [1, 2, 1]]])
    table = confusion(prediction, truth, 2)
    parts = [part.tolist() for part in (table.tp, table.fp, table.fn, table.tn)]
    assert parts == [[[1, 1]], [[2, 0]], [[1, 1]], [[2, 4]]]
    assert OVERLAP["dice"](table).tolist() == [[3 / 6, 3 / 4]]
    assert OVERLAP["jaccard"](table).tolist() == [[1 / 4, 1 / 2]]
    assert OVERLAP["dice"](counts(7, 13, 6, 74)).item() == pytest.approx(0.4411764706, abs=1e-10)


EMPTY = {
    # tp, fp, fn, tn: dice, jaccard, mcc, precision, sensitivity, specificity
    "absent": ((0, 0, 0, 9), (1, 1, 1, 1, 1, 1)),
    "only predicted": ((0, 4, 0, 5), (1 / 5, 0, 0, 0, 0, 5 / 9)),
    "only true": ((0, 0, 4, 5), (1 / 5, 0, 0, 0, 0, 1)),
    "predicted everywhere, never true": ((0, 9, 0, 0), (1 / 10, 0, 0, 0, 0, 0)),
    "true everywhere, never predicted": ((0, 0, 9, 0), (1 / 10, 0, 0, 0, 0, 1)),
    "true and predicted everywhere": ((9, 0, 0, 0), (1, 1, 1, 1, 1, 1)),
    "disjoint": ((0, 3, 3, 3), (1 / 7, 0, -1 / 2, 0, 0, 1 / 2)),
}


@pytest.mark.parametrize("case", EMPTY)
def test_rules_for_empty_masks(case):
    cell, expected = EMPTY[case]
    values = {name: formula(counts(*cell)).item() for name, formula in OVERLAP.items()}
    names = ("dice", "jaccard", "mcc", "precision", "sensitivity", "specificity")
    assert values == pytest.approx(dict(zip(names, expected, strict=True)))


@pytest.mark.parametrize("name", OVERLAP)
@quick
@given(cell=st.tuples(*[st.integers(0, 10**9)] * 4))
def test_always_finite_and_within_bounds(name, cell):
    with np.errstate(all="raise"):
        value = OVERLAP[name](counts(*cell)).item()
    assert (-1 if name == "mcc" else 0) <= value <= 1


def test_groups_and_sums_pool_counts():
    table = confusion(*labels(6), 3)
    groups = table.by_group(["b", "a", "b", "a"])
    np.testing.assert_array_equal(groups.fp, [table.fp[0] + table.fp[2], table.fp[1] + table.fp[3]])
    np.testing.assert_array_equal(groups.tn.sum(axis=0), table.sum().tn)
    halves = [Counts(*(part[s] for part in (table.tp, table.fp, table.fn, table.tn))) for s in (slice(1), slice(1, 4))]
    np.testing.assert_array_equal(Counts.concatenate(halves).fn, table.fn)
    with pytest.raises(ValueError, match="each of 4 images, but got 1"):
        table.by_group(["a"])


@quick
@given(st.lists(st.sampled_from("cabxyz"), min_size=1, max_size=30), st.integers(0, 2**31))
def test_groups_equal_those_of_pandas(keys, seed):
    cells = np.random.default_rng(seed).integers(0, 10**12, (4, len(keys), 2))
    groups = Counts(*cells).by_group(keys)
    for part, cell in zip((groups.tp, groups.fp, groups.fn, groups.tn), cells, strict=True):
        np.testing.assert_array_equal(part, pd.DataFrame(cell).groupby(keys, sort=False).sum())


@quick
@given(st.integers(0, 2**31), st.integers(2, 6), st.booleans())
def test_the_most_probable_class_is_numpys_first_highest(seed, classes, channels_last):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (3, classes, 5, 6)).astype(np.float32) / 4  # with many ties
    layout = torch.channels_last if channels_last else torch.contiguous_format
    labels = most_probable(torch.from_numpy(values).contiguous(memory_format=layout))
    assert labels.dtype == torch.uint8
    np.testing.assert_array_equal(labels.numpy(), values.argmax(axis=1))


@quick
@given(st.integers(0, 2**31))
def test_ignored_pixels_are_not_counted(seed):
    prediction, truth = labels(seed)
    truth[torch.from_numpy(np.random.default_rng(seed).random(truth.shape) < 0.3)] = IGNORE
    table = confusion(prediction, truth.to(torch.uint8), 3, [[1, 3]])
    for image in range(4):
        known = truth[image] != IGNORE
        t, p = truth[image][known].numpy(), prediction[image][known].numpy()
        for column, members in enumerate(([1], [2], [3], [1, 3])):
            expected = sk.confusion_matrix(np.isin(t, members), np.isin(p, members), labels=[False, True]).ravel()
            np.testing.assert_array_equal([part[image, column] for part in (table.tn, table.fp, table.fn, table.tp)], expected)
    assert table.pixels == int((truth != IGNORE).sum())


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long(), "of one shape"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), "of one shape"),
        (torch.zeros(0, 2, 2).long(), torch.zeros(0, 2, 2).long(), "of one shape"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), "the prediction is torch.float32"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 254), "labels 0..2, but the truth holds 254"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 3).byte(), "labels 0..2, but the truth holds 3"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 256), "labels 0..2, but the truth holds 256"),
        (torch.full((1, 2, 2), 3).byte(), torch.zeros(1, 2, 2).byte(), "the prediction holds 3"),
        (torch.full((1, 2, 2), -1), torch.zeros(1, 2, 2).long(), "the prediction holds -1"),
    ],
)
def test_bad_labels_are_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        confusion(prediction, truth, 2)

"""Pixel counts and overlap metrics against scikit-learn, a hand-made table and the rules for empty masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.metrics.overlap import confusion

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
    assert list(groups) == ["b", "a"]
    np.testing.assert_array_equal(groups["a"].fp, table.fp[1] + table.fp[3])
    np.testing.assert_array_equal(groups["a"].tn + groups["b"].tn, table.sum().tn)
    halves = [Counts(*(part[s] for part in (table.tp, table.fp, table.fn, table.tn))) for s in (slice(1), slice(1, 4))]
    np.testing.assert_array_equal(Counts.concatenate(halves).fn, table.fn)
    with pytest.raises(ValueError, match="each of 4 images, but got 1"):
        table.by_group(["a"])


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long(), "of one shape"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), "of one shape"),
        (torch.zeros(0, 2, 2).long(), torch.zeros(0, 2, 2).long(), "of one shape"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), "the prediction is torch.float32"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 255), "labels 0..2, but the truth holds 255"),
        (torch.full((1, 2, 2), -1), torch.zeros(1, 2, 2).long(), "the prediction holds -1"),
    ],
)
def test_bad_labels_are_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        confusion(prediction, truth, 2)

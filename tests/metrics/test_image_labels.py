"""Evaluation of labels of images: which classes count, what is kept of each image, and what is refused."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from medtransfer.metrics import classification, image_labels
from medtransfer.metrics.image_labels import (
    LabelEvaluation,
    Predicted,
    label_columns,
    measure,
    patient_intervals,
    read_label_columns,
)
from medtransfer.records import IGNORE
from medtransfer.records.tables import Table

NAMES = ["a", "b", "c"]


def evaluate(probabilities, truth, *, exclusive, primary="auc", light=False):
    evaluation = LabelEvaluation(NAMES[: probabilities.shape[1]], primary, exclusive=exclusive, light=light)
    for first in range(0, len(truth), 4):
        rows = range(first, min(first + 4, len(truth)))
        images, groups = [f"image {row}" for row in rows], [f"patient {row // 2}" for row in rows]
        evaluation.update(torch.tensor(probabilities[first : first + 4]), torch.tensor(truth[first : first + 4]), images, groups)
    return evaluation.compute()


def softmax(n, seed=0):
    values = np.exp(np.random.default_rng(seed).normal(size=(n, 3)))
    return values / values.sum(axis=1, keepdims=True)


def test_exclusive_classes_against_scikit_learn():
    truth, p = np.random.default_rng(1).integers(0, 3, 30), softmax(30)
    metrics = evaluate(p, truth, exclusive=True, primary="kappa").metrics
    assert metrics["auc"] == pytest.approx(sk.roc_auc_score(truth, p, multi_class="ovr"))
    assert metrics["auc_class_2"] == pytest.approx(sk.roc_auc_score(truth == 2, p[:, 2]))
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(truth, p.argmax(1)))
    assert metrics["kappa"] == pytest.approx(sk.cohen_kappa_score(truth, p.argmax(1), weights="quadratic"))
    assert metrics["kappa_linear"] == pytest.approx(sk.cohen_kappa_score(truth, p.argmax(1), weights="linear"))
    assert "kappa_class_0" not in metrics and "ece" in metrics
    assert set(evaluate(p, truth, exclusive=True, light=True).metrics) == {"auc", "auc_class_0", "auc_class_1", "auc_class_2"}


def test_unknown_labels_and_classes_of_one_label_are_left_out():
    p = np.random.default_rng(0).random((12, 3))
    truth = np.stack([np.arange(12) % 2, np.ones(12), np.arange(12) % 3 == 0], axis=1).astype(np.uint8)
    truth[:5, 0] = 255
    metrics = evaluate(p, truth, exclusive=False).metrics
    first, last = sk.roc_auc_score(truth[5:, 0], p[5:, 0]), sk.roc_auc_score(truth[:, 2], p[:, 2])
    assert metrics["auc_class_0"] == pytest.approx(first) and metrics["auc_class_2"] == pytest.approx(last)
    assert "auc_class_1" not in metrics and metrics["auc"] == pytest.approx((first + last) / 2)
    assert metrics["accuracy_class_1"] == pytest.approx(np.mean(p[:, 1] > 0.5))
    assert metrics["accuracy_class_0"] == pytest.approx(np.mean((p[5:, 0] > 0.5) == truth[5:, 0]))


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_table_of_images_holds_all_that_the_metrics_need(exclusive):
    p = softmax(12)
    truth = np.arange(12) % 3 if exclusive else (p > 0.4).astype(int)
    if not exclusive:
        truth[3, 1] = 255
    columns = label_columns(Predicted(p, truth)) | {"group": list("aabbccddeeff")}
    rows = [["" if value is None else str(value) for value in row] for row in zip(*columns.values(), strict=True)]
    again = read_label_columns(Table(tuple(columns), rows, list(range(12))))
    assert (again.truth == truth).all() and (again.probabilities == p).all()
    draws = np.random.default_rng(0).integers(0, 3, (4, 12)).astype(float)
    assert np.array_equal(measure(again, "auc", draws)[0], measure(Predicted(p, truth), "auc", draws)[0], equal_nan=True)


def test_a_single_label_has_no_values_by_class():
    truth = np.array([0, 1, 1, 0, 1])
    evaluation = evaluate(np.array([[0.2], [0.4], [0.9], [0.6], [0.7]]), truth, exclusive=False)
    assert evaluation.metrics["auc"] == pytest.approx(5 / 6) and not any("class" in name for name in evaluation.metrics)
    assert [row["auc"] for row in evaluation.per_sample] == pytest.approx([1, 0.5, 1, 2 / 3, 1])
    assert evaluation.per_sample[3] | {"auc": 0} == {
        "image": "image 3", "group": "patient 1", "auc": 0, "true_class_0": 0, "probability_class_0": 0.6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("probabilities", "truth", "images", "message"),
    [
        ([[0.5, 0.5, 0.5]], [3], ["x"], r"labels 0, 1, 2, but got \[3\]"),
        ([[0.5, 0.5, float("nan")]], [0], ["x"], "but got NaN"),
        ([[0.5, 0.5, 1.5]], [0], ["x"], r"values outside \[0, 1\]"),
        ([[0.5, 0.5]], [0], ["x"], r"probabilities \(1, 3\)"),
        ([[0.2, 0.3, 0.5]] * 2, [0, 1], ["x", "x"], "every image once"),
    ],
)
def test_wrong_batches_are_refused(probabilities, truth, images, message):
    evaluation = LabelEvaluation(NAMES, "auc", exclusive=True)
    with pytest.raises(ValueError, match=message):
        evaluation.update(torch.tensor(probabilities), torch.tensor(truth), images, images)


def test_labels_of_one_class_define_no_auc():
    with pytest.raises(ValueError, match="more than one class, without which auc is undefined"):
        evaluate(np.full((4, 1), 0.5), np.ones(4, int), exclusive=False)


@pytest.mark.parametrize("exclusive", [True, False])
def test_intervals_are_expanded_percentiles_over_draws_of_patients(exclusive: bool) -> None:
    """Against the same draws, image by image, with scikit-learn."""
    rng, p = np.random.default_rng(3), softmax(60)
    groups = [f"patient {row // 4}" for row in range(60)]
    truth = rng.integers(0, 3, 60) if exclusive else (p + rng.normal(0, 0.3, p.shape) > 0.4).astype(int)
    rows = {row["metric"]: row for row in patient_intervals(Predicted(p, truth), groups, ["auc", "accuracy"], draws=200)}
    names = sorted(set(groups))
    taken = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=200)
    drawn = []
    for counts in taken:
        images = np.repeat(np.arange(60), counts[[names.index(group) for group in groups]])
        positive = truth[images] == 1 if exclusive else truth[images, 1] == 1
        drawn.append(sk.roc_auc_score(positive, p[images, 1]))
    tail = stats.norm.cdf(stats.t.ppf(0.025, 14) * np.sqrt(15 / 14))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    found = rows["auc_class_1"]
    assert (found["low"], found["high"], found["patients"], found["defined"]) == (pytest.approx(low), pytest.approx(high), 15, 1.0)
    assert found["value"] == pytest.approx(sk.roc_auc_score(truth == 1 if exclusive else truth[:, 1], p[:, 1]))
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())
    assert {"auc", "auc_class_0", "auc_class_1", "auc_class_2", "accuracy"} <= set(rows)


def test_an_evaluation_has_intervals_unless_it_is_light_or_of_few_patients() -> None:
    truth, p = np.arange(12) % 3, softmax(12)
    whole = evaluate(p, truth, exclusive=True)
    assert {row["metric"] for row in whole.intervals} == set(whole.metrics)
    assert evaluate(p, truth, exclusive=True, light=True).intervals == []
    assert patient_intervals(Predicted(p, truth), ["one"] * 12, ["auc"]) == []
    assert patient_intervals(Predicted(p, truth), list("abcdeabcdeab"), ["auc"]) == []
    assert patient_intervals(Predicted(p, truth), list("abcdefabcdef"), ["auc"]) != []


def test_images_with_an_unknown_label_have_no_part_in_its_metrics() -> None:
    """Nor has their probability, even if there is none."""
    rng = np.random.default_rng(8)
    p, truth = softmax(40), rng.integers(0, 2, (40, 3))
    truth[rng.random((40, 3)) < 0.3] = IGNORE
    p[np.flatnonzero(truth[:, 2] == IGNORE)[0], 2] = np.nan
    known = truth != IGNORE
    expected = [sk.roc_auc_score(truth[known[:, c], c], p[known[:, c], c]) for c in range(3)]
    value, by_class = measure(Predicted(p, truth), "auc")
    assert by_class.tolist() == pytest.approx(expected) and value == pytest.approx(np.mean(expected))
    sensitivities = measure(Predicted(p, truth), image_labels.SENSITIVITY)[1]
    for c in range(3):
        false, true, _ = sk.roc_curve(truth[known[:, c], c], p[known[:, c], c], drop_intermediate=False)
        assert sensitivities[c] == pytest.approx(true[1 - false >= 0.9 - 1e-12].max())


def test_rankings_of_many_images_and_classes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = Predicted(softmax(12), np.arange(12) % 3)
    value, by_class = measure(predicted, "auc")
    assert predicted.ranking(1) is predicted.ranking(1)
    monkeypatch.setattr(image_labels, "KEPT", 35)
    other = Predicted(predicted.probabilities, predicted.truth)
    assert other.ranking(1) is not other.ranking(1)
    assert measure(other, "auc")[0] == value and (measure(other, "auc")[1] == by_class).all()


def test_draws_that_do_not_define_a_metric_are_left_out_and_counted() -> None:
    """One of six patients is negative: 1 - (5 / 6) ** 6 of the draws have it, and hardly any has no other."""
    predicted = Predicted(np.array([[0.2], *[[0.9]] * 5]), np.array([[0], *[[1]] * 5]))
    (row,) = patient_intervals(predicted, list("abcdef"), ["auc"])
    assert (row["low"], row["high"]) == (1.0, 1.0) and row["defined"] == pytest.approx(1 - (5 / 6) ** 6, abs=0.05)


def test_confusion_matrices_of_many_classes_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 1,000 classes took 7 GiB and more; the intervals are the percentiles of all draws, by hand."""
    rng, sizes = np.random.default_rng(6), list[int]()
    probabilities, truth, groups = rng.dirichlet(np.ones(20), 50), rng.integers(0, 20, 50), [f"p{row % 10}" for row in range(50)]
    confusion_matrix = classification.confusion_matrix

    def spy(*arguments: object) -> np.ndarray:
        counts = confusion_matrix(*arguments)
        sizes.append(counts.size)
        return counts

    monkeypatch.setattr(classification, "confusion_matrix", spy)
    monkeypatch.setattr(image_labels, "AT_ONCE", 2000)
    (row,) = patient_intervals(Predicted(probabilities, truth), groups, ["accuracy"], draws=101)
    assert max(sizes) == 2000 and len(sizes) == 22  # 5 draws of 20 x 20 at a time, and all images once
    taken = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), size=101)[:, np.arange(50) % 10]
    drawn = (taken * (probabilities.argmax(axis=1) == truth)).sum(axis=1) / taken.sum(axis=1)
    tail = stats.norm.cdf(stats.t.ppf(0.025, 9) * np.sqrt(10 / 9))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [tail, 1 - tail])))

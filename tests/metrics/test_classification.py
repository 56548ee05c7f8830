"""Metrics of image labels against published values, scikit-learn, torchmetrics, and loops over their definitions."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error

from medtransfer.metrics.classification import (
    Ranking,
    accuracy,
    balanced_accuracy,
    calibration_error,
    confusion_matrix,
    kappa,
    kappa_shares,
    placements,
    roc_auc,
    sensitivity_at_specificity,
    weigh_samples,
)

GRADES = [0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 0, 2], [0, 1, 1, 2, 2, 2, 0, 4, 4, 3, 0, 2]
WITHOUT_2 = [0, 0, 1, 1, 3, 3, 4, 4, 0, 1], [0, 1, 1, 3, 3, 4, 4, 4, 0, 0]


def drawn(seed: int, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.random(60)
    return scores.round(1) if ties else scores, rng.random(60) < 0.2 + 0.6 * scores


def pairs(scores, positive, weights):
    """The AUC by its definition."""
    total = hits = 0.0
    for i, j in product(np.flatnonzero(positive), np.flatnonzero(~positive)):
        weight = weights[i] * weights[j]
        total += weight
        hits += weight * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
    return hits / total


def test_auc_of_ties_and_of_one_class():
    truth = np.array([0, 0, 1, 1, 1, 0])
    assert roc_auc([0.1, 0.4, 0.4, 0.8, 0.4, 0.4], truth == 1) == pytest.approx(0.7777777778, abs=1e-10)
    assert roc_auc([0.1, 0.4, 0.4, 0.9], [False, True, False, True]) == pytest.approx(0.875)  # scikit-learn's, of a single tie
    assert roc_auc(np.full(6, 0.3), truth == 1) == 0.5
    for label in (True, False):
        assert np.isnan(roc_auc([0.1, 0.2], [label, label]))
        assert np.isnan(placements([0.1, 0.2], [label, label])).all()
        assert np.isnan(sensitivity_at_specificity([0.1, 0.2], [label, label]))
    assert np.isnan(roc_auc([], []))
    with pytest.raises(ValueError, match="none of them NaN"):
        roc_auc([0.1, np.nan], [True, False])
    with pytest.raises(ValueError, match="as many scores as labels"):
        roc_auc([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="a weight for each of 2 samples"):
        roc_auc([0.1, 0.2], [True, False], [1.0])


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_auc_and_its_parts(seed, ties):
    scores, positive = drawn(seed, ties)
    value = roc_auc(scores, positive)
    assert value == pytest.approx(sk.roc_auc_score(positive, scores)) == pytest.approx(pairs(scores, positive, np.ones(60)))
    parts = placements(scores, positive)
    assert np.allclose([parts.mean(), parts[positive].mean(), parts[~positive].mean()], value)
    draws = np.random.default_rng(seed).multinomial(60, [1 / 60] * 60, size=5)
    values = roc_auc(scores, positive, draws)
    assert values.shape == (5,)
    for value, weights in zip(values, draws, strict=True):
        assert value == pytest.approx(sk.roc_auc_score(positive, scores, sample_weight=weights))
        assert value == pytest.approx(roc_auc(np.repeat(scores, weights), np.repeat(positive, weights)))


@pytest.mark.parametrize(
    ("power", "expected"), [(2, 0.8202247191), (1, 0.6697247706), (0, 0.4545454545)], ids=["quadratic", "linear", "unweighted"]
)
def test_kappa_of_the_published_example(power, expected):
    counts = confusion_matrix(*GRADES, 5)
    assert kappa(counts, power) == pytest.approx(expected, abs=1e-10)
    assert kappa(counts, power) == pytest.approx(
        sk.cohen_kappa_score(*GRADES, weights={2: "quadratic", 1: "linear", 0: None}[power])
    )
    assert kappa_shares(*GRADES, 5, power).mean() == pytest.approx(expected, abs=1e-10)


def test_kappa_takes_all_grades_that_there_are():
    assert kappa(confusion_matrix(*WITHOUT_2, 5)) == pytest.approx(0.8679245283, abs=1e-10)
    inferred = [[{0: 0, 1: 1, 3: 2, 4: 3}[grade] for grade in grades] for grades in WITHOUT_2]
    assert kappa(confusion_matrix(*inferred, 4)) == pytest.approx(0.8518518519, abs=1e-10)
    assert np.isnan(kappa(confusion_matrix([1, 1], [1, 1], 3)))
    assert kappa(confusion_matrix([0, 1, 2], [1, 1, 1], 3)) == 0
    with pytest.raises(ValueError, match=r"all of 0\.\.2"):
        confusion_matrix([0, 3], [0, 1], 3)


def test_counts_accuracies_and_weights():
    truth, predicted = np.array(GRADES)
    counts = confusion_matrix(truth, predicted, 6)
    assert (counts[:5, :5] == sk.confusion_matrix(truth, predicted)).all() and counts.sum() == 12
    assert accuracy(counts) == pytest.approx(sk.accuracy_score(truth, predicted))
    assert balanced_accuracy(counts) == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    weights = np.random.default_rng(0).integers(0, 4, (2, 3, 12))
    several = confusion_matrix(truth, predicted, 6, weights)
    assert several.shape == (2, 3, 6, 6)
    repeated = np.repeat(truth, weights[1, 2]), np.repeat(predicted, weights[1, 2])
    assert (several[1, 2] == confusion_matrix(*repeated, 6)).all()
    assert kappa(several)[1, 2] == pytest.approx(sk.cohen_kappa_score(*repeated, labels=range(6), weights="quadratic"))


@pytest.mark.parametrize("specificity", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_sensitivity_at_a_specificity(seed, specificity):
    scores, positive = drawn(seed)
    false, true, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    expected = max(hit for miss, hit in zip(false, true, strict=True) if 1 - miss >= specificity - 1e-12)
    assert sensitivity_at_specificity(scores, positive, specificity=specificity) == pytest.approx(expected)


@pytest.mark.parametrize("ties", [True, False])
def test_a_ranking_serves_any_weights_of_the_known_samples(ties: bool) -> None:
    """To the values of samples that are repeated as often as their weights say, of which scikit-learn makes the curve."""
    rng = np.random.default_rng(9)
    scores, positive = drawn(9, ties)
    known, group = rng.random(60) < 0.8, np.arange(60) // 3
    weights = weigh_samples(rng.multinomial(20, [1 / 20] * 20, size=6), group)  # (6, 60)
    ranking = Ranking(scores, positive, known)
    for weight, auc, sensitivity in zip(
        weights, ranking.roc_auc(weights), ranking.sensitivity_at_specificity(weights, 0.7), strict=True
    ):  # fmt: skip
        assert (weight == weight[3 * group]).all() and weight.sum() == 60
        repeated = np.repeat(np.flatnonzero(known), weight[known].astype(int))
        false, true, _ = sk.roc_curve(positive[repeated], scores[repeated], drop_intermediate=False)
        assert auc == pytest.approx(sk.auc(false, true))
        assert sensitivity == pytest.approx(max(hit for miss, hit in zip(false, true, strict=True) if 1 - miss >= 0.7 - 1e-12))
    assert ranking.roc_auc() == pytest.approx(sk.roc_auc_score(positive[known], scores[known]))
    for label in (True, False):
        alone = Ranking(scores, positive, positive == label)
        assert np.isnan(alone.roc_auc(weights)).all() and np.isnan(alone.sensitivity_at_specificity(weights)).all()


def test_sensitivity_where_only_no_call_is_specific_enough():
    assert sensitivity_at_specificity([0.9, 0.5, 0.1], [False, True, True], specificity=1.0) == 0


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error(seed):
    scores, right = drawn(seed, ties=False)
    expected = binary_calibration_error(torch.tensor(scores), torch.tensor(right).int(), n_bins=15, norm="l1")
    assert calibration_error(scores, right) == pytest.approx(float(expected), abs=1e-6)


def test_calibration_error_by_hand():
    """Two bins of 2: 0.1 and 0.3 say 0.2 and none is right; 0.7 and 0.9 say 0.8 and both are."""
    assert calibration_error([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], bins=2) == pytest.approx(0.2)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0
    assert calibration_error([0.5, 0.9], [1, 0], weights=[0, 3]) == pytest.approx(0.9)

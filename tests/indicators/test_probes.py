"""Probes against published values, against fits without each group, and on patients' copies."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge as RidgeFit
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from tests.published_features import TALL, WIDE
from tests.published_maps import IMAGES, PIXELS

from medtransfer.indicators.contract import Context, Options
from medtransfer.indicators.knn import NearestNeighbours, knn_left_out
from medtransfer.indicators.labelled import one_hot
from medtransfer.indicators.probes import accuracy, mean_dice, predicted
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.ridge import Ridge, ridge_left_out
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.samples.labelled_pixels import Pixels

PROBES = [ridge_left_out, knn_left_out]


def context(groups: list[str]) -> Context:
    options = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (0.5,), 2000)
    return Context([f"image {i}" for i in range(len(groups))], groups, 3, 0, 1, (), options)


@pytest.mark.parametrize(("case", "error", "right"), [(TALL, 0.0716463834, 59 / 60), (WIDE, 0.0351779628, 1)])
def test_published_values_of_ridge(case, error, right):
    features, labels = case
    scores, flags = ridge_left_out(features, labels, np.arange(len(labels)))
    assert np.square(one_hot(labels) - scores).sum() / len(labels) == pytest.approx(error, abs=1e-8)
    assert accuracy(scores, labels) == right and flags == {}


@pytest.mark.parametrize(("probe", "name", "dice"), [(ridge_left_out, "ridge", 0.7975272961), (knn_left_out, "knn", 0.7601082295)])
def test_published_dice_of_images_left_out(probe, name, dice):
    assert mean_dice(probe(*PIXELS, IMAGES).scores, PIXELS[1]) == pytest.approx(dice, abs=1e-8)
    sample = Pixels(*PIXELS, IMAGES)
    assert INDICATORS[name].measure(sample, context(["b", "d", "a", "c"])) == (pytest.approx(dice, abs=1e-8), {})


def unequal(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and groups of unequal sizes."""
    rng = np.random.default_rng(n + d)
    labels = rng.integers(2, 5, n)
    return rng.normal(size=(n, d)) + 3 + (labels[:, None] == np.arange(d) % 5), labels, rng.integers(0, 6, n) ** 2


@pytest.mark.parametrize("case", [unequal(40, 5), unequal(30, 30), unequal(25, 60)], ids=["tall", "square", "wide"])
def test_probes_equal_fits_without_the_group(case):
    features, labels, groups = case
    penalty = 0.01 * features.var(0).mean() * len(features)
    scores, neighbours = np.full((len(labels), 3), np.nan), np.zeros_like(labels)
    for group in np.unique(groups):
        out = groups == group
        scores[out] = RidgeFit(penalty).fit(features[~out], one_hot(labels)[~out]).predict(features[out])
        neighbours[out] = KNeighborsClassifier(5, metric="cosine").fit(features[~out], labels[~out]).predict(features[out])
    np.testing.assert_allclose(ridge_left_out(*case).scores, scores, atol=1e-10)
    assert predicted(knn_left_out(*case).scores, labels).tolist() == neighbours.tolist()


@pytest.mark.parametrize("kind", ["one", "several"])
@pytest.mark.parametrize("case", [unequal(40, 5), unequal(25, 60)], ids=["tall", "wide"])
def test_values_for_labels_of_images(case, kind):
    """The AUC of predictions less the intercept of centred features, and of votes, by scikit-learn."""
    features, labels, groups = case
    penalty = 0.01 * features.var(0).mean() * len(features)
    beyond, votes = np.full((2, len(labels), 3), np.nan)
    for group in np.unique(groups):
        out = groups == group
        fit = RidgeFit(penalty).fit(features[~out] - features[~out].mean(0), one_hot(labels)[~out])
        beyond[out] = fit.predict(features[out] - features[~out].mean(0)) - fit.intercept_
        neighbours = KNeighborsClassifier(5, metric="cosine").fit(features[~out], labels[~out])
        votes[out] = neighbours.predict_proba(features[out])
    expected, by_votes = (
        np.mean([roc_auc_score(labels == label, scores[:, index].round(9)) for index, label in enumerate(np.unique(labels))])
        for scores in (beyond, votes)
    )
    of_images = replace(context([str(group) for group in groups]), labels=kind)
    sample = Pixels(features, labels, np.arange(len(labels)))
    assert Ridge().measure(sample, of_images) == (pytest.approx(expected, abs=1e-12), {})
    assert NearestNeighbours().measure(sample, of_images)[0] == pytest.approx(by_votes, abs=1e-12)
    of_pixels = Ridge().measure(sample, replace(of_images, labels="pixels"))[0]
    assert of_pixels == mean_dice(ridge_left_out(*case).scores, labels) != pytest.approx(expected)


@pytest.mark.parametrize("images", [1, 4])
def test_features_without_information_have_an_auc_of_chance(images):
    """Each patient has images of one class, so that predictions alone would tell what is left out."""
    labels = np.repeat(np.arange(18) % 3, images)
    of_images = replace(context([str(patient) for patient in np.repeat(np.arange(18), images)]), labels="one")
    constant = Pixels(np.full((len(labels), 4), 0.3), labels, np.arange(len(labels)))
    assert Ridge().measure(constant, of_images) == (0.5, {"constant": 1})
    assert NearestNeighbours().measure(constant, of_images)[0] == 0.5
    votes = knn_left_out(constant.features, labels, np.repeat(np.arange(18), images)).scores
    of_pixels = replace(of_images, labels="pixels")
    assert NearestNeighbours().measure(constant, of_pixels)[0] == mean_dice(votes, labels) != 0.5
    assert roc_auc_score(labels == 0, ridge_left_out(constant.features, labels, np.repeat(np.arange(18), images)).scores[:, 0]) == 0
    rng = np.random.default_rng(0)
    noise = [replace(constant, features=rng.normal(size=(len(labels), 9))) for _ in range(200)]
    assert np.mean([Ridge().measure(one, of_images)[0] for one in noise]) == pytest.approx(0.5, abs=0.02)


def test_dice_by_hand_and_without_foreground():
    """Class 1: TP 1, predicted 2, true 2; class 2: TP 1, predicted 2, true 1; background is not counted."""
    scores = np.eye(3)[[0, 1, 2, 1, 2]]
    assert mean_dice(scores, np.array([0, 1, 1, 0, 2])) == pytest.approx((3 / 5 + 3 / 4) / 2)
    assert np.isnan(mean_dice(np.ones((4, 1)), np.zeros(4, dtype=int)))
    tied = np.array([[0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2], [0.1, 0.2]])
    assert predicted(tied, np.array([7, 9, 9])).tolist() == [7, 7, 9]


def test_ties_share_the_last_votes_and_few_neighbours_all_vote():
    features = np.array([[1.0, 0]] + [[1, 1]] * 2 + [[0, 1]] * 4 + [[0, -1]])
    votes, flags = knn_left_out(features, np.array([0, 0, 1, 1, 1, 1, 0, 0]), np.arange(8))
    assert votes[0] == pytest.approx([1 + 2 / 5 * 3, 1 + 3 / 5 * 3])  # two nearer ones; three votes for five that are orthogonal
    assert flags == {"tied_votes": 4}  # of all but (0, 1), which has five neighbours that are nearer than the rest
    few = knn_left_out(features[:4] + [[0.0, 0.1]] * 4, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    assert few.scores.tolist() == [[0, 2], [0, 2], [2, 0], [2, 0]]
    assert knn_left_out(np.zeros((9, 2)), np.arange(9) % 3, np.arange(9)).flags == {"tied_votes": 9, "zero": 9, "constant": 1}


@pytest.mark.parametrize("probe", PROBES)
def test_constant_features_predict_what_is_frequent_elsewhere(probe):
    labels, groups = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 2, 2])
    scores, flags = probe(np.full((7, 3), 0.1), labels, groups)
    assert predicted(scores, labels).tolist() == [1, 1, 0, 0, 0, 0, 0]  # one tie
    assert flags == {"constant": 1}


@pytest.mark.parametrize("probe", PROBES)
def test_copies_of_a_patient_teach_nothing_about_the_patient(probe):
    """Noise: whoever sees copies of a pixel knows its label."""
    rng = np.random.default_rng(0)
    features, labels, groups = rng.normal(size=(60, 50)), rng.integers(0, 2, 60), np.arange(60) // 6
    before = probe(features, labels, groups).scores
    copied = np.concatenate([np.arange(60), np.tile(np.flatnonzero(groups == 3), 5)])
    scores = probe(features[copied], labels[copied], groups[copied]).scores
    assert np.abs(scores[60:] - np.tile(scores[18:24], (5, 1))).max() < 1e-10
    if probe is knn_left_out:
        assert scores[18:24].tolist() == before[18:24].tolist()
    twice = np.tile(np.arange(60), 5)
    value = mean_dice(probe(features[twice], labels[twice], groups[twice]).scores, labels[twice])
    assert value < 0.65
    assert mean_dice(probe(features[twice], labels[twice], np.arange(300)).scores, labels[twice]) > value + 0.2


def test_all_copied_ridge_predicts_the_same():
    features, labels = PIXELS
    twice = np.tile(np.arange(256), 2)
    once, copied = (ridge_left_out(features[rows], labels[rows], IMAGES[rows]).scores for rows in (np.arange(256), twice))
    np.testing.assert_allclose(copied, np.tile(once, (2, 1)), atol=1e-10)
    assert mean_dice(copied, labels[twice]) < mean_dice(once, labels)  # the one that smooths counts less


@pytest.mark.parametrize("probe", PROBES)
def test_shuffled_labels_are_predicted_by_chance(probe):
    features, labels = PIXELS
    rng = np.random.default_rng(1)
    shares = [
        accuracy(probe(features, shuffled, IMAGES).scores, shuffled) for shuffled in (rng.permutation(labels) for _ in "abcde")
    ]
    assert 0.38 < np.mean(shares) < 0.58  # the largest class has .547


@pytest.mark.parametrize("indicator", [Ridge(), NearestNeighbours()])
def test_patients_are_left_out_not_images(indicator):
    sample = Pixels(*PIXELS, IMAGES)
    value, flags = indicator.measure(sample, context(["a", "b", "b", "a"]))
    probe = ridge_left_out if indicator.name == "ridge" else knn_left_out
    assert value == pytest.approx(mean_dice(probe(*PIXELS, np.array([0, 1, 1, 0])[IMAGES]).scores, PIXELS[1])) and flags == {}
    value, flags = indicator.measure(sample, context(["a"] * 4))
    assert np.isnan(value) and flags == {}
    lesion = sample.keep((sample.labels != 2) | (sample.images == 1))
    assert indicator.measure(lesion, context(["a", "b", "c", "d"]))[1] == {"one_group_classes": 1}
    background = sample.keep(sample.labels == 0)
    assert np.isnan(indicator.measure(background, context(["a", "b", "c", "d"]))[0])


def test_ridge_leaves_out_many_patients_in_blocks(monkeypatch):
    seen = []

    def note(features, labels, groups):
        seen.append(groups)
        return ridge_left_out(features, labels, groups)

    monkeypatch.setattr("medtransfer.indicators.ridge.ridge_left_out", note)
    sample = Pixels(*PIXELS, np.arange(256) // 2)
    patients = [f"patient {image // 2}" for image in range(128)]  # of two images, so of four pixels
    value, _ = Ridge().measure(sample, context(patients))
    assert 0.5 < value < 1 and len(np.unique(seen[0])) == 20
    assert all(len(np.unique(seen[0][start : start + 4])) == 1 for start in range(0, 256, 4))


@pytest.mark.parametrize("probe", PROBES)
def test_one_group_is_refused(probe):
    with pytest.raises(ValueError, match="expected at least 2 groups, but got 1 for 60 samples"):
        probe(*TALL, np.ones(60, dtype=int))

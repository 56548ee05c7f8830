"""NCTI against scikit-learn's discriminant analysis, and its terms."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.ncti import ncti, ncti_terms

LONG = np.random.default_rng(0).normal(size=(90, 70)) + 0.1 * np.arange(3).repeat(30)[:, None], np.arange(3).repeat(30)


def analysed(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The terms by the steps of the published code, with nuclear norms as sums of singular values."""
    reduction = PCA(min(64, *features.shape), svd_solver="full").fit(features)
    x, shrinkage = reduction.transform(features), np.exp(-reduction.explained_variance_[:32].sum())
    if shrinkage > 1e-10:
        analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
    else:
        analysis = LinearDiscriminantAnalysis(solver="eigen")
    projected = analysis.fit_transform(x, labels)
    p = analysis.predict_proba(x)
    norm = sum(np.sqrt(np.linalg.eigvalsh(p[labels == c].T @ p[labels == c]).clip(0)).sum() for c in np.unique(labels))
    projected = projected - projected.mean(axis=0)
    return {
        "posterior": np.mean([row[label] for row, label in zip(p, labels, strict=True)]),
        "spread": np.log(np.linalg.svd(projected)[1].sum()), "collapse": -np.log(norm),
    }  # fmt: skip


@pytest.mark.parametrize("scale", [0.02, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("case", [TALL, PIXELS, LONG], ids=["tall", "pixels", "more than 64 features"])
def test_equals_the_published_steps(case, scale):
    features, labels = case[0] * scale, case[1]
    terms, _ = ncti_terms(features, labels)
    assert terms == pytest.approx(analysed(features, labels), rel=1e-6)
    assert ncti(features, labels)[0] == pytest.approx(sum(terms.values()))


def test_two_classes_have_one_direction():
    features, labels = PIXELS[0][PIXELS[1] < 2], PIXELS[1][PIXELS[1] < 2]
    assert ncti_terms(features, labels)[0] == pytest.approx(analysed(features, labels), rel=1e-6)


def test_fewer_samples_than_features_are_flagged():
    value, flags = ncti(*WIDE)
    assert np.isfinite(value) and flags == {"saturated": 1}


def test_separated_classes_approach_collapse():
    """Posteriors become 1, so that each class has rank 1: 3 sqrt(20) in all."""
    y = np.eye(3)[TALL[1]]
    terms = ncti_terms(np.hstack([TALL[0], 1e3 * y]), TALL[1])[0]
    assert terms["posterior"] == pytest.approx(1) and terms["collapse"] == pytest.approx(-np.log(3 * np.sqrt(20)))


@pytest.mark.parametrize(
    ("features", "labels", "flags"),
    [(np.eye(3)[TALL[1]], TALL[1], {"collapsed_classes": 1}), (np.full((60, 8), 0.1), TALL[1], {"constant": 1}),
     (TALL[0], np.full(60, 4), {})],
    ids=["points", "constant", "one class"],
)  # fmt: skip
def test_what_has_no_value(features, labels, flags):
    value, found = ncti(features, labels)
    assert np.isnan(value) and found == flags and ncti_terms(features, labels)[0] == {}

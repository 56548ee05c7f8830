"""What must not change indicators of labelled embeddings, what must, and arrays that they refuse."""

import numpy as np
import pytest
from tests.published_features import TALL, WIDE
from tests.published_maps import IMAGES, PIXELS

from medtransfer.indicators.emms import emms
from medtransfer.indicators.friedman_rafsky import friedman_rafsky
from medtransfer.indicators.gbc import gbc
from medtransfer.indicators.grtd import grtd
from medtransfer.indicators.hscore import hscore, hscore_reg
from medtransfer.indicators.knn import knn_left_out
from medtransfer.indicators.labelled import centred
from medtransfer.indicators.logme import logme
from medtransfer.indicators.ncti import ncti
from medtransfer.indicators.neighbourhood import neighbourhood
from medtransfer.indicators.nleep import nleep
from medtransfer.indicators.parc import parc
from medtransfer.indicators.ped import ped
from medtransfer.indicators.probes import accuracy
from medtransfer.indicators.ridge import ridge_left_out
from medtransfer.indicators.sfda import sfda
from medtransfer.indicators.transrate import transrate


def alone(probe):
    """Accuracy of a probe that leaves out each row."""

    def score(features, labels):
        scores, flags = probe(features, labels, np.arange(len(labels)))
        return accuracy(scores, labels), flags

    return score


def gbc_diag(features, labels):
    return gbc(features, labels, diagonal=True)


INDICATORS = {
    "emms": emms, "fr": friedman_rafsky, "gbc": gbc, "gbc_diag": gbc_diag, "grtd": grtd, "hscore": hscore, "hscore_reg": hscore_reg,
    "knn": alone(knn_left_out), "logme": logme, "ncti": ncti, "nleep": nleep, "parc": parc, "ped": ped,
    "ridge": alone(ridge_left_out), "neighbourhood": neighbourhood, "sfda": sfda, "transrate": transrate,
}  # fmt: skip
CASES = {"tall": TALL, "wide": WIDE}


def without(*names: str) -> list:
    return [pytest.param(score, id=name) for name, score in INDICATORS.items() if name not in names]


def same(score, first, second) -> None:
    tolerance = {nleep: 0.15, ncti: 1e-5, neighbourhood: 0.02}.get(score, 1e-7)  # rounding: of shrinkage by 1e-10, of learning
    assert score(*second)[0] == pytest.approx(score(*first)[0], rel=1e-9, abs=tolerance)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("score", without("parc", "gbc_diag", "ped"))
def test_rotation(score, case):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(case[0].shape[1],) * 2))[0]
    same(score, case, (case[0] @ turn, case[1]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("score", without("transrate", "gbc", "gbc_diag", "sfda", "ncti", "ped"))
def test_scale(score, case):
    same(score, case, (case[0] * 1000, case[1]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("score", without("knn", "logme"))
def test_offset(score, case):
    same(score, case, (case[0] + np.linspace(20, 50, case[0].shape[1]), case[1]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("score", without())
def test_names_of_classes_and_order_of_samples(score, case):
    order = np.random.default_rng(0).permutation(len(case[1]))
    same(score, case, (case[0], np.array([7, 3, 5])[case[1]]))
    same(score, case, (case[0][order], case[1][order]))


@pytest.mark.parametrize("score", without("grtd"))
def test_shuffled_labels_lower_it(score):
    shuffled = np.random.default_rng(0).permutation(PIXELS[1])
    assert score(PIXELS[0], shuffled)[0] < score(*PIXELS)[0]


@pytest.mark.parametrize("number", [0.0, 0.1, -1e6 / 3])
@pytest.mark.parametrize("score", without("logme", "grtd", "ncti"))
def test_constant_features_are_flagged_and_worst(score, number):
    value, flags = score(np.full((60, 8), number), TALL[1])
    assert value < score(*TALL)[0] and flags["constant"] == 1


@pytest.mark.parametrize("score", without("logme", "knn", "ridge", "parc"))
def test_one_class_is_undefined(score):
    assert np.isnan(score(TALL[0], np.full(60, 4))[0])


@pytest.mark.parametrize("score", without("logme"))
@pytest.mark.parametrize(
    ("features", "message"),
    [(np.zeros((0, 3)), "expected features"), (np.zeros(4), "expected features"), (np.zeros((3, 2)), r"\(3, 2\), \(4,\)"),
     (np.full((4, 2), np.nan), "expected finite features, but got 4 rows of 4")],
)  # fmt: skip
def test_what_is_no_sample_is_refused(score, features, message):
    with pytest.raises(ValueError, match=message):
        score(features, np.array([0, 1, 0, 1]))


def test_groups_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"but got \(256, 6\), \(256,\) and \(255,\)"):
        ridge_left_out(*PIXELS, IMAGES[1:])


def test_centring_leaves_no_rounding():
    features = np.stack([np.full(7, 0.1), 1e8 + np.arange(7), 1e-20 * np.arange(7)], axis=1)
    moved = centred(features)
    assert not moved[:, 0].any() and moved[:, 1].tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert moved[:, 2] == pytest.approx(1e-20 * np.arange(-3, 4), rel=1e-12, abs=1e-30)

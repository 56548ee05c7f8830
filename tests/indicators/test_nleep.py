"""NLEEP: loosely at its published value, and between separated and shuffled classes; the mixture is random."""

import numpy as np
import pytest
from tests.published_features import TALL

from medtransfer.indicators.nleep import nleep


@pytest.mark.parametrize("seed", range(3))
def test_published_value(seed):
    assert nleep(*TALL, seed=seed)[0] == pytest.approx(-0.07, abs=0.07)


def test_separated_and_shuffled_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = rng.normal(size=(300, 6)) + 20 * np.eye(6)[labels]
    assert nleep(features, labels)[0] == pytest.approx(0, abs=1e-6)
    assert -np.log(3) < nleep(features, rng.permutation(labels))[0] < -0.9
    assert nleep(features, labels, 3) == nleep(features, labels, 3)


def test_few_samples_and_constant_features():
    assert nleep(TALL[0][:8], TALL[1][:8])[1]["few_samples"] == 1
    assert nleep(np.ones((30, 4)), np.arange(30) % 3) == (pytest.approx(-np.log(3)), {"constant": 1})

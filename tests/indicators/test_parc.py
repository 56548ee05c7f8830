"""PARC against published values, NumPy and SciPy."""

import numpy as np
import pytest
from scipy.stats import spearmanr, zscore
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.parc import parc


@pytest.mark.parametrize(("case", "expected"), [(TALL, 73.6984218088), (WIDE, 78.4941523961)])
def test_published_values(case, expected):
    assert parc(*case) == (pytest.approx(expected, abs=1e-8), {})


def test_definition():
    features, labels = PIXELS
    pairs = np.triu_indices(256, 1)
    distances = 1 - np.corrcoef(zscore(features, axis=0))[pairs]
    assert parc(features, labels)[0] == pytest.approx(100 * spearmanr(distances, (labels[:, None] != labels)[pairs])[0], abs=1e-8)


def test_flat_embeddings_and_labels_that_are_all_alike():
    features, labels = TALL[0].copy(), TALL[1]
    features[:, 4] = 3.0  # a feature that is constant
    value, flags = parc(features, labels)
    assert value > 50 and flags == {}
    assert parc(features[:, :1], labels) == (0, {"flat": 60})  # one feature
    assert np.isnan(parc(features, np.zeros(60, dtype=int))[0]) and np.isnan(parc(features, np.arange(60))[0])

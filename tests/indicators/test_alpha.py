"""Alpha-ReQ against a weighted regression of scikit-learn, on a spectrum of known decay, and with too few eigenvalues."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from medtransfer.indicators.alpha import AlphaOptions, alpha


@pytest.mark.parametrize(("first", "last"), [(1, 12), (3, 9)])
def test_equals_a_weighted_regression_on_principal_components(first, last):
    features = np.random.default_rng(0).normal(size=(50, 12)) * np.linspace(1, 4, 12)
    j = np.arange(first, last + 1)
    variances = np.log(PCA().fit(features).explained_variance_[j - 1])
    slope = LinearRegression().fit(np.log(j)[:, None], variances, sample_weight=1 / j).coef_[0]
    assert alpha(features, first, last) == (pytest.approx(-slope, abs=1e-10), {})


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_a_power_law_has_its_exponent(decay):
    columns, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 120)) @ np.eye(120))
    columns -= columns.mean(axis=0)
    columns, _ = np.linalg.qr(columns)  # orthonormal, and still centred
    features = columns * np.arange(1, 121) ** (-decay / 2)
    assert alpha(features, 11, 100) == (pytest.approx(decay, abs=1e-8), {})


def test_a_range_beyond_the_rank_is_cut_and_flagged():
    features = np.random.default_rng(0).normal(size=(50, 20))
    assert alpha(features, 11, 100) == (pytest.approx(alpha(features, 11, 20)[0]), {"beyond_rank": 80})
    value, flags = alpha(features[:, :14], 11, 100)
    assert math.isnan(value) and flags == {"beyond_rank": 86}
    value, flags = alpha(features[:, :6], 11, 100)
    assert math.isnan(value) and flags == {"beyond_rank": 90}


@pytest.mark.parametrize(("first", "last"), [(0, 10), (11, 14), (20, 11)])
def test_ranges_of_fewer_than_five_ranks_are_refused(first, last):
    with pytest.raises(ValidationError, match="at least 5 ranks from 1 on"):
        AlphaOptions(first=first, last=last)

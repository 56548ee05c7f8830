"""GRTD against published values and by hand."""

import numpy as np
import pytest
from tests.published_features import TALL, WIDE
from tests.published_maps import PIXELS

from medtransfer.indicators.grtd import grtd


@pytest.mark.parametrize(("case", "expected"), [(TALL, -0.9093087968), (WIDE, -0.6077072802), (PIXELS, -0.5678393155)])
def test_published_values(case, expected):
    assert grtd(*case) == (pytest.approx(expected, abs=1e-8), {})


def test_by_hand():
    """0 - 1 - 3 - 9, labels a a b b: the middle of the distances 1 2 3 6 8 9 is 4.5; a keeps 1 of 3, b keeps 6 of 8."""
    points, labels = np.array([[0.0], [1], [3], [9]]), np.array([0, 0, 1, 1])
    assert grtd(points, labels)[0] == pytest.approx(-(1 / 3 + 6 / 8) / 2)
    far = np.array([0, 0, 0, 1])  # b's only edge is longer than the median, a keeps 9 - 4.5
    assert grtd(points, far)[0] == pytest.approx(-((9 - 4.5) / 9 + (6 - 4.5) / 6) / 2)


def test_equal_samples_count_with_their_shares():
    """The edge of length 2 joins two classes with chance 1/2 and touches each with chance 1/2 or 1."""
    value, flags = grtd(np.array([[0.0], [0], [2]]), np.array([0, 1, 1]))
    assert value == pytest.approx(-((2 * 0.5 - 2 * 0.5) / (2 * 0.5) + (2 - 2 * 0.5) / 2) / 2)
    assert flags == {"duplicates": 1}
    assert np.isnan(grtd(np.ones((4, 2)), np.array([0, 0, 1, 1]))[0])


def test_shuffled_labels_raise_it():
    labels = np.random.default_rng(0).permutation(TALL[1])
    assert grtd(TALL[0], labels)[0] > -0.3

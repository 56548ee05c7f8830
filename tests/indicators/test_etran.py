"""The energy score of ETran by its definition, and what it depends on."""

import numpy as np
import pytest
from tests.published_features import TALL

from medtransfer.indicators.etran import etran


def test_equals_its_definition():
    assert etran(TALL[0])[0] == pytest.approx(np.mean([np.log(sum(np.exp(row))) for row in TALL[0]]), abs=1e-12)


def test_large_features_do_not_overflow_and_an_offset_is_added():
    assert etran(TALL[0] + 1e4)[0] == pytest.approx(etran(TALL[0])[0] + 1e4)


def test_constant_embeddings_have_no_value():
    value, flags = etran(np.full((9, 4), 1e3))
    assert np.isnan(value) and flags == {"constant": 1}

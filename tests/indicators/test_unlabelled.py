"""Published values of the indicators without labels, and what must not change them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from tests.published_features import TALL, WIDE, four_views, second_view

from medtransfer.indicators.alignment import alignment
from medtransfer.indicators.alpha import alpha
from medtransfer.indicators.dse import Clustering, dse
from medtransfer.indicators.lidar import lidar
from medtransfer.indicators.selfcluster import selfcluster
from medtransfer.indicators.spectrum import nesum, participation_ratio, rankme
from medtransfer.indicators.twonn import twonn
from medtransfer.indicators.uniformity import uniformity

Result = tuple[float, dict[str, int]]


def dse_of_labels(x: np.ndarray) -> Result:
    """DSE with the published labels as clusters."""
    rows = np.arange(len(x))
    clustering = [Clustering(rows, rows % 3)]
    return dse(x, clustering, clustering, [rows])


# of views (N, V, D); those of single features take the first
CASES: dict[str, Callable[[np.ndarray], Result]] = {
    "rankme raw": lambda x: rankme(x[:, 0], centre=False),
    "rankme": lambda x: rankme(x[:, 0], centre=True),
    "nesum": lambda x: nesum(x[:, 0]),
    "pr": lambda x: participation_ratio(x[:, 0]),
    "alpha": lambda x: alpha(x[:, 0], 1, min(x.shape[0] - 1, x.shape[2])),
    "uniformity": lambda x: uniformity(x[:, 0]),
    "alignment": lambda x: alignment(x[:, 0], x[:, 1]),
    "selfcluster": lambda x: selfcluster(x[:, 0]),
    "twonn": lambda x: twonn(x[:, 0]),
    "lidar": lidar,
    "dse": lambda x: dse_of_labels(x[:, 0]),
}
PUBLISHED = {  # tall, wide
    "rankme raw": (7.1993899945, 12.5916160575),
    "rankme": (7.2150526865, 12.6261678151),
    "nesum": (2.5871467470, 2.6642341158),
    "pr": (4.1061571912, 4.4079871609),
    "alpha": (1.2149426672, 1.8461743456),
    "uniformity": (2.1581835381, 2.2331042181),
    "alignment": (-0.0144372271, -0.0146836070),
    "selfcluster": (-0.0810273945, -0.1349792604),
    "twonn": (2.0572244197, 3.9762725406),
    "lidar": (1.4757862190, 7.1748833102),
    "dse": (0.6381450002, 1.3797964996),
}
CENTRED = {"rankme", "nesum", "pr", "alpha", "twonn", "lidar"}


def views_of(name: str, case: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    first = case[0]
    if name == "lidar":
        return four_views(first)
    return np.stack([first, second_view(first)], axis=1)


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_published_values(name):
    values = [CASES[name](views_of(name, case))[0] for case in (TALL, WIDE)]
    assert values == pytest.approx(PUBLISHED[name], abs=1e-9)


@pytest.mark.parametrize("case", [TALL, WIDE], ids=["tall", "wide"])
def test_rotation_scale_and_order_change_nothing(name, case):
    views, indicator = views_of(name, case), CASES[name]
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(views.shape[2],) * 2))[0]
    value = indicator(views)[0]
    assert indicator(views @ turn)[0] == pytest.approx(value, abs=1e-8)
    assert indicator(views * 1000)[0] == pytest.approx(value, abs=1e-8)
    if name != "dse":  # whose clusters belong to places in the order
        assert indicator(views[rng.permutation(len(views))])[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("case", [TALL, WIDE], ids=["tall", "wide"])
def test_an_offset_changes_only_what_depends_on_directions(name, case):
    views = views_of(name, case)
    value, moved = CASES[name](views)[0], CASES[name](views + np.arange(views.shape[2]))[0]
    assert (moved == pytest.approx(value, abs=1e-8)) == (name in CENTRED)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_equal_features_are_flagged_and_never_preferred(name, level):
    views = views_of(name, TALL)
    value, flags = CASES[name](np.full_like(views, level))
    assert flags["constant"] == 1
    assert math.isnan(value) or value < CASES[name](views)[0]


@pytest.mark.parametrize("views", [np.zeros((0, 4, 3)), np.zeros((4, 2, 0)), np.full((4, 2, 3), np.inf)])
def test_what_is_no_sample_is_refused(name, views):
    with pytest.raises(ValueError, match="expected finite"):
        CASES[name](views)

"""The settings are those that the params name and the scores hold; what was not measured is named."""

from itertools import product
from typing import Any

import pytest

from medtransfer.config import Margins, Search
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Measured
from medtransfer.search.space import list_settings, margin_grid

DEFAULT = RobustnessSetting("cosine", 0.5, -2, "frozen")
SECTION: dict[str, Any] = {
    "out": "search", "results": "own", "per_encoder": False, "indicators": ["robustness"], "distances": ["cosine", "l2"],
    "margins": {"low": 0.0, "high": 0.6, "step": 0.2}, "levels": [-1, -2], "poolings": ["frozen", "never"],
}  # fmt: skip


def section(**changed: Any) -> Search:
    return Search.model_validate({**SECTION, **changed})


def measured(distances: str = "cosine l2", levels: tuple[int, ...] = (-1, -2, -3), margins: Any = None) -> Measured:
    return Measured(frozenset(product(distances.split(), levels)), margins and frozenset(margins))


@pytest.mark.parametrize(
    ("low", "high", "step", "default", "expected"),
    [
        (0.0, 0.6, 0.2, 0.4, [0.0, 0.2, 0.4, 0.6]),
        (0.0, 0.6, 0.2, 0.5, [0.0, 0.2, 0.4, 0.5, 0.6]),
        (0.0, 0.6, 0.2, 0.7, [0.0, 0.2, 0.4, 0.6]),
        (0.1, 0.5, 0.3, 0.1, [0.1, 0.4]),
        (0.5, 0.5, 0.01, 0.5, [0.5]),
        (0.3, 0.3, 0.01, 0.5, [0.3]),
    ],
)
def test_margins_go_from_low_to_high_with_the_default_between(
    low: float, high: float, step: float, default: float, expected: list[float]
):
    assert margin_grid(Margins(low=low, high=high, step=step), default) == expected


def test_the_whole_grid_has_a_margin_per_hundredth():
    assert margin_grid(Margins(low=0.0, high=1.0, step=0.01), 0.5) == [i / 100 for i in range(101)]


def test_every_combination_is_listed_in_the_order_of_the_params():
    settings, notes = list_settings(section(levels=[-2, -1, -2]), measured(), DEFAULT)
    margins = (0.0, 0.2, 0.4, 0.5, 0.6)
    assert settings == [RobustnessSetting(*values) for values in product(("cosine", "l2"), margins, (-2, -1), ("frozen", "never"))]
    assert notes == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distances": ["cosine", "chebyshev"]}, "chebyshev at level -1 was not; there are the distances cosine, l2 and "),
        ({"levels": [-4]}, "cosine at level -4 was not; .* the levels -1, -2, -3; choose from these"),
        ({"levels": [-1, -7]}, "cosine at level -7 was not"),
    ],
)
def test_what_was_not_measured_is_named(changed: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        list_settings(section(**changed), measured(), DEFAULT)


def test_scores_at_fixed_margins_limit_the_settings():
    fixed = measured(margins=(0.0, 0.25, 0.5, 1.0))
    settings, notes = list_settings(section(distances=["l2", "euclidean"], levels=[-2, -9]), fixed, DEFAULT)
    assert settings == [
        RobustnessSetting("l2", margin, -2, pooling) for margin in (0.0, 0.25, 0.5) for pooling in ("frozen", "never")
    ]
    assert notes == ["The scores hold no distance euclidean, no level -9: left out of the search."]
    assert list_settings(section(), measured(margins=(0.0,)), DEFAULT)[1] == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distances": ["euclidean"]}, r"search.distances to meet the grid of the stored scores \(cosine, l2\)"),
        ({"levels": [-9]}, r"search.levels .*\(-1, -2, -3\)"),
        ({"margins": {"low": 0.3, "high": 0.4, "step": 0.1}}, r"search.margins .*\(0.0, 0.5\)"),
    ],
)
def test_settings_without_stored_scores_are_refused(changed: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        list_settings(section(**changed), measured(margins=(0.0, 0.5)), DEFAULT)


def test_scores_that_lack_one_combination_are_refused():
    incomplete = Measured(frozenset({("cosine", -1), ("cosine", -2), ("l2", -1)}), frozenset({0.5}))
    with pytest.raises(InputError, match="l2 at level -2 was not"):
        list_settings(section(), incomplete, DEFAULT)


def test_what_can_be_judged():
    assert measured().covers(RobustnessSetting("l2", 0.123, -3, "always"))
    assert not measured().covers(RobustnessSetting("l2", 0.123, -4, "always"))
    assert not measured(margins=(0.5,)).covers(RobustnessSetting("l2", 0.123, -3, "always"))

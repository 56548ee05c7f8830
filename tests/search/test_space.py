"""The space is what the params name and the scores hold; what was not measured is named."""

from itertools import product
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.search.evaluate import Setting
from medtransfer.search.space import Measured, Space, listed_space, whole_space

SECTION: dict[str, Any] = {
    "out": "search", "name": "search", "results": "own", "storage": None, "trials": 4, "workers": 1, "seed": 0,
    "per_encoder": False, "distances": ["cosine", "l2"], "margin": [0.0, 0.6], "levels": [-1, -2], "poolings": ["frozen", "never"],
}  # fmt: skip


def section(**changed: Any) -> Search:
    return Search.model_validate({**SECTION, **changed})


def measured(distances: str = "cosine l2", levels: tuple[int, ...] = (-1, -2, -3), margins: tuple[float, ...] = ()) -> Measured:
    return Measured(frozenset(product(distances.split(), levels)), margins)


def test_the_space_of_stored_distances_has_a_continuous_margin():
    space = whole_space(section(levels=[-2, -1, -2]), measured())
    assert space == Space(("cosine", "l2"), (0.0, 0.6), (), (-2, -1), ("frozen", "never"))
    assert space.settings() == []
    assert space.distributions()["margin"] == FloatDistribution(0.0, 0.6)
    assert space.distributions()["level"] == CategoricalDistribution((-2, -1))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"distances": ["cosine", "chebyshev"]}, "chebyshev at level -1 was not; there are the distances cosine, l2 and "),
        ({"levels": [-4]}, "cosine at level -4 was not; .* the levels -1, -2, -3; choose from these"),
        ({"levels": [-1, -7]}, "cosine at level -7 was not"),
    ],
)  # fmt: skip
def test_what_was_not_measured_is_named(changed: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        whole_space(section(**changed), measured())


def test_the_space_of_listed_scores_is_their_grid():
    space, notes = listed_space(section(distances=["l2", "euclidean"], levels=[-2, -9]), measured(margins=(0.0, 0.25, 0.5, 1.0)))
    assert space == Space(("l2",), (0.0, 0.6), (0.0, 0.25, 0.5), (-2,), ("frozen", "never"))
    assert notes == ["The scores hold no distance euclidean, no level -9: left out of the space."]
    assert space.settings() == [Setting("l2", m, -2, p) for m in (0.0, 0.25, 0.5) for p in ("frozen", "never")]
    assert listed_space(section(), measured(margins=(0.0,)))[1] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"distances": ["euclidean"]}, r"search.distances to meet the grid of the stored scores \(cosine, l2\)"),
        ({"levels": [-9]}, r"search.levels .*\(-1, -2, -3\)"),
        ({"margin": [0.3, 0.4]}, r"search.margin .*\(0.0, 0.5\)"),
    ],
)
def test_a_space_beside_the_grid_is_refused(changed: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        listed_space(section(**changed), measured(margins=(0.0, 0.5)))


def test_a_grid_with_a_hole_is_refused():
    holed = Measured(frozenset({("cosine", -1), ("cosine", -2), ("l2", -1)}), (0.5,))
    with pytest.raises(InputError, match="l2 at level -2 was not"):
        listed_space(section(), holed)


def test_what_can_be_judged():
    assert measured().covers(Setting("l2", 0.123, -3, "always"))
    assert not measured().covers(Setting("l2", 0.123, -4, "always"))
    assert not measured(margins=(0.5,)).covers(Setting("l2", 0.123, -3, "always"))

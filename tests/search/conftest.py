"""Cases and spaces made by hand, that the tests of the search share."""

from collections.abc import Callable, Mapping
from itertools import product

import pytest

from medtransfer.search.evaluate import Case, Curve, Key
from medtransfer.search.space import Space

MARGINS = (0.0, 0.5)
PAIRS = tuple(product(("cosine", "l2"), (-1, -2)))
TIS = {0: 0.25, 1: 0.5, 5: 0.75, 10: 1.0}


@pytest.fixture
def grid() -> Space:
    """Give a space of 2 x 2 x 2 x 1 settings."""
    return Space(("cosine", "l2"), (0.0, 1.0), MARGINS, (-1, -2), ("frozen",))


@pytest.fixture
def line() -> Space:
    """Give a space of 2 x 2 settings and a margin between 0 and 1."""
    return Space(("cosine", "l2"), (0.0, 1.0), (), (-1, -2), ("frozen",))


class Peak:
    """A checkpoint of the same robustness at every margin."""

    def __init__(self, value: float) -> None:
        self.value = value

    def robustness(self, margin: float) -> float:
        """Give the robustness, whatever the margin."""
        return self.value


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """Give a maker of cases whose robustness, at each (distance, level), is highest at the epoch named for it, else at 1."""

    def make(target: str, favours: Mapping[tuple[str, int], int], encoder: str = "unet", mode: str = "full") -> Case:
        scores: dict[Key, dict[int, Curve]] = {
            (*pair, pooled): {epoch: Peak(0.9 if epoch == favours.get(pair, 1) else 0.1) for epoch in TIS}
            for pair, pooled in product(PAIRS, (False, True))
        }
        return Case(f"{encoder} {target} {mode}", encoder, target, mode, TIS, scores, f"{encoder} {target} {mode} {favours}")

    return make

"""Equal values compare as equal in whatever order they were summed; values that differ keep their order."""

from fractions import Fraction
from functools import reduce
from itertools import permutations
from math import inf, isnan, nan
from operator import add

import pytest

from medtransfer.metrics.ties import rounded

PARTS = [("1", "5/6", "1"), ("1/10", "2/10", "3/10"), ("7/9", "1/3", "8/9", "2/7")]


@pytest.mark.parametrize(
    ("parts", "scale"), [*((parts, scale) for parts in PARTS for scale in (1, 10**6)), (("1", "-1", "1/3", "-1/3"), 1)]
)
def test_sums_in_every_order_are_equal(parts: tuple[str, ...], scale: int) -> None:
    """The value in fractions is one and the same."""
    orders = list(permutations(map(Fraction, parts)))
    assert len({sum(order) for order in orders}) == 1
    floats = {scale * reduce(add, map(float, order)) / len(parts) for order in orders}  # `sum` makes up for rounding in Python 3.12
    assert len({rounded(value) for value in floats}) == 1


def test_the_noise_of_long_sums_is_rounded_away() -> None:
    assert rounded(0.9444444444444443) == rounded(0.9444444444444445) == rounded(17 / 18 + 3e-14) != rounded(17 / 18 + 4e-12)


def test_what_differs_keeps_its_order() -> None:
    values = [-inf, -1e6, -1e6 + 1e-3, -0.5, 0.0, 1e-9, 0.5, 0.5 + 1e-9, 0.944444444444, 1.0, 123456.789, inf]
    assert [rounded(value) for value in values] == values
    assert isnan(rounded(nan))

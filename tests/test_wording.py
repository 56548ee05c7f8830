"""Numbers of things in messages."""

import pytest

from medtransfer.wording import are, counted


@pytest.mark.parametrize(
    ("number", "things", "sentence"),
    [
        (0, "0 cells", "0 cells are"),
        (1, "1 cell", "1 cell is"),
        (2, "2 cells", "2 cells are"),
        (1790, "1,790 cells", "1,790 cells are"),
    ],
)
def test_one_thing_is_singular(number: int, things: str, sentence: str) -> None:
    assert (counted(number, "cell"), are(number, "cell")) == (things, sentence)

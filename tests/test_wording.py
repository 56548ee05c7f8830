"""Numbers of things in messages."""

from collections.abc import Sequence

import pytest

from medtransfer.wording import are, counted, did_you_mean, duration, epoch_list


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


@pytest.mark.parametrize(
    ("epochs", "text"),
    [
        ((7,), "7"),
        ((0, 1, 2, 5, 10), "0, 1, 2, 5, 10"),
        (range(501), "0 to 500 (501 epochs)"),
        (range(0, 2001, 2), "0 to 2000 (1,001 epochs)"),
    ],
)
def test_many_epochs_are_not_named_one_by_one(epochs: Sequence[int], text: str) -> None:
    assert epoch_list(epochs) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (5399, "90 min"), (5400, "1.5 h"), (9000, "2.5 h"),
        (35990, "10.0 h"), (108000, "30 h"),
    ],
)  # fmt: skip
def test_a_time_has_two_digits_or_so(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_similar_names_are_suggested_the_closest_first() -> None:
    assert did_you_mean("dicee", ["ce", "dice-ce", "dice", 7]) == " (did you mean dice or dice-ce?)"
    assert did_you_mean("nowhere", ["dice", "ce"]) == ""

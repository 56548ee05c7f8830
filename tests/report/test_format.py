"""Names are broken where they may be, and no letter is lost; what is said of the best."""

import pytest

from medtransfer.report.format import best_words, fold


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("unet-simple e010", ["unet-simple e010"]),
        ("unet-simple e000 (random)", ["unet-simple e000", "(random)"]),
        ("random@tf_efficientnet_lite0", ["random@tf_", "efficientnet_lite0"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklmnopqrst", "uvwxyz"]),
        ("runs/abcdefghijklmnopqrstuvwxyz.safetensors@unet",
         ["runs/", "abcdefghijklmnopqrst", "uvwxyz.safetensors@", "unet"]),
    ],
)  # fmt: skip
def test_a_name_is_broken_into_lines(name: str, lines: list[str]):
    assert fold(name, 20).split("\n") == lines
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")


@pytest.mark.parametrize(
    ("unbeaten", "words"),
    [
        ([True, False, False], ["likely", "no", "no"]),
        ([True, True, False], ["maybe", "maybe", "no"]),
        ([True, None, False], ["maybe", "–", "no"]),  # it was not compared with the second
        ([None, None], ["–", "–"]),
        ([True, None], ["–", "–"]),
        ([True], ["–"]),
        ([], []),
    ],
)
def test_the_best_is_named_as_surely_as_it_was_compared(unbeaten: list[bool | None], words: list[str]):
    assert best_words(unbeaten) == words

"""The text says what was found, how sure that is, and never more."""

from collections.abc import Callable

import pytest

from medtransfer.search.evaluate import Setting
from medtransfer.search.held_out import Best, Family, HeldOut, Scores, Totals
from medtransfer.search.markdown import write_up

DEFAULT = Setting("cosine", 0.5, -2, "frozen")
L2 = Setting("l2", 0.25, -1, "never")


def family(held: float | None = 0.9, encoder: str = "", tied: int = 0, default: float | None = 0.85) -> Family:
    best = Best("s", 3, L2, 0.95, tied, 40)
    scores = Scores(held or 0.0, 0.8, default, 0.97, 0.5)
    without = [HeldOut(target, Best(f"s-without-{target}", 1, L2, 0.96, 0, 40), (0,), scores) for target in ("moon", "sun")]
    single = held is None
    targets = ("moon",) if single else ("moon", "sun")
    return Family(encoder, best, (0, 1), targets, Scores(0.95, 0.9, default, 0.97, 0.5), () if single else tuple(without))


def totals(held: float | None = 0.9, default: float | None = 0.85) -> Totals:
    held_out = None if held is None else Scores(held, 0.8, default, 0.97, 0.5)
    return Totals(2, Scores(0.95, 0.9, default, 0.97, None), held_out)


def said(*families: Family, means: Totals | None = None) -> str:
    return write_up(families, means or totals(), DEFAULT, [])


def test_the_verdict_comes_first():
    text = said(family())
    assert text.split("\n\n")[1] == (
        "Over 2 configurations, the best setting is **l2, margin 0.25, level -1, pooling never**. Choosing offline by it brings a "
        "mean TIS (Dice of the chosen checkpoint over that of the best one) of 0.950 on the very results that it was chosen on."
    )
    assert (
        "the TIS is **0.900**; the in-sample value is 0.050 too high. On targets that it has not seen, the search gains 0.050"
        in text
    )
    assert "the default setting (cosine, margin 0.5, level -2, pooling frozen) brings 0.850, the last checkpoint 0.970." in text
    assert "| s-without-moon |     40 | l2       |  0.250 |    -1 | never   |              0.960 |" in text
    assert "| moon   |              1 | l2       |  0.250 |    -1 | never   | 0.900 |" in text


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: said(family(), means=totals(0.8)), "the search loses 0.050 against the default setting."),
        (lambda: said(family(), means=totals(0.85)), "the search does as well as the default setting."),
        (lambda: write_up([family()], totals(), L2, []), "But the default setting is the best of all on these results"),
        (lambda: said(family(), means=totals(0.96)), "the in-sample value is 0.010 lower."),
        (lambda: said(family(default=None), means=totals(default=None)), "On the same configurations, the last checkpoint 0.970."),
        (lambda: said(family(None), means=totals(None)), "With one target only (moon) nothing can be held out"),
        (lambda: said(family(None, "unet"), means=totals(None)), "With one target only (unet: moon) nothing can be held out"),
        (lambda: said(family(tied=1)), "(1 other setting did equally well; the earliest trial wins)"),
        (lambda: said(family(tied=7, encoder="unet")), "(7 other settings did equally well; the earliest trial wins)"),
        (lambda: said(family(encoder="swin"), family(encoder="unet")),
         "for swin **l2, margin 0.25, level -1, pooling never**; for unet **l2"),
        (lambda: said(family(encoder="swin")), "| moon (swin) |"),
        (lambda: write_up([family()], totals(), DEFAULT, ["this", "that"]), "## What else to know\n\n- this\n- that\n"),
    ],
)  # fmt: skip
def test_every_case_has_its_words(make: Callable[[], str], expected: str):
    assert expected in make()

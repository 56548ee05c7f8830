"""The text says what was found, how sure that is, and never more."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Case, Table
from medtransfer.search.held_out import Best, Family, HeldOut, Scores, Totals
from medtransfer.search.markdown import write_up
from medtransfer.tasks.contract import Metric

DEFAULT = RobustnessSetting("cosine", 0.5, -2, "frozen")
L2 = RobustnessSetting("l2", 0.25, -1, "never")


def scores(chosen: float, online: float, default: float | None, none: float | None = 0.5) -> Scores:
    return Scores({"best": chosen, "first-drop": online}, default, 0.97, none)


def totals(held: float | None = 0.9, default: float | None = 0.85) -> Totals:
    return Totals(2, scores(0.95, 0.9, default, None), None if held is None else scores(held, 0.8, default))


@pytest.fixture
def family(make_case: Callable[..., Case]) -> Callable[..., Family]:
    """Return a maker of families with a winner at l2."""

    def make(held: float | None = 0.9, encoder: str = "", tied: int = 0, default: float | None = 0.85) -> Family:
        single = held is None
        targets = ("moon",) if single else ("moon", "sun")
        table = Table(tuple(make_case(target, {}) for target in targets), (), {})
        without = [
            HeldOut(target, Best(f"search-without-{target}", 1, L2, 0.96, 0, 40), (scores(held or 0.0, 0.8, default),))
            for target in targets
        ]
        best = Best("search", 3, L2, 0.95, tied, 40)
        return Family(encoder, table, best, (scores(0.95, 0.9, default),) * 2, () if single else tuple(without))

    return make


def said(*families: Family, means: Totals | None = None) -> str:
    return write_up(families, means or totals(), DEFAULT, [])


def test_the_verdict_comes_first(family: Callable[..., Family]):
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
    assert "| search-without-moon |       40 | l2       |  0.250 |    -1 | never   |              0.960 |" in text
    assert "| moon   |              1 | l2       |  0.250 |    -1 | never   | 0.900 |" in text


def test_the_metric_is_that_of_the_cases(family: Callable[..., Family]):
    auc = Metric("auc", "AUC", 0.0, 1.0, "area under the curve")
    one = family()
    first, second = (replace(case, metric=auc) for case in one.table.cases)
    for cases, label in (((first, second), "AUC"), ((one.table.cases[0], second), "metric")):
        assert f"a mean TIS ({label} of the chosen" in said(replace(one, table=replace(one.table, cases=cases)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda family: said(family(), means=totals(0.8)), "the search loses 0.050 against the default setting."),
        (lambda family: said(family(), means=totals(0.85)), "the search does as well as the default setting."),
        (lambda family: write_up([family()], totals(), L2, []), "But the default setting is the best of all on these results"),
        (lambda family: said(family(), means=totals(0.96)), "the in-sample value is 0.010 lower."),
        (lambda family: said(family(default=None), means=totals(default=None)),
         "On the same configurations, the last checkpoint 0.970."),
        (lambda family: said(family(None), means=totals(None)), "With one target only (moon) nothing can be held out"),
        (lambda family: said(family(None, "unet"), means=totals(None)),
         "With one target only (unet: moon) nothing can be held out"),
        (lambda family: said(family(tied=1)), "(1 other setting did equally well; the nearest to the default wins)"),
        (lambda family: said(family(tied=7, encoder="unet")),
         "(7 other settings did equally well; the nearest to the default wins)"),
        (lambda family: said(family(encoder="swin"), family(encoder="unet")),
         "for swin **l2, margin 0.25, level -1, pooling never**; for unet **l2"),
        (lambda family: said(family(encoder="swin")), "| moon (swin) |"),
        (lambda family: write_up([family()], totals(), DEFAULT, ["this", "that"]), "## What else to know\n\n- this\n- that\n"),
    ],
)  # fmt: skip
def test_every_case_has_its_words(make: Callable[[Callable[..., Family]], str], expected: str, family: Callable[..., Family]):
    assert expected in make(family)

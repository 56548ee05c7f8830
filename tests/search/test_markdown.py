"""The text says what was found, how sure that is, and never more."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.search.evaluate import Case, Table
from medtransfer.search.held_out import Best, Family, HeldOut, Scores, Searched, Totals
from medtransfer.search.markdown import write_up
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Metric

DEFAULT = RobustnessSetting("cosine", 0.5, -2, "frozen")
L2 = RobustnessSetting("l2", 0.25, -1, "never")


def scores(chosen: float, online: float, default: float | None, none: float | None = 0.5) -> Scores:
    return Scores({"best": chosen, "first-drop": online}, default, 0.97, none)


def totals(
    held: float | None = 0.9, default: float | None = 0.85, error: float | None = None, factors: tuple[str, ...] = ("pretraining",)
) -> Totals:
    """Return totals whose errors are over six clusters, unless there is none: the t quantile is 2.5706."""
    seen = scores(0.95, 0.9, default, None)
    if held is None:
        return Totals(2, seen, None)
    known = (error, 5, 6, factors) if error else (None, 0, 2, ())
    gain = None if default is None else ClusterMean(held - default, *known)
    return Totals(2, seen, scores(held, 0.8, default), ClusterMean(held, *known), gain)


@pytest.fixture
def family(make_case: Callable[..., Case]) -> Callable[..., Family]:
    """Return a maker of families with a winner at l2."""

    def make(held: float | None = 0.9, encoder: str = "", tied: int = 0, default: float | None = 0.85) -> Family:
        single = held is None
        targets = ("moon",) if single else ("moon", "sun")
        table = Table(tuple(make_case(target, {}) for target in targets), (), {})
        without = [
            HeldOut(
                target,
                Best(f"search-without-{target}", 1, L2, 0.96, 0, 40),
                (scores(held or 0.0, 0.8, default),),
                ("imagenet unet",),
            )
            for target in targets
        ]
        best = Best("search", 3, L2, 0.95, tied, 40)
        return Family(encoder, table, best, (scores(0.95, 0.9, default),) * 2, () if single else tuple(without))

    return make


def said(
    *families: Family, means: Totals | None = None, default: RobustnessSetting = DEFAULT, notes: Sequence[str] = ()
) -> str:  # fmt: skip
    return write_up([Searched("robustness", families, means or totals())], default, notes, 0.95, 0.01)


def test_the_verdict_comes_first(family: Callable[..., Family]):
    text = said(family())
    assert text.split("\n\n")[1] == (
        "Over 2 configurations, the best setting is **l2, margin 0.25, level -1, pooling never**. Choosing offline by it brings a "
        "mean TIS (Dice of the chosen checkpoint over that of the best one) of 0.950 on the very results that it was chosen on."
    )
    assert (
        "the TIS is **0.900** (no interval: fewer than 6 pretrainings and targets); the in-sample value is 0.050 too high. On "
        "targets that it has not seen, the search gains 0.050 against the default setting (no interval: fewer than 6 pretrainings "
        "and targets): undecided." in text
    )
    assert "the default setting (cosine, margin 0.5, level -2, pooling frozen) brings 0.850, the last checkpoint 0.970." in text
    assert "| search-without-moon |       40 | l2       |  0.250 |    -1 | never   |         0.960 |" in text
    assert "| moon   |              1 | l2       |  0.250 |    -1 | never   | 0.900 |" in text


def test_a_held_out_tis_below_0_has_an_interval_by_a_metric_that_may_be_negative(family: Callable[..., Family]):
    low = Totals(2, scores(0.1, 0.1, None), scores(-0.3, 0.1, None), ClusterMean(-0.3, 0.05, 5, 6, ("pretraining",)), None)
    made = family()
    kappa = [replace(case, metric=TASKS["ordinal"].primary) for case in made.table.cases]
    negative = replace(made, table=replace(made.table, cases=tuple(kappa)))
    assert "interval 0.000 to" in said(made, means=low) and "interval 0.000 to" not in said(negative, means=low)


def test_the_metric_is_that_of_the_cases(family: Callable[..., Family]):
    auc = Metric("auc", "AUC", 0.0, 1.0, "area under the curve")
    one = family()
    first, second = (replace(case, metric=auc) for case in one.table.cases)
    for cases, label in (((first, second), "AUC"), ((one.table.cases[0], second), "metric")):
        assert f"a mean TIS ({label} of the chosen" in said(replace(one, table=replace(one.table, cases=cases)))


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        (totals(0.9, 0.85, 0.01), "**0.900** (95 % interval 0.728 to 0.926, over 6 pretrainings);"),
        (totals(0.9, 0.85, 0.03), "to 0.977, over 6 pretrainings);"),
        (totals(0.99, 0.9, 0.01), "**0.990** (95 % interval 0.964 to 1.000, over 6 pretrainings);"),
        (totals(0.9, 0.85, 0.01), "against the default setting (95 % interval 0.024 to 0.076, over 6 pretrainings): better."),
        (totals(0.9, 0.85, 0.03), "(95 % interval -0.027 to 0.127, over 6 pretrainings): undecided."),
        (totals(0.85, 0.9, 0.01, ("pretraining", "target")), "to -0.024, over 6 pretrainings and targets): worse."),
        (totals(0.99, 0.99, 0.002), "does as well as the default setting (95 % interval -0.005 to 0.005, over 6 pretrainings): "),
    ],
)  # fmt: skip
def test_intervals_are_over_clusters_and_those_of_a_tis_at_most_1(family: Callable[..., Family], means: Totals, expected: str):
    """The lowest TIS is that of exponential losses: 1 - 12 x 0.1 / chi2(0.025, 12) = 1 - 1.2 / 4.4038 at a mean of 0.9."""
    assert expected in said(family(), means=means)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda family: said(family(), means=totals(0.8)), "the search loses 0.050 against the default setting (no interval"),
        (lambda family: said(family(), means=totals(0.85)), "the search does as well as the default setting (no interval"),
        (lambda family: said(family(), default=L2), "But the default setting is the best of all on these results"),
        (lambda family: said(family(), means=totals(0.96)), "the in-sample value is 0.010 lower."),
        (lambda family: said(family(), means=totals(0.95 + 1e-16)), "the in-sample value is the same."),
        (lambda family: said(family(), means=totals(0.95 - 1e-16)), "the in-sample value is the same."),
        (lambda family: said(family(), means=totals(0.8502, 0.85, 1e-5)), "the search does better than the default setting (95 %"),
        (lambda family: said(family(), means=totals(0.8498, 0.85, 1e-5)), "the search does worse than the default setting (95 %"),
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
        (lambda family: said(family(), notes=["this", "that"]), "## What else to know\n\n- this\n- that\n"),
    ],
)  # fmt: skip
def test_every_case_has_its_words(make: Callable[[Callable[..., Family]], str], expected: str, family: Callable[..., Family]):
    assert expected in make(family)


def test_a_search_that_changes_nothing_is_not_called_equivalent(family: Callable[..., Family]):
    same = replace(totals(error=0.01), gain=ClusterMean(0.0, 0.0, 5, 6, ("pretraining",)))
    text = write_up([Searched(name, (family(),), same) for name in ("robustness", "logme")], DEFAULT, (), 0.95, 0.01)
    assert "the search does as well as the default setting in every configuration." in text
    assert text.count("the same in all") == 2 and "equivalent" not in text


def test_without_losses_the_held_out_interval_reaches_as_far_as_the_worst_checkpoint(family: Callable[..., Family]):
    """The cases' worst TIS is .25; six pretrainings may hide losses with a probability of .459."""
    best = replace(totals(held=1.0), mean_held_out=ClusterMean(1.0, 0.0, 5, 6, ("pretraining",)))
    assert f"interval {1 - 0.75 * (1 - 0.025 ** (1 / 6)):.3f} to 1.000" in said(family(), means=best)

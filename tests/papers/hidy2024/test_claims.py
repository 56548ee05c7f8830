"""Claims judged by their intervals, on configurations and cells made by hand."""

from collections.abc import Callable, Sequence

import pytest
from scipy import stats

from medtransfer.analysis.model import Analysis
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.papers.hidy2024.claims import LOST, NO, OPEN, YES, Evidence, Side, claim_rows, judge_claims, metric_claim

from .conftest import SAMPLING

Make = Callable[..., Analysis]
Cells = dict[tuple[str, ...], float]
PRETRAINED = [(scheme, encoder) for encoder in ("unet", "resnet50", "swin") for scheme in ("simple", "advanced")]
ROWS = {
    "cosine": "cosine, margin 0.50", "quarter": "cosine, margin 0.25", "pearson": "pearson, margin 0.50", "l2": "l2, margin 0.50",
    "accuracy": "ImageNet accuracy",
}  # fmt: skip
EVEN, UNEVEN = (0.02, 0.021, 0.019, 0.02, 0.022, 0.018), (0.06, -0.03, 0.05, -0.05, 0.02, 0.01)


def judged(analysis: Analysis, **rows: Cells) -> dict[str, Evidence]:
    """Return the evidence on every claim by its measure."""
    side = Side(analysis, {ROWS[name]: cells for name, cells in rows.items()}, SAMPLING)
    return {claim.measure: claim.keyed for claim in judge_claims(side, side)}


def cells(values: Sequence[float], dataset: str = "acdc", mode: str = "full") -> Cells:
    """Return one cell for each pretraining."""
    return {(dataset, *pretrained, mode): value for pretrained, value in zip(PRETRAINED, values, strict=False)}


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    return tuple(stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), stats.sem(values)))


@pytest.mark.parametrize(
    ("interval", "holds"),
    [((0.97, 0.979), NO), ((0.97, 0.98), OPEN), ((0.97, 0.99), OPEN), ((0.98, 0.99), OPEN), ((0.981, 0.99), YES), (None, OPEN)],
)
def test_a_mean_is_judged_by_its_interval(interval: tuple[float, float] | None, holds: str) -> None:
    """A threshold on the edge of the interval is within it."""
    middle = 0.985 if interval is None else sum(interval) / 2
    mean = ClusterMean(middle, None, 0, 2, ())
    assert Side.compare(Side(None, {}, SAMPLING), mean, 0.98, interval) == Evidence(middle, interval, holds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gains", "holds"), [(EVEN, YES), ([-gain for gain in EVEN], NO), (UNEVEN, OPEN), (EVEN[:5], OPEN)],
    ids=["clear", "clear loss", "mixed", "five pretrainings"],
)  # fmt: skip
def test_a_difference_over_pretrainings(make_analysis: Make, gains: Sequence[float], holds: str) -> None:
    evidence = judged(make_analysis(gains))["mean TIS, offline - full"]
    tis = [1 - max(0, -gain) - (1 - max(0, gain)) for gain in gains]  # the better one has TIS 1
    assert evidence.holds == holds and evidence.value == pytest.approx(sum(tis) / len(tis))
    if len(gains) < 6:
        assert evidence.interval is None
    else:
        assert evidence.interval == pytest.approx(t_interval(tis))


@pytest.mark.parametrize(
    ("losses", "holds"),
    [([0.0001, 0.0002] * 3, YES), ([0.01, 0.012] * 3, OPEN), ([0.2, 0.21] * 3, NO), ([0.0001, 0.0002], OPEN)],
    ids=["well above", "near", "below", "two pretrainings"],
)
def test_a_mean_tis_over_98_per_cent(make_analysis: Make, losses: Sequence[float], holds: str) -> None:
    """The lower limit is that of exponentially distributed losses where it is lower than Student's."""
    evidence = judged(make_analysis([-loss for loss in losses]))["mean TIS, offline"]
    mean = sum(losses) / len(losses)
    assert evidence.holds == holds and evidence.value == pytest.approx(1 - mean)
    if len(losses) == 6:
        lower, upper = t_interval([1 - loss for loss in losses])
        assert evidence.interval == pytest.approx((min(lower, 1 - 12 * mean / stats.chi2.ppf(0.025, 12)), min(1, upper)))


@pytest.mark.parametrize(
    ("worst", "spread", "holds"), [(0.96, 0.0005, YES), (0.951, 0.01, OPEN), (0.949, 0.01, OPEN), (0.93, 0.0005, NO)]
)
def test_the_worst_case_is_judged_by_its_interval_over_seeds(make_analysis: Make, worst: float, spread: float, holds: str) -> None:
    analysis = make_analysis([-0.001] * 5 + [worst - 1], spread)
    evidence = judged(analysis)["lowest TIS, offline"]
    assert evidence.holds == holds and evidence.value == pytest.approx(worst)
    assert evidence.interval is not None and (evidence.interval[0] <= 0.95 <= evidence.interval[1]) == (holds == OPEN)
    below = judged(make_analysis([0.001] * 5 + [0.26], 0.0005))["lowest TIS, full"]  # 1 - 0.26 is below 0.75
    assert below.holds == YES and below.value == pytest.approx(0.74)


@pytest.mark.parametrize(("rising", "longest", "share"), [(0, YES, YES), (3, NO, OPEN), (6, NO, NO)])
def test_the_online_choices(make_analysis: Make, rising: int, longest: str, share: str) -> None:
    """Where robustness keeps rising the online rule takes epoch 300, else epoch 1."""
    found = judged(make_analysis(EVEN, rising=rising))
    assert found["longest online choice, epochs"] == Evidence(300 if rising else 1, None, longest)
    assert (found["share of online choices that are epoch 1"].value, found["share of online choices that are epoch 1"].holds) == (
        1 - rising / 6, share,
    )  # fmt: skip


def test_the_smallest_lead_of_cosine_decides(make_analysis: Make) -> None:
    own = {**cells([0.9] * 6), **cells([0.9] * 6, "idrid")}

    def lead(pearson: Sequence[float]) -> Evidence:
        l2, other = {**cells([0.8] * 6), **cells([0.8] * 6, "idrid")}, {**cells([0.8] * 6), **cells(pearson, "idrid")}
        return judged(make_analysis(EVEN), cosine=own, pearson=other, l2=l2)[
            "smallest lead of cosine in mean TIS, on the data it was chosen on"
        ]

    for gaps, holds in ((EVEN, YES), (UNEVEN, OPEN), ([-gap for gap in EVEN], NO)):
        evidence = lead([0.9 - gap for gap in gaps])
        assert evidence.holds == holds and evidence.value == pytest.approx(sum(gaps) / 6)
        assert evidence.interval == pytest.approx(t_interval(gaps))


@pytest.mark.parametrize(
    ("changes", "holds"),
    [([0.0001, -0.0002] * 3, YES), ([0.004, -0.003] * 3, NO), ([0.0, 0.003, -0.001, 0.0, 0.002, 0.0], OPEN)],
)
def test_no_effect_is_a_small_mean_absolute_change(make_analysis: Make, changes: Sequence[float], holds: str) -> None:
    other = cells([0.9 + change for change in changes])
    evidence = judged(make_analysis(EVEN), cosine=cells([0.9] * 6), quarter=other)[
        "mean absolute change of TIS, below 0.001 (our threshold)"
    ]
    sizes = [abs(change) for change in changes]
    assert evidence.holds == holds and evidence.value == pytest.approx(sum(sizes) / 6)
    assert evidence.interval == pytest.approx(t_interval(sizes), abs=1e-12)


def test_rows_of_the_appendix_are_compared_on_their_common_cells(make_analysis: Make) -> None:
    better = cells([0.9 + gain for gain in EVEN]) | {("acdc", "simple", "unet", "decoder"): 0.1}
    found = judged(make_analysis(EVEN), pearson=better, accuracy=cells([0.9] * 6))
    assert found["mean TIS, Pearson - full"].holds == YES
    assert found["mean TIS, Pearson - full"].interval == pytest.approx(t_interval(EVEN))
    assert found["mean TIS, L2 - full"] == Evidence(None, None, LOST)


def test_without_configurations_nothing_can_be_judged(make_analysis: Make) -> None:
    assert {evidence.holds for evidence in judged(make_analysis([])).values()} == {LOST}


def test_the_rows_of_the_table_hold_the_interval() -> None:
    (row,) = claim_rows([metric_claim(0.97)])
    assert (row["keyed"], row["keyed_low"], row["keyed_high"], row["holds_keyed"]) == (0.97, None, None, YES)
    assert [metric_claim(value).keyed.holds for value in (0.96, None)] == [NO, LOST]

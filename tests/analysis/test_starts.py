"""Initialisations side by side: every number against SciPy and by hand, and what is never mixed."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from tests.report.test_report import CELL

from medtransfer import tracking
from medtransfer.analysis.learning import read_learning
from medtransfer.analysis.pools import collect
from medtransfer.analysis.starts import StartComparison, compare_starts
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.report import starts_text

SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")
A = [0.701, 0.713, 0.698, 0.709, 0.704, 0.710, 0.695, 0.707, 0.702, 0.706]  # values with printed results of every test
B = [0.692, 0.700, 0.687, 0.703, 0.691, 0.699, 0.688, 0.7005, 0.694, 0.690]
CURVES = {"A": [{1: 0.2, 2: 0.69, 3: 0.70}, {1: 0.3, 2: 0.71}], "B": [{1: 0.1, 2: 0.2, 3: 0.6}, {1: 0.1, 2: 0.66, 3: 0.66}]}


def add(values: list[float], epoch: int, curves: list[dict[int, float]] | None = None, **changed: str) -> None:
    records = []
    for seed, value in enumerate(values, start=1):
        fields = {**CELL, **changed, "epoch": epoch, "seed": seed}
        curve = {"validation_dice": curves[seed - 1]} if curves else {}
        records.append(tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value}, curve))
    tracking.write_runs("finetune", records, "runs")


def compared(reference: str | None = None, margin: float = 0.01) -> list[StartComparison]:
    return compare_starts(collect(SETTING)[0], 0.95, margin, reference)


@pytest.mark.parametrize("reference", [None, "supervised"])
def test_the_tests_are_those_of_the_papers_and_better_ones(workplace: Path, reference: str | None) -> None:
    """Student, Welch, rank-sum and Hedges' g have the values of SciPy, and of a computation elsewhere for these two samples."""
    add(B, 0 if reference is None else 10, origin="supervised", pretraining="p1")
    add(A, 10, origin="swav" if reference else "supervised", pretraining="p2" if reference else "p1")
    (comparison,) = compared(reference)
    best, other = comparison.rows
    assert (best.mean, best.std) == pytest.approx((0.7045, stats.tstd(A)))
    assert best.gain == pytest.approx(0.01005) and other.gain is None and other.tests is None
    assert best.tests is not None
    assert (best.tests.student, best.tests.welch) == pytest.approx((9.1147584e-4, 9.1233504e-4))
    assert best.tests.mann_whitney == pytest.approx(1.5046873e-3)
    assert best.tests.effect == pytest.approx(1.6975272573, rel=1e-3)
    assert best.tests.holm == best.tests.welch
    half = stats.t.ppf(0.975, 9) * stats.sem([a - b for a, b in zip(A, B, strict=True)])
    assert best.gain_interval == pytest.approx((0.01005 - half, 0.01005 + half))
    assert (best.unbeaten, other.unbeaten) == (True, False)


def test_results_that_no_seed_changes_count_once(workplace: Path) -> None:
    """A head that is solved for has no spread over seeds, so that nothing can be tested; of drawn subsets it has."""
    for mode, size in (("linear", "None"), ("linear", "20")):
        add([0.8, 0.8, 0.8 + 0.01 * (size == "20")], 0, mode=mode, size=size)
        add([0.9, 0.9, 0.9], 10, mode=mode, size=size)
    pools, left = collect(SETTING)
    by_size = {pool.portion[0]: pool for pool in pools}
    assert by_size[""].values == {0: [0.8], 10: [0.9]} and len(by_size["20"].values[10]) == 3
    assert left == ["unet simple → moon, linear: equal results with every seed, which count once"]
    whole, subset = compare_starts(pools, 0.95, 0.01)[::-1]
    assert [(row.std, row.gain_interval, row.tests, row.unbeaten) for row in whole.rows] == [(None, None, None, None)] * 2
    assert [row.start.seedless for row in (*whole.rows, *subset.rows)] == [True, True, False, False]
    assert whole.rows[0].gain == pytest.approx(0.1) and subset.rows[0].tests is not None


def test_a_comparison_knows_what_the_same_label_everywhere_reaches(workplace: Path) -> None:
    for origin, constant in (("old", {}), ("new", {"test_constant_dice": 0.9})):
        fields = {**CELL, "origin": origin, "pretraining": origin, "epoch": 10, "seed": 1}
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": 0.7, **constant})], "runs")
    (comparison,) = compared()
    assert comparison.constant == 0.9 and len(comparison.rows) == 2


def test_an_unknown_reference_is_refused(workplace: Path) -> None:
    add(A, 10, origin="swav")
    with pytest.raises(InputError, match=r"report.reference to be one of the origins swav, or null .* 'nosuch'"):
        compared("nosuch")


def test_holm_corrects_for_all_starts_of_a_target_and_random_weights_are_there_once(workplace: Path) -> None:
    for number, shift in enumerate((0.0, 0.004, 0.012)):
        add(B, 0, origin=f"o{number}", pretraining=f"p{number}")
        add([value + shift for value in B], 10, origin=f"o{number}", pretraining=f"p{number}")
    (comparison,) = compared(margin=0.02)
    assert [row.start.name for row in comparison.rows] == [
        "unet o2, epoch 10", "unet o1, epoch 10", "unet o0, epoch 10", "unet random",
    ]  # fmt: skip
    plain = [stats.ttest_ind([v + s for v in B], B, equal_var=False).pvalue for s in (0.012, 0.004, 0.0)]
    found = [row.tests.holm for row in comparison.rows if row.tests]
    assert found == pytest.approx([3 * plain[0], 2 * plain[1], 1.0])
    equal = comparison.rows[1].tests
    error = (2 * stats.tvar(B) / 10) ** 0.5
    assert equal is not None and equal.equivalence == pytest.approx(stats.t.sf((0.02 - 0.004) / error, 18))


def test_targets_modes_sizes_and_recipes_are_apart_and_folds_are_repetitions(workplace: Path) -> None:
    add([0.5, 0.6], 0)
    add([0.7, 0.8], 10)
    for fold in ("1", "2", "3"):
        portion = {"size": "20", "fold": fold, "folds": "3"}
        add([0.5, 0.5 + int(fold) / 10], 0, **portion)
        add([0.6, 0.6 + int(fold) / 10], 10, **portion)
    add([0.4], 10, protocol="other")  # alone
    small, whole = compared()
    assert (small.name, whole.name) == ("moon, full, 20 images, 3 folds", "moon, full")
    assert replace(small, size="50%").name == "moon, full, 50% of the images, 3 folds"
    assert small.rows[0].start.values == pytest.approx([0.65, 0.7, 0.75]) and small.rows[0].gain == pytest.approx(0.1)
    assert len(whole.rows[0].start.values) == 2


def test_a_single_seed_is_not_tested(workplace: Path) -> None:
    add([0.5], 0)
    add([0.7], 10)
    (comparison,) = compared()
    first = comparison.rows[0]
    assert (first.std, first.tests, first.unbeaten, first.gain_interval) == (None, None, None, None)
    assert first.gain == pytest.approx(0.2)


def test_the_level_of_curves_is_over_folds_as_in_a_study(workplace: Path) -> None:
    """Fold 1 has three seeds and fold 2 one: their means count alike, .775 of the finals."""
    for fold, finals in (("1", (0.9, 0.84, 0.84)), ("2", (0.69,))):
        for epoch, lower in ((0, 0.3), (10, 0.0)):
            curves = [{1: 0.1, 2: final - lower} for final in finals]
            add([final - lower for final in finals], epoch, curves, size="20", fold=fold, folds="2")
    ((best, *_),) = read_learning(compared())
    assert best.level == pytest.approx(0.95 * (0.86 + 0.69) / 2) and len(best.curves) == 4
    assert best.mean == {1: pytest.approx(0.1), 2: pytest.approx(0.775)}


def test_epochs_of_the_curves_by_hand(workplace: Path) -> None:
    add([0.7, 0.71], 10, CURVES["A"])
    add([0.6, 0.66], 0, CURVES["B"])
    (learned,) = read_learning(compared())
    fast, slow = learned
    assert fast.level == pytest.approx(0.95 * 0.705)  # of the mean of the last values .70 and .71
    assert (fast.best, fast.last, fast.reached) == ((3, 2), (3, 2), (2, 2))
    assert (slow.best, slow.last, slow.reached) == ((3, 2), (3, 3), (None, None))
    assert fast.mean == {1: pytest.approx(0.25), 2: pytest.approx(0.7)}


def test_the_best_epoch_is_the_earliest_of_those_that_differ_by_rounding(workplace: Path) -> None:
    add([0.9, 0.9], 10, [{1: 0.5, 2: 0.9444444444444443, 3: 0.9444444444444445}, {1: 0.5, 2: 0.944444, 3: 0.944445}])  # 17/18
    add([0.6, 0.66], 0, CURVES["B"])
    ((start, _),) = read_learning(compared())
    assert start.best == (2, 3)


def test_weights_that_continue_from_others_start_at_those_and_have_their_chain_as_name(workplace: Path) -> None:
    add([0.5, 0.6], 0)
    add([0.7, 0.8], 10)
    add([0.7, 0.8], 0, origin="xrays", pretraining="p2")
    add([0.8, 0.9], 10, origin="xrays", pretraining="p2")
    parent = {"origin": "simple", "epoch": 10}
    pools = [
        replace(pool, parents=(parent,), chain="simple>xrays") if pool.fields["origin"] == "xrays" else pool
        for pool in collect(SETTING)[0]
    ]
    (comparison,) = compare_starts(pools, 0.95, 0.01)
    assert [row.start.name for row in comparison.rows] == [
        "unet simple>xrays, epoch 10", "unet simple, epoch 10", "unet random",
    ]  # fmt: skip
    assert [row.gain for row in comparison.rows] == [pytest.approx(0.3), pytest.approx(0.2), None]
    (against,) = compare_starts(pools, 0.95, 0.01, "simple")
    assert [row.gain for row in against.rows] == [pytest.approx(0.1), None, pytest.approx(-0.2)]
    untrained = [replace(pool, parents=({**parent, "epoch": 0},)) if pool.parents else pool for pool in pools]
    (random,) = compare_starts(untrained, 0.95, 0.01)
    assert [row.start.name for row in random.rows].count("unet random") == 1 and len(random.rows) == 3


def test_random_weights_of_another_encoder_are_no_reference_and_a_checkpoint_that_is_only_scored_no_start(workplace: Path) -> None:
    add([0.5, 0.6], 0)
    add([0.7, 0.8], 10)
    add([0.7, 0.9], 10, encoder="swin", pretraining="p2")
    pools = [replace(pool, candidates=(*pool.candidates, 30)) for pool in collect(SETTING)[0]]
    (comparison,) = compare_starts(pools, 0.95, 0.01)
    assert {row.start.name: row.gain for row in comparison.rows} == {
        "swin simple, epoch 10": None, "unet simple, epoch 10": pytest.approx(0.2), "unet random": None,
    }  # fmt: skip
    assert {row.start.name for row in comparison.rows if row.is_reference} == {"unet random"}


def test_a_reference_without_shared_seeds_is_the_only_one_that_is_called_so(workplace: Path) -> None:
    add([0.5, 0.6], 0)
    records = []
    for seed, value in ((8, 0.7), (9, 0.8)):
        fields = {**CELL, "epoch": 10, "seed": seed}
        records.append(tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value}))
    tracking.write_runs("finetune", records, "runs")
    rows = starts_text.table_rows(compared()[0])
    assert [(row["start"], row["above reference, paired"]) for row in rows] == [
        ("unet simple, epoch 10", "–"), ("unet random", "reference"),
    ]  # fmt: skip


def test_starts_that_learned_nothing_have_no_best(workplace: Path) -> None:
    add([0.05, 0.04], 0)
    add([0.08, 0.09], 10)
    (comparison,) = compare_starts(collect(SETTING)[0], 0.95, 0.01, least=0.1)
    assert [row.unbeaten for row in comparison.rows] == [None, None]
    assert starts_text.verdict(comparison, 0.95) == (
        "no model learned: unet simple at epoch 10 has the highest mean Dice, 0.085, and results up to 0.100 are taken for none "
        "(`report.least`)."
    )
    (learned,) = compare_starts(collect(SETTING)[0], 0.95, 0.01, least=0.08)
    assert None not in [row.unbeaten for row in learned.rows] and "no model learned" not in starts_text.verdict(learned, 0.95)


def test_an_effect_without_spread_is_a_dash(workplace: Path) -> None:
    add([0.5, 0.5], 0)
    add([0.7, 0.7], 10)
    (comparison,) = compared()
    assert [row["g"] for row in starts_text.table_rows(comparison)] == ["–", "–"]
    assert [row["hedges_g"] for row in starts_text.csv_rows([comparison], [()])] == [None, None]

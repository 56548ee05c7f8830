"""The outcome by number of training images: means over folds and seeds by hand, and pools that are never mixed."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from scipy import stats
from tests.report.test_report import CELL, add_dice

from medtransfer.analysis.by_size import curves_over_size
from medtransfer.analysis.evidence_rows import own_rows
from medtransfer.analysis.pools import collect
from medtransfer.analysis.starts import compare_starts
from medtransfer.analysis.summary import analyse
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.report import data_notes, page, size_text, tables
from medtransfer.report.plots.by_size import lines_of
from medtransfer.report.stage import sampling_of

SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")
OUTCOMES = {  # by size and fold: epoch 0 and epoch 10 with two seeds
    ("20", 1): {0: (0.50, 0.54), 10: (0.60, 0.62)}, ("20", 2): {0: (0.55, 0.57), 10: (0.58, 0.60)},
    ("20", 3): {0: (0.52, 0.52), 10: (0.66, 0.68)}, ("100", 1): {0: (0.70, 0.70), 10: (0.72, 0.74)},
    ("100", 2): {0: (0.69, 0.71), 10: (0.71, 0.71)}, ("100", 3): {0: (0.72, 0.74), 10: (0.75, 0.77)},
}  # fmt: skip


def store(outcomes=OUTCOMES) -> None:
    for (size, fold), dice in outcomes.items():
        add_dice(dice, size=size, fold=str(fold), folds="3")


def test_folds_are_means_over_seeds_and_the_interval_is_over_folds(workplace: Path) -> None:
    store()
    (curve,) = curves_over_size(collect(SETTING)[0], 0.95)
    assert (curve.name, curve.sizes) == ("moon, full, 3 folds", ("20", "100"))
    point = next(point for point in curve.points if (point.epoch, point.size) == (10, "20"))
    assert point.mean == pytest.approx((0.61 + 0.59 + 0.67) / 3) and (point.folds, point.seeds) == (3, 2)
    half = stats.t.ppf(0.975, 2) * stats.sem([0.61, 0.59, 0.67])
    assert point.interval == pytest.approx((point.mean - half, point.mean + half))
    gains = [0.61 - 0.52, 0.59 - 0.56, 0.67 - 0.52]
    assert point.gain == pytest.approx(sum(gains) / 3)
    half = stats.t.ppf(0.975, 2) * stats.sem(gains)
    assert point.gain_interval == pytest.approx((point.gain - half, point.gain + half))
    assert next(point for point in curve.points if point.epoch == 0).gain is None


def test_without_folds_the_interval_is_over_seeds_and_shares_follow_numbers(workplace: Path) -> None:
    sizes = ("100", "0.05", "20", "None")
    for number, size in enumerate(sizes):
        add_dice({0: (0.5, 0.6), 5: (0.6, 0.8 + number / 100)}, size=size, fold="None", folds="None")
    (curve,) = curves_over_size(collect(SETTING)[0], 0.9)
    assert curve.sizes == ("20", "100", "5%", "") and curve.name == "moon, full"
    point = next(point for point in curve.points if (point.epoch, point.size) == (5, "20"))
    assert (point.mean, point.folds, point.seeds) == (pytest.approx(0.71), 0, 2)
    assert point.interval == (pytest.approx(max(0.0, 0.71 - stats.t.ppf(0.95, 1) * 0.11)), 1.0)


def test_pretrainings_of_one_origin_are_lines_of_their_own(workplace: Path) -> None:
    for pretraining, shift in (("p1", 0.0), ("p2", 0.1)):
        for number, size in enumerate(("20", "None")):
            add_dice({0: (0.3, 0.4), 5: (0.5 + shift, 0.6 + shift + number / 50)}, size=size, pretraining=pretraining)
    (curve,) = curves_over_size(collect(SETTING)[0], 0.95)
    lines = lines_of(curve)
    assert list(lines) == ["unet simple, random [p1]", "unet simple, epoch 5 [p1]", "unet simple, epoch 5 [p2]"]
    assert [[point.size for point in points] for points in lines.values()] == [["20", ""]] * 3
    rows = size_text.csv_rows([curve])
    names = ("origin", "pretraining", "epoch", "size")
    assert len({tuple(row[name] for name in names) for row in rows}) == len(rows) == 8


def test_gains_over_random_weights_are_those_of_the_initialisations(workplace: Path) -> None:
    """Random weights of two origins, as with `study.random: each`: one report compares with the same ones everywhere."""
    for size in ("20", "None"):
        add_dice({0: (0.30, 0.32), 5: (0.50, 0.55)}, size=size, origin="advanced", pretraining="a")
        add_dice({0: (0.40, 0.44), 5: (0.60, 0.61)}, size=size, pretraining="s")
    pools = collect(SETTING)[0][::-1]
    (curve,) = curves_over_size(pools, 0.95)
    gains = {(point.origin, point.size): point.gain for point in curve.points if point.epoch}
    assert gains["simple", ""] == pytest.approx((0.30 + 0.29) / 2) and gains["advanced", ""] == pytest.approx((0.20 + 0.23) / 2)
    for comparison in compare_starts(pools, 0.95, 0.01):
        for row in comparison.rows:
            if row.start.origin:
                assert row.gain == pytest.approx(gains[row.start.origin, comparison.size])


def test_weights_that_others_continue_from_are_not_random(workplace: Path) -> None:
    for size in ("20", "None"):
        add_dice({0: (0.3, 0.4), 5: (0.6, 0.6)}, size=size, origin="advanced", pretraining="a")
        add_dice({0: (0.6, 0.6), 5: (0.7, 0.7)}, size=size, pretraining="s")
    parents = ({"origin": "advanced", "epoch": 5},)
    pools = [replace(pool, parents=parents) if pool.fields["origin"] == "simple" else pool for pool in collect(SETTING)[0]]
    (curve,) = curves_over_size(pools, 0.95)
    assert {(point.origin, point.epoch) for point in curve.points} == {("advanced", 0), ("advanced", 5), ("simple", 5)}
    assert [point.gain for point in curve.points if point.origin == "simple"] == pytest.approx([0.35, 0.35])


def test_pools_of_other_sizes_and_folds_are_never_mixed(workplace: Path) -> None:
    store()
    add_dice({0: (0.8,), 10: (0.9,)})  # an older run, on all images
    pools, _ = collect(SETTING)
    assert [pool.portion for pool in pools] == [("", ""), *((s, f"{f}/3") for s, f in sorted(product(("100", "20"), (1, 2, 3))))]
    assert {len(pool.outcome) for pool in pools} == {2, 4} and len({pool.name for pool in pools}) == 7
    assert "unet simple → moon, full, size 20, fold 1/3" in {pool.name for pool in pools}
    assert "unet simple → moon, full" in {pool.name for pool in pools}


def test_folds_and_other_divisions_are_other_curves(workplace: Path) -> None:
    store({key: value for key, value in OUTCOMES.items() if key[0] == "20"})
    add_dice({0: (0.8,), 10: (0.9,)})
    assert curves_over_size(collect(SETTING)[0], 0.95) == []


def test_the_report_has_table_picture_and_what_folds_do_not_say_once(workplace: Path, tiny_params) -> None:
    store()
    analysis = analyse(collect(SETTING)[0], [], sampling_of(tiny_params({"report.draws": 100}).report), [], 0)
    text, html = tables.markdown(analysis, "title"), page.render(analysis, "title")
    assert f"## {size_text.HEADING}" in text and "| unet simple, epoch 10 | 20" in text
    for written in (text, html):
        assert written.count(size_text.FOLDS) == 1
        assert written.count("Each size and fold of the training images is a configuration of its own.") == 1
    assert "moon, full, 3 folds: test Dice by number of training images" in html
    assert {row["size"] for row in tables.dice_rows(analysis)} == {"20", "100"}
    (curve,) = curves_over_size([judged.pool for judged in analysis.judged], 0.95)
    assert list(lines_of(curve)) == ["unet simple, random", "unet simple, epoch 10"]
    assert not any("training images is" in line for line in data_notes.settings(analyse([], [], analysis.sampling, [], 0)))


def test_evidence_of_portions_has_protocols_of_its_own(workplace: Path) -> None:
    more = {"weights": "a" * 64, "task": "segmentation", "classes": "1", "train_epochs": "3", "epoch_steps": "None",
            "batch_size": "4", "data": "0" * 12, "protocol": "1" * 12}  # fmt: skip
    for portion in ({}, {"size": "20", "fold": "None", "folds": "None"}, {"size": "20", "fold": "1", "folds": "3"}):
        add_dice({0: (0.5, 0.6)}, **more, **portion)
    rows, _ = own_rows(Path("data/prepared"))
    assert len(rows) == 3 == len({row.protocol for row in rows}) and {row.seeds for row in rows} == {2}
    assert CELL["protocol"] != more["protocol"] in {row.protocol for row in rows}

"""Printed cells that were made with a known alignment: it is found again; and the real ones, some worked out by hand."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pandas as pd
import pytest

from medtransfer.papers.hidy2024.alignment import CONTRADICTED, NOISE, REPRODUCED, Block, find_alignments, other_runs, verdict
from medtransfer.papers.hidy2024.cells import Cell, cell_rows, count_rows, describe, judge_cells
from medtransfer.papers.hidy2024.files import read_downstream, read_robustness
from medtransfer.papers.hidy2024.importing import mark_copies
from medtransfer.papers.hidy2024.printed import ROWS, Printed, printed_cells
from medtransfer.papers.hidy2024.released import KEYED, Alignment, Missing, Recomputed, Value
from medtransfer.papers.hidy2024.store import KEY, Released

from .conftest import SAMPLING

pytestmark = pytest.mark.long

Judged = tuple[list[Cell], dict[tuple[str, str, str], Block]]


def released(downstream: pd.DataFrame, robustness: pd.DataFrame) -> Released:
    """Put tables together as reading the store does."""
    dice = downstream.drop_duplicates(KEY).assign(run="r")
    return Released.of(dice, mark_copies(robustness), {})


@pytest.fixture(scope="module")
def synthetic(released_files: tuple[Path, Path]) -> Recomputed:
    return Recomputed(released(read_downstream(released_files[0]), read_robustness(released_files[1])), SAMPLING)


@pytest.fixture(scope="module")
def real(published: tuple[Path, Path]) -> Recomputed:
    return Recomputed(released(read_downstream(published[0]), read_robustness(published[1])), SAMPLING)


@pytest.fixture(scope="module")
def judged(real: Recomputed) -> Judged:
    return judge_cells(real, SAMPLING.confidence)


def printed_with(recomputed: Recomputed, cells: Sequence[Printed], alignment: Alignment) -> list[Printed]:
    return [replace(cell, printed=round(recomputed.cell(cell, alignment).value, 3)) for cell in cells]


@pytest.mark.parametrize(
    "alignment",
    [
        Alignment(copies=True),
        Alignment({"simple": 0, "advanced": 1}, copies=True),
        Alignment({"simple": 2, "advanced": 9}, {"covid-qu": "idrid", "idrid": "covid-qu", "acdc": "acdc"}, copies=True),
    ],
    ids=["by key", "shifted", "shifted and swapped"],
)
def test_an_alignment_that_printed_cells_were_made_with_is_found_again(synthetic: Recomputed, alignment: Alignment) -> None:
    cells = [
        cell
        for cell in printed_cells()
        if cell.table in {"1", "2", "3a", "3b"} or cell.row in {"ImageNet accuracy", "no pretraining"}
    ]
    made = printed_with(synthetic, cells, alignment)
    blocks = find_alignments(made, synthetic, SAMPLING.confidence)
    for name, block in blocks.items():
        assert block.reproduced == block.agreeing == block.cells, name
        if name[1]:
            assert block.alignment.rotation == {name[1]: alignment.rotation.get(name[1], 0)}
    assert all(block.keyed == block.cells for block in blocks.values()) == (alignment == Alignment(copies=True))


def test_a_shuffle_of_the_rows_changes_no_cell(released_files: tuple[Path, Path], synthetic: Recomputed) -> None:
    tables = read_downstream(released_files[0]), read_robustness(released_files[1])
    shuffled = released(*(table.sample(frac=1, random_state=3) for table in tables))
    assert judge_cells(Recomputed(shuffled, SAMPLING), SAMPLING.confidence) == judge_cells(synthetic, SAMPLING.confidence)


def test_a_missing_length_makes_its_cells_not_recomputable_and_no_others(released_files: tuple[Path, Path]) -> None:
    downstream, robustness = read_downstream(released_files[0]), read_robustness(released_files[1])
    gone = (downstream["encoder"] == "unet") & (downstream["target"] == "acdc") & (downstream["mode"] == "full")
    gone &= (downstream["scheme"] == "simple") & (downstream["epoch"] == 50)
    cells, _ = judge_cells(Recomputed(released(downstream[~gone], robustness), SAMPLING), SAMPLING.confidence)
    lost = {cell.printed for cell in cells if cell.verdict == "not recomputable"}
    assert lost == {cell for cell in printed_cells() if cell.covers("unet", "acdc", "full", "simple")}
    assert {cell.reason for cell in cells if cell.printed in lost} == {
        "not every length of unet acdc full simple has the Dice of two seeds"
    }


def test_a_missing_score_is_named(released_files: tuple[Path, Path]) -> None:
    downstream, robustness = read_downstream(released_files[0]), read_robustness(released_files[1])
    gone = (robustness[["encoder", "scheme", "target", "epoch"]] == ["swin", "advanced", "idrid", 100]).all(axis=1)
    recomputed = Recomputed(released(downstream, robustness[~gone]), SAMPLING)
    cell = Printed("B.3", "l2, margin 0.50", "idrid", "advanced", "swin", "full", 0.9)
    with pytest.raises(Missing, match="no robustness of swin advanced on idrid .*flattened.* at length 100"):
        recomputed.cell(cell, KEYED)


@pytest.mark.parametrize(
    ("printed", "others", "expected"),
    [
        (0.900, set(), REPRODUCED), (0.8995, {"idrid"}, REPRODUCED),
        (0.899, set(), CONTRADICTED),  # the printed runs are the released ones: the seeds explain nothing
        (0.899, {"idrid"}, NOISE),
        (0.8725, {"idrid"}, NOISE),  # 1.96 x sqrt(2) x .01 = .0277 since both sides vary, and half a digit
        (0.8715, {"idrid"}, CONTRADICTED), (0.8725, {"acdc"}, CONTRADICTED),
        (0.845, {"covid-qu"}, NOISE), (0.844, {"covid-qu"}, CONTRADICTED),  # .0554
        (0.838, {"idrid", "covid-qu"}, NOISE), (0.837, {"idrid", "covid-qu"}, CONTRADICTED),  # .0620
    ],
)  # fmt: skip
def test_verdicts_by_hand(printed: float, others: set[str], expected: str) -> None:
    """Noise of 0.01 on IDRiD and of 0.02 on COVID-QU; only that of datasets with other runs counts."""
    assert verdict(printed, Value(0.9, {"idrid": 0.01, "covid-qu": 0.02}), 0.95, others) == expected


def test_the_noise_of_a_mean_over_configurations_is_that_of_each_dataset(synthetic: Recomputed) -> None:
    """Configurations are trained independently: their variances add up, over the square of their number."""
    whole = synthetic.cell(Printed("3a", "robustness (offline)", "", "simple", "", "full", 0.9), KEYED)
    assert whole.noise.keys() == {"acdc", "covid-qu", "idrid"}
    for target, noise in whole.noise.items():
        parts = [
            synthetic.cell(Printed("B.1", "robustness (offline)", target, "simple", encoder, "full", 0.9), KEYED).noise
            for encoder in ("unet", "resnet50", "swin")
        ]
        assert all(part.keys() == {target} for part in parts)
        assert noise == pytest.approx(sum(part[target] ** 2 for part in parts) ** 0.5 / 9)


def test_reasons_name_noise_only_where_runs_differ(synthetic: Recomputed) -> None:
    """The printed Dice fit the generated runs nowhere, so that all datasets count as others; made to fit, none does."""
    assert other_runs(printed_cells(), synthetic) == {"acdc", "covid-qu", "idrid"}
    assert other_runs(printed_with(synthetic, printed_cells(), KEYED), synthetic) == set()
    reasons = {cell.reason for cell in judge_cells(synthetic, SAMPLING.confidence)[0] if cell.verdict != REPRODUCED}
    assert all(", where noise over seeds explains 0.0" in reason for reason in reasons)


def test_an_alignment_in_words() -> None:
    assert describe(KEYED) == "scores and Dice are joined by key"
    words = describe(Alignment({"simple": 0, "advanced": 1}, {"idrid": "covid-qu", "acdc": "acdc"}, "inverted", True), "idrid")
    assert words == (
        "the Dice of scheme advanced stand 1 length too early against the scores and the scores labelled covid-qu are taken for "
        "idrid and features are pooled for full training and flattened for decoder-only training, against the text and the copied "
        "scores of length 0 take part"
    )
    assert "idrid" not in describe(Alignment(labels={"idrid": "covid-qu"}), "acdc")


def test_the_printed_tables_are_whole() -> None:
    cells = printed_cells()
    counts = pd.Series([cell.table for cell in cells]).value_counts().to_dict()
    assert counts == {"1": 18, "2": 18, "3a": 24, "3b": 24, "4": 30, "5": 24, "6": 24, "B.1": 144, "B.2": 144, "B.3": 144}
    assert len({replace(cell, printed=0.0) for cell in cells}) == len(cells)
    assert {cell.row for cell in cells} == set(ROWS)
    assert all(0.3 < cell.printed <= 1 for cell in cells)


def dice_by_hand(path: Path, model: str, dataset: str, frozen: str, scheme: str) -> dict[int, float]:
    """Average the released Dice with nothing but the csv module; duplicates count once."""
    values: dict[int, set[tuple[str, float]]] = defaultdict(set)
    with path.open() as handle:
        for line in csv.DictReader(handle):
            wanted = (line["model"], line["dataset"], line["freeze encoder"]) == (model, dataset, frozen)
            if wanted and (line["pretraining scheme"] == scheme or line["pretraining length"] == "0"):
                dice = float(line["mean dice index"] or line["dice index"])
                values[int(line["pretraining length"])].add((line["seed"], dice))
    return {length: mean(dice for _, dice in found) for length, found in values.items()}


def test_some_cells_by_hand(published: tuple[Path, Path], judged: Judged) -> None:
    simple = dice_by_hand(published[0], "Swin U-Net", "ACDC", "True", "simple")
    advanced = dice_by_hand(published[0], "Swin U-Net", "ACDC", "True", "advanced")
    best = max(advanced.values())
    by_hand = {  # (row, scheme): keyed, printed; as printed, the last of `advanced` is the random initialisation
        ("ImageNet accuracy", "simple"): (simple[300] / max(simple.values()), 0.997),
        ("no pretraining", "simple"): (simple[0] / max(simple.values()), 0.818),
        ("ImageNet accuracy", "advanced"): (advanced[300] / best, advanced[0] / best),
        ("no pretraining", "advanced"): (advanced[0] / best, advanced[1] / best),
    }
    cells, blocks = judged
    for cell in cells:
        one = cell.printed
        if (one.table, one.encoder, one.mode) == ("B.1", "swin", "decoder") and (one.row, one.scheme) in by_hand:
            keyed, published_value = by_hand[one.row, one.scheme]
            assert cell.keyed == pytest.approx(keyed, abs=1e-12)
            assert cell.as_published == pytest.approx(published_value, abs=6e-4)
            assert one.printed == pytest.approx(published_value, abs=6e-4)
    assert blocks["B.1", "advanced", "baselines"].alignment.rotation == {"advanced": 1}


def test_offline_by_hand(published: tuple[Path, Path], real: Recomputed) -> None:
    """B.1, simple, ResNet50, decoder only: cosine, margin .5, second to last of five levels, pooled; loss in the file."""
    losses = {}
    with published[1].open() as handle:
        for line in csv.DictReader(handle):
            key = (line["dataset"], line["encoder"], line["pretraining_scheme"], line["metric"], line["margin"], line["level"])
            if key == ("ACDC", "resnet50", "simple_training", "cosine_distance", "0.5", "4") and line["pooled"] == "True":
                losses[int(line["pretraining_length"])] = float(line["robustness"])
    dice = dice_by_hand(published[0], "ResNet50 Attention U-Net", "ACDC", "True", "simple")
    chosen = min((length for length in losses if length), key=lambda length: (losses[length], length))
    cell = next(
        one for one in printed_cells()
        if (one.table, one.row, one.scheme, one.encoder, one.mode) == ("B.1", "level -2, pooled", "simple", "resnet50", "decoder")
    )  # fmt: skip
    assert real.cell(cell, KEYED).value == pytest.approx(dice[chosen] / max(dice.values()), abs=1e-12)


def test_what_the_released_files_give(real: Recomputed, judged: Judged) -> None:
    """Found from the data: which scheme is shifted, whose scores are swapped, where pooling is inverted, which runs differ."""
    cells, blocks = judged
    assert other_runs(printed_cells(), real) == {"idrid"}
    assert blocks["3", "", "robustness"].alignment == Alignment(
        {"simple": 0, "advanced": 1}, {"acdc": "acdc", "covid-qu": "idrid", "idrid": "covid-qu"}, copies=True
    )
    assert blocks["B.2", "simple", "distance and margin"].alignment == Alignment(
        {"simple": 0}, {"covid-qu": "covid-qu"}, copies=True
    )
    assert blocks["5", "advanced", "distance and margin"].alignment.pooling == "inverted"
    counts = {(row["table"], row["alignment"]): row for row in count_rows(cells)}
    assert counts["B.1", "as published"]["reproduced"] == counts["B.1", "as published"]["cells"] == 144
    assert counts["5", "as published"]["reproduced"] == 24
    simple = [cell for cell in cells if (cell.printed.table, cell.printed.scheme) == ("B.1", "simple")]
    baselines = [cell for cell in simple if ROWS[cell.printed.row].block == "baselines"]
    assert {cell.verdict for cell in baselines} == {REPRODUCED}
    assert list(cell_rows(cells)[0]) == [
        "table", "row", "dataset", "scheme", "encoder", "mode", "printed", "as_published", "keyed", "verdict", "reason",
        "verdict_as_published",
    ]  # fmt: skip


def test_which_scores_are_copies(published: tuple[Path, Path]) -> None:
    marked = mark_copies(read_robustness(published[1]))
    copies = marked[marked["copied"]]
    assert set(copies["epoch"]) == {0}
    assert set(copies["target"]) == {"acdc", "idrid"}
    assert len(copies) == 2 * 2 * (150 + 150 + 120)

"""Scenarios of a study: steps to the level, decoder gains beside printed ones, and figures, from numbers made by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from medtransfer import tracking
from medtransfer.config.study_files import Part
from medtransfer.records import CellName
from medtransfer.studies import curves_plot
from medtransfer.studies.finished import DIGESTS, Finished
from medtransfer.studies.printed import tables_of
from medtransfer.studies.rows import Key, Planned, Row
from medtransfer.studies.scenarios import Group, write_scenarios
from medtransfer.studies.workload import Work
from medtransfer.working_folder import load_study

# Epochs are of 3 steps, 42 images in batches of 16. Final Dice of seeds 0 and 1, and the Dice after 100 and 200 epochs.
RUNS = {
    ("random", "full"): ([0.80, 0.84], [0.60, 0.70], [0.80, 0.84]),
    ("conrec-flowers102", "full"): ([0.90, 0.92], [0.80, 0.87], [0.90, 0.92]),
    ("conrec-flowers102", "seg-enc-dec"): ([0.91, 0.95], [0.89, 0.90], [0.91, 0.95]),
}


def planned(part: Part, origin: str, mode: str, seed: int, value: float) -> Planned:
    epoch = 0 if origin == "random" else 2700
    name = "simclr-flowers102" if origin == "random" else origin
    cell = CellName("flowers17", "dippel-unet", name, epoch, mode, seed, size=42)
    epochs = part.params.finetune.train_epochs
    return Planned(part, cell, 42, Work(3 * epochs, 42 * epochs), Finished(cell, "dice", value, 1.0, f"{origin}{mode}{seed}"))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Row]:
    monkeypatch.chdir(tmp_path)
    (part,) = load_study("dippel/flowers-5").parts
    curves = {
        f"{origin}{mode}{seed}": {100: early[seed], 200: late[seed]}
        for (origin, mode), (_, early, late) in RUNS.items() for seed in (0, 1)
    }  # fmt: skip
    monkeypatch.setattr(
        tracking, "read_curves", lambda ids, metric: {one: curves[one] if metric == "test_dice" else {} for one in ids}
    )
    return [
        Row(Key("flowers17", mode, 42), tuple(
            planned(part, origin, mode, seed, finals[seed])
            for (origin, own), (finals, _, _) in RUNS.items() if own == mode for seed in (0, 1)
        )) for mode in ("full", "seg-enc-dec")
    ]  # fmt: skip


def test_steps_and_gains_are_those_by_hand(rows: list[Row], tmp_path: Path) -> None:
    text = "\n".join(write_scenarios(rows, tables_of(load_study("dippel")), 0.95, tmp_path))
    with (tmp_path / "scenarios.csv").open() as file:
        lines = {line["scenario"]: line for line in csv.DictReader(file)}
    assert [float(line["level"]) for line in lines.values()] == pytest.approx([0.95 * 0.93] * 3)  # .8835, of the best mean
    best, encoder, random = lines.values()
    assert (best["scenario"], best["steps"], best["reached"]) == (
        "dippel-unet conrec-flowers102, epoch 2700, seg-enc-dec",
        "300.0",
        "2",
    )
    assert (encoder["steps"], encoder["reached"]) == ("600.0", "2")
    assert (random["scenario"], random["steps"], random["reached"]) == ("dippel-unet random", "", "0")
    assert "not reached" in text and "0 of 2" in text and "600 (600 to 600)" in text
    with (tmp_path / "decoders.csv").open() as file:
        (gain,) = csv.DictReader(file)
    assert (gain["origin"], gain["n"]) == ("conrec-flowers102", "2")
    assert float(gain["gain"]) == pytest.approx((0.01 + 0.03) / 2)
    assert float(gain["printed_gain"]) == pytest.approx(0.922 - 0.921)  # table 2, 5 % of the flowers
    assert (tmp_path / "curves-flowers17-42.png").stat().st_size > 5000


def test_scenarios_of_another_recipe_have_a_level_of_their_own(rows: list[Row], tmp_path: Path) -> None:
    part = rows[0].cells[0].part
    finetune = part.params.finetune.model_copy(update={"lr": 0.5})
    faster = replace(part, name="faster", params=part.params.model_copy(update={"finetune": finetune}))
    cells = tuple(replace(one, part=faster) for one in rows[0].cells)
    write_scenarios([*rows, replace(rows[0], cells=cells)], {}, 0.95, tmp_path)
    with (tmp_path / "scenarios.csv").open() as file:
        lines = list(csv.DictReader(file))
    levels = {line["part"]: float(line["level"]) for line in lines}
    assert levels == pytest.approx({"flowers-5": 0.95 * 0.93, "faster": 0.95 * 0.91})
    assert {line["target"] for line in lines} == {"flowers17"} and {line["scenario"] for line in lines} == {
        "dippel-unet random", "dippel-unet conrec-flowers102, epoch 2700", "dippel-unet conrec-flowers102, epoch 2700, seg-enc-dec",
    }  # fmt: skip
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves-flowers17-42-flowers-5.png", "curves-flowers17-42-faster.png"}


@pytest.mark.parametrize("differing", ["pretraining", "data", "folds"])
def test_runs_that_differ_in_what_they_share_a_name_with_are_scenarios_of_their_own(
    rows: list[Row], tmp_path: Path, differing: str
) -> None:
    """Seed 0 of one part and seed 1 of another: a mean over both would be of two pretrainings."""

    def moved(row: Row) -> Row:
        cells = []
        for one in row.cells:
            assert one.finished is not None
            if one.cell.seed == 0:
                cells.append(one)
                continue
            cell = replace(one.cell, folds=2, fold=1) if differing == "folds" else one.cell
            digests = tuple("other" if name == differing else "" for name in DIGESTS)
            finished = replace(one.finished, cell=cell, digests=digests)
            cells.append(replace(one, part=replace(one.part, name="again"), cell=cell, finished=finished))
        return replace(row, cells=tuple(cells))

    text = "\n".join(write_scenarios([moved(row) for row in rows], {}, 0.95, tmp_path))
    with (tmp_path / "scenarios.csv").open() as file:
        lines = list(csv.DictReader(file))
    means = {line["scenario"]: float(line["mean"]) for line in lines}
    name = "dippel-unet conrec-flowers102, epoch 2700"
    assert len(lines) == 6 and means[f"{name} (flowers-5)"] == 0.90 and means[f"{name} (again)"] == 0.92
    assert f"{name} (flowers-5)" in text and f"{name} (again), seg-enc-dec" in text
    with (tmp_path / "decoders.csv").open() as file:
        gains = {line["part"]: (float(line["gain"]), line["n"]) for line in csv.DictReader(file)}
    assert gains == {"flowers-5": (pytest.approx(0.01), "1"), "again": (pytest.approx(0.03), "1")}


def test_the_seeds_of_a_fold_are_one_repetition(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means and gains over two folds of two seeds have two values, as in study.csv, and the steps of a fold are a mean."""
    values = {"full": {(1, 0): 0.8, (1, 1): 0.9, (2, 0): 0.7, (2, 1): 0.6}, "seg-enc-dec": {(1, 0): 0.9, (1, 1): 0.92, (2, 0): 0.8}}
    curves, divided = {}, []
    for row in rows:
        (one,) = (cell for cell in row.cells if cell.cell.epoch and cell.cell.seed == 0)
        cells = []
        for (fold, seed), value in values[row.key.mode].items():
            cell = replace(one.cell, seed=seed, fold=fold, folds=2)
            curves[f"{row.key.mode}{fold}{seed}"] = {100: value if seed else 0.1, 200: value}
            assert one.finished is not None
            finished = replace(one.finished, cell=cell, value=value, run=f"{row.key.mode}{fold}{seed}")
            cells.append(replace(one, cell=cell, finished=finished))
        divided.append(replace(row, cells=tuple(cells)))
    monkeypatch.setattr(tracking, "read_curves", lambda ids, metric: {run: curves[run] for run in ids})
    text = "\n".join(write_scenarios(divided, {}, 0.95, tmp_path))
    with (tmp_path / "scenarios.csv").open() as file:
        best, full = csv.DictReader(file)
    assert (float(full["mean"]), float(full["std"]), full["n"]) == (
        pytest.approx(0.75),
        pytest.approx(np.std([0.85, 0.65], ddof=1)),
        "2",
    )
    assert (float(best["mean"]), best["n"]) == (pytest.approx(0.855), "2") and "0.7500 ± 0.1414" in text
    assert float(best["level"]) == pytest.approx(0.95 * 0.855) and (best["reached"], full["reached"]) == ("1", "0")
    with (tmp_path / "decoders.csv").open() as file:
        (gain,) = csv.DictReader(file)
    folds = [(0.1 + 0.02) / 2, 0.1]
    low, high = stats.t.interval(0.95, 1, np.mean(folds), stats.sem(folds))
    assert (float(gain["gain"]), float(gain["low"]), float(gain["high"]), gain["n"]) == (
        pytest.approx(0.08), pytest.approx(low), pytest.approx(high), "2",
    )  # fmt: skip


def test_pictures_have_a_colour_per_start_and_a_style_per_mode_and_folds_count_once(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(curves_plot, "draw_curves", lambda *arguments: drawn.append(arguments))
    write_scenarios(rows, {}, 0.95, tmp_path)
    ((path, scenarios, level, title, label, repetition),) = drawn
    marks = {scenario.name.removeprefix("dippel-unet "): (scenario.start, scenario.mode) for scenario in scenarios}
    assert marks["conrec-flowers102, epoch 2700"][0] == marks["conrec-flowers102, epoch 2700, seg-enc-dec"][0] != marks["random"][0]
    assert [mode for _, mode in marks.values()] == [1, 0, 0] and (title, repetition) == ("flowers17, 42 training images", "run")
    one = next(cell for cell in rows[0].cells if cell.cell.epoch)
    cells, curves = [], {}
    for fold, seed, value in ((1, 0, 0.9), (1, 1, 0.84), (1, 2, 0.84), (2, 0, 0.69)):
        cell = replace(one.cell, seed=seed, fold=fold, folds=2)
        assert one.finished is not None
        cells.append(replace(one, cell=cell, finished=replace(one.finished, cell=cell, value=value, run=f"{fold}{seed}")))
        curves[f"{fold}{seed}"] = {100: 0.1, 200: value}
    monkeypatch.setattr(tracking, "read_curves", lambda ids, metric: {run: curves[run] for run in ids})
    write_scenarios([replace(rows[0], cells=tuple(cells))], {}, 0.95, tmp_path)
    _, (scenario,), level, _, _, repetition = drawn[-1]
    assert list(scenario.mean.values()) == pytest.approx([0.1, (0.86 + 0.69) / 2]) and repetition == "fold"
    assert level == pytest.approx(0.95 * (0.86 + 0.69) / 2)


def test_a_scenario_of_which_a_run_lacks_its_curve_is_no_level(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one has the curve of one seed of two."""
    known = tracking.read_curves
    lost = "conrec-flowers102seg-enc-dec1"
    monkeypatch.setattr(tracking, "read_curves", lambda ids, metric: known([run for run in ids if run != lost], metric))
    text = "\n".join(write_scenarios(rows, {}, 0.95, tmp_path))
    with (tmp_path / "scenarios.csv").open() as file:
        assert [float(line["level"]) for line in csv.DictReader(file)] == pytest.approx([0.95 * 0.91] * 2)
    assert "1 scenario without a curve of each run is left out" in text


def test_gains_of_two_pretrainings_are_told_apart(rows: list[Row], tmp_path: Path) -> None:
    changed = []
    for row in rows:
        cells = [
            replace(one, finished=replace(one.finished, digests=(f"{one.cell.seed}-pretraining", "d", "r")))
            for one in row.cells if one.finished is not None
        ]  # fmt: skip
        changed.append(replace(row, cells=tuple(cells)))
    text = "\n".join(write_scenarios(changed, {}, 0.95, tmp_path))
    with (tmp_path / "decoders.csv").open() as file:
        lines = list(csv.DictReader(file))
    name = "dippel-unet conrec-flowers102, epoch 2700"
    assert {line["initialisation"] for line in lines} == {f"{name} [pretraining {seed}-pretra]" for seed in (0, 1)}
    assert [(line["epoch"], line["n"]) for line in lines] == [("2700", "1")] * 2 and f"{name} [" in text


def test_random_weights_gain_nothing_from_their_decoder_and_a_lost_curve_is_said(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = [one for one in rows[0].cells if not one.cell.epoch]
    cells = []
    for one in decoded:
        assert one.finished is not None
        cell = replace(one.cell, mode="seg-enc-dec")
        cells.append(replace(one, cell=cell, finished=replace(one.finished, cell=cell, run=f"{one.finished.run} decoded")))
    row = Row(Key("flowers17", "seg-enc-dec", 42), (*rows[1].cells, *cells))
    known = tracking.read_curves
    monkeypatch.setattr(tracking, "read_curves", lambda ids, metric: known([run for run in ids if "decoded" not in run], metric))
    text = "\n".join(write_scenarios([rows[0], row], {}, 0.95, tmp_path))
    with (tmp_path / "decoders.csv").open() as file:
        assert [line["origin"] for line in csv.DictReader(file)] == ["conrec-flowers102"]
    assert "1 scenario without a curve of each run is left out" in text and "`curves-flowers17-42.png`." in text


def test_a_run_of_several_parts_counts_once_and_random_weights_are_named_by_origin(rows: list[Row], tmp_path: Path) -> None:
    (full, _) = rows
    again = tuple(replace(one, part=replace(one.part, name="again")) for one in full.cells)
    others = tuple(
        replace(one, cell=replace(one.cell, origin="conrec-flowers102"), finished=replace(
            one.finished, cell=replace(one.finished.cell, origin="conrec-flowers102")))
        for one in full.cells if one.finished and not one.cell.epoch
    )  # fmt: skip
    write_scenarios([full, replace(full, cells=again), replace(full, cells=others)], {}, 0.95, tmp_path)
    with (tmp_path / "scenarios.csv").open() as file:
        found = {line["scenario"]: (line["n"], line["part"]) for line in csv.DictReader(file)}
    assert found == {
        "dippel-unet conrec-flowers102, epoch 2700": ("2", "flowers-5, again"),
        "dippel-unet random of simclr-flowers102": ("2", "flowers-5, again"),
        "dippel-unet random of conrec-flowers102": ("2", "flowers-5"),
    }


def test_a_group_of_many_parts_is_named_by_the_first() -> None:
    few, many = Group("sample", 0.5, ("a", "b")), Group("sample", None, tuple("abcdef"))
    assert (few.label, few.picture) == ("sample (a, b)", "curves-sample-50%-a-b.png")
    assert (many.label, many.picture) == ("sample (a, 5 more)", "curves-sample-all-a-5-more.png")
    assert (Group("sample", 42).label, Group("sample", 42).picture) == ("sample", "curves-sample-42.png")


def test_a_study_without_curves_and_decoders_gets_nothing(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "read_curves", lambda ids, metric: {})
    assert write_scenarios(rows[:1], {}, 0.95, tmp_path / "none") == [] and not (tmp_path / "none").exists()

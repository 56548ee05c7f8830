"""Our results beside printed ones: only those that are as whole as the printed are compared."""

import csv
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import yaml
from scipy import stats

from medtransfer import tracking
from medtransfer.config import Replay
from medtransfer.hashing import digest
from medtransfer.papers.printed.ours import find_ours
from medtransfer.papers.printed.registry import PAPERS
from medtransfer.papers.printed.stage import run
from medtransfer.papers.printed.tables import read_printed

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
PAPER, CELLS = PAPERS["hosseinzadeh-taher"], read_printed("hosseinzadeh-taher")
RECIPE = yaml.safe_load((ROOT / "configs/recipe-segmentation.yaml").read_text())["finetune"]
PARTS = (
    "optimiser",
    "lr",
    "schedule",
    "batch_size",
    "loss",
    "monitor",
    "select",
    "patience",
    "momentum",
    "weight_decay",
)
SCORES = [0.970 + 0.002 * index for index in range(10)]


def store(scores: list[float], images: tuple[int, int] = (99, 28), **changed: Any) -> None:
    """Write a fine-tuning of Montgomery per score."""
    params = {
        "target": "montgomery", "encoder": "resnet50", "origin": "supervised", "epoch": 1, "mode": "full", "size": None,
        "fold": None, "folds": None, "pretraining": "p", "data": "d", "protocol": "q", "primary": "dice",
        **{name: RECIPE[name] for name in PARTS}, **changed,
    }  # fmt: skip
    records = [
        tracking.RunRecord(
            "cell", digest([params, seed, score, images], 16), {**params, "seed": seed},
            {"dice": score, "train_images": images[0], "test_images": images[1]},
        )
        for seed, score in enumerate(scores)
    ]  # fmt: skip
    tracking.write_runs("finetune", records, "cells")


def test_ten_runs_of_the_whole_data_by_the_recipe_are_compared(workplace: Path) -> None:
    store(SCORES)
    section = Replay.model_validate({"out": "replay", "paper": PAPER.name, "downstream": None, "robustness": None})
    text = run(section).texts[0]
    with Path("replay/hosseinzadeh-taher/ours.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["row"] for row in rows} == {"supervised"} and {row["column"] for row in rows} == {"LXS"}
    assert {row["table"] for row in rows} >= {"table2", "table4", "table5"}
    (first,) = [row for row in rows if row["table"] == "table2"]
    percent = [100 * score for score in SCORES]
    assert (float(first["mean"]), float(first["std"])) == pytest.approx((fmean(percent), stdev(percent)))
    expected = stats.ttest_ind_from_stats(fmean(percent), stdev(percent), 10, 98.19, 0.13, 10, equal_var=False).pvalue
    assert float(first["p_welch"]) == pytest.approx(expected, rel=1e-9) and not first["missing"]
    assert f"holds {len(rows)} whole" in text
    page = Path("replay/hosseinzadeh-taher/replay.html").read_text()
    assert "Ours beside printed" in page and "resnet50 supervised, epoch 1" in page and "97.9" in page


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"scores": SCORES[:3]}, "3 of 10 runs"),
        ({"images": (20, 28)}, "20 training images, not 98 or more"),
        ({"images": (99, 5)}, "5 test images, not 27 or more"),
        ({"epoch_steps": 10}, "another recipe (epoch_steps 10, not None)"),
        ({"train_epochs": 1}, "another recipe (train_epochs 1, not 200)"),
        ({"lr": 0.01}, "another recipe (lr 0.01, not 0.001)"),
    ],
)
def test_what_lacks_something_is_named_and_not_compared(changed: dict[str, Any], missing: str, workplace: Path) -> None:
    store(**{"scores": SCORES, **changed})
    found = find_ours(PAPER, CELLS)
    assert found and {one.missing for one in found} == {(missing,)}


@pytest.mark.parametrize("changed", [{"target": "lungs"}, {"mode": "decoder"}, {"size": 20}, {"origin": "simple"}, {"epoch": 0}])
def test_other_cells_are_no_result_of_the_supervised_weights(changed: dict[str, Any], workplace: Path) -> None:
    store(SCORES, **changed)
    assert all(one.cell.row == "random" for one in find_ours(PAPER, CELLS))
    assert bool(find_ours(PAPER, CELLS)) == ("epoch" in changed)


def test_a_chain_is_found_by_the_names_of_its_sources(workplace: Path) -> None:
    store(SCORES, origin="mine", pretraining="chained")
    chained = {"pretraining": "chained", "chain": "supervised>chestxray14", "encoder": "resnet50", "origin": "mine"}
    tracking.write_runs("pretrain", [tracking.RunRecord("mine", "c", chained)], "pretrainings")
    assert {one.cell.row for one in find_ours(PAPER, CELLS)} == {"supervised>chestx-ray14"}


def test_of_several_results_the_most_whole_counts(workplace: Path) -> None:
    store(SCORES[:4], protocol="one")
    store(SCORES, protocol="two")
    assert {len(one.values) for one in find_ours(PAPER, CELLS)} == {10}


def test_an_empty_store_holds_nothing(workplace: Path) -> None:
    assert find_ours(PAPER, CELLS) == [] == find_ours(PAPERS["truong"], read_printed("truong"))


def test_chexpert_is_judged_by_its_five_findings_and_its_ten_epochs(workplace: Path) -> None:
    recipe = yaml.safe_load((ROOT / "configs/recipe-classification.yaml").read_text())["finetune"] | {"train_epochs": 10}
    shared = {
        "target": "chexpert", "encoder": "resnet50", "origin": "supervised", "epoch": 1, "mode": "full", "size": None, "fold": None,
        "folds": None, "pretraining": "p", "data": "d", "protocol": "q", "train_epochs": 10,
        **{name: recipe[name] for name in PARTS if name in recipe},
    }  # fmt: skip
    values = {f"auc_class_{c}": 0.5 + c / 100 for c in range(14)}
    records = [
        tracking.RunRecord("cell", f"c{seed}", {**shared, "seed": seed}, {**values, "auc": 0.9, "test_images": 234})
        for seed in range(10)
    ]
    tracking.write_runs("finetune", records, "cells")
    found = [one for one in find_ours(PAPER, CELLS) if one.cell.column == "DXC5"]
    expected = pytest.approx([100 * (0.5 + 0.31 / 5)] * 10)
    assert found and all(not one.missing and list(one.values) == expected for one in found)

"""A store filled by hand with a known table: every way of choosing is worked out by hand, and everything is joined by key."""

import csv
import io
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from medtransfer import forks, tracking
from medtransfer.analysis.judge import judge
from medtransfer.analysis.model import Judged, Sampling, Verdict
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pools import collect
from medtransfer.analysis.summary import analyse
from medtransfer.config import Report
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.report import stage
from medtransfer.report.stage import run
from medtransfer.report.tables import dice_rows

pytestmark = pytest.mark.long

DICE = {0: (0.40, 0.44), 1: (0.50, 0.54), 5: (0.80, 0.84), 10: (0.70, 0.74)}  # means .42 .52 .82 .72; two seeds
FLAT = {0: 0.9, 1: 0.5, 5: 0.6, 10: 0.7}  # offline takes epoch 0; online rises to epoch 10
POOLED = {0: 0.1, 1: 0.8, 5: 0.7, 10: 0.95}  # offline takes epoch 10; online stops at 5 and keeps 1
ACCURACY = {0: 0.1, 1: 0.3, 5: 0.2, 10: 0.25}  # takes epoch 1
CELL = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": "moon", "mode": "full",
        "pretraining": "pre1", "data": "data1", "protocol": "prot1", "primary": "dice"}  # fmt: skip


def add_cell(epoch: int, seed: int, dice: float, **changed: str) -> None:
    fields = {**CELL, **changed, "epoch": epoch, "seed": seed}
    key = digest(fields, 16)
    with tracking.open_run("finetune", f"e{epoch}-s{seed}", key, fields, {}) as handle:
        handle.log_metrics({"dice": dice}, 150)


def add_dice(dice: Mapping[int, tuple[float, ...]] = DICE, **changed: str) -> None:
    cells = [({**CELL, **changed, "epoch": epoch, "seed": seed}, value) for epoch, values in dice.items()
             for seed, value in enumerate(values, start=1)]  # fmt: skip
    records = [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value}) for fields, value in cells]
    tracking.write_runs("finetune", records, "runs")


def add_scores(
    flat: Mapping[int, float] = FLAT, pooled: Mapping[int, float] = POOLED, accuracy: Mapping[int, float] = ACCURACY, **changed: str
) -> None:
    cell = {"images": "9", "distance": "cosine", "margin": "0.5", "level": "-2", **CELL, **changed}
    names = ("pretraining", "data", "encoder", "origin", "target", "images", "distance", "margin", "level")
    params = {name: cell[name] for name in names}
    with tracking.open_run("score", "score", digest([params, sorted(flat.items())], 16), params, {}) as handle:
        handle.log_curves({"robustness": flat, "robustness_pooled": pooled, **({"source_accuracy": accuracy} if accuracy else {})})


def add_logme(values: Mapping[int, float]) -> None:
    params = {**{name: CELL[name] for name in ("pretraining", "data", "encoder", "origin", "target")}, "scores": "logme"}
    with tracking.open_run("score", "score", "logme", params, {}) as handle:
        handle.log_curves({"logme": values})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, Path]:
    """Fill stores that the tests take copies of: with the Dice alone, and with the scores too."""
    folder = tmp_path_factory.mktemp("stores")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        add_dice()
        shutil.copy(folder / "mlflow.db", folder / "dice.db")
        add_scores()
    return {"dice": folder / "dice.db", "scored": folder / "mlflow.db"}


@pytest.fixture
def dice(workplace: Path, stores: dict[str, Path]) -> Path:
    """Work with a store that holds the Dice of one configuration."""
    return Path(shutil.copy(stores["dice"], workplace / "mlflow.db"))


@pytest.fixture
def scored(workplace: Path, stores: dict[str, Path]) -> Path:
    """Work with a store that holds the Dice and the scores of one configuration."""
    return Path(shutil.copy(stores["scored"], workplace / "mlflow.db"))


SAMPLING = Sampling(draws=200, confidence=0.95, seed=0, margin=0.01, least=0.1)
SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")


def report() -> str:
    """Make the report and give its Markdown."""
    brief(out := "reports")
    return Path(out, "report.md").read_text()


def brief(out: str = "reports") -> str:
    """Make the report and give what stands on the terminal."""
    return run(Report(out=out, reference=None, **asdict(SAMPLING)), SETTING).texts[0]


def only() -> Pool:
    ((pool,), left) = collect(SETTING)
    assert left == []
    return pool


@pytest.mark.parametrize(("apart", "soon"), [(True, 0), (True, 60), (False, 0)], ids=["loading", "waiting", "no fork"])
def test_it_is_made_again_once_there_is_a_further_fine_tuning(
    dice: Path, apart: bool, soon: float, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Wherever the runs and the state of the store are read."""
    monkeypatch.setattr(forks, "can_fork", lambda: apart)
    monkeypatch.setattr(stage, "SOON", soon)
    read, made, here = stage.collect, list[bool](), list[bool]()
    monkeypatch.setattr(stage, "collect", lambda *settings: (here.append(True), read(*settings))[1])

    def make() -> tracking.Made:
        made.append(True)
        return run(Report(out="reports", reference=None, **asdict(SAMPLING)), SETTING)

    def ask() -> int:
        tracking.make_of_store("report", Path("reports"), 1, lambda: make)
        return len(made)

    assert [ask(), ask()] == [1, 1]
    add_cell(5, 9, 0.81)
    assert [ask(), ask()] == [2, 2]
    assert len(here) == (0 if apart else 2)


def test_what_cannot_be_read_apart_is_read_here(dice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, parent, read = report(), os.getpid(), stage.collect

    def fail_apart(*settings: Any) -> Any:
        if os.getpid() != parent:
            raise ValueError
        return read(*settings)

    monkeypatch.setattr(forks, "can_fork", lambda: True)
    monkeypatch.setattr(stage, "collect", fail_apart)
    assert report() == text


@pytest.mark.parametrize("apart", [True, False])
def test_what_is_refused_is_read_once(dice: Path, apart: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        raise InputError("expected others")

    monkeypatch.setattr(forks, "can_fork", lambda: apart)
    monkeypatch.setattr(stage, "collect", refuse)
    with pytest.raises(InputError, match="expected others"):
        report()
    assert (tmp_path / "tries").read_text() == "x"


def judged() -> Judged:
    return judge(only(), SAMPLING)


def by_selector() -> dict[str, Verdict]:
    return judged().by_selector


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path("reports", name).read_text())))


def test_every_way_of_choosing_by_hand(scored: Path):
    found = by_selector()
    expected: dict[str, tuple[int | None, float, float]] = {  # epoch, TIS x .82, epochs spent
        "offline": (0, 0.42, 10), "online": (10, 0.72, 10), "source-accuracy": (1, 0.52, 10), "none": (0, 0.42, 0),
        "full": (10, 0.72, 10), "fixed-1": (1, 0.52, 1), "fixed-5": (5, 0.82, 5), "fixed-10": (10, 0.72, 10),
        "random": (None, 0.62, 4), "oracle": (5, 0.82, 10),
    }  # fmt: skip
    assert found.keys() >= expected.keys()
    for name, (epoch, dice, spent) in expected.items():
        assert (found[name].candidate, found[name].spent) == (epoch, spent), name
        assert found[name].mean == pytest.approx(dice), name
        assert found[name].tis == pytest.approx(dice / 0.82), name


def test_a_frozen_encoder_is_judged_by_the_pooled_robustness(workplace: Path):
    add_dice(mode="decoder")
    add_scores()
    found = by_selector()
    assert (found["offline"].candidate, found["offline"].spent) == (10, 10)
    assert (found["online"].candidate, found["online"].spent) == (1, 5)
    assert found["online"].tis == pytest.approx(0.52 / 0.82)


def test_ties_take_the_earliest_and_are_shown(dice: Path):
    add_scores(flat={0: 0.1, 1: 0.9, 5: 0.2, 10: 0.9})
    offline = by_selector()["offline"]
    assert (offline.candidate, offline.tied) == (1, (10,))
    assert "(e1, tied)" in report()
    assert [row["tied"] for row in rows("tis.csv") if row["selector"] == "offline"] == ["10"]


def test_the_tables_hold_the_numbers(scored: Path):
    text = report()
    found = {int(row["epoch"]): row for row in rows("dice.csv")}
    assert {epoch: float(row["dice_mean"]) for epoch, row in found.items()} == pytest.approx({0: 0.42, 1: 0.52, 5: 0.82, 10: 0.72})
    assert [float(row["dice_std"]) for row in found.values()] == pytest.approx([0.04 / 2**0.5] * 4)
    assert {epoch: float(row["robustness"]) for epoch, row in found.items()} == FLAT
    assert {epoch: float(row["source_accuracy"]) for epoch, row in found.items()} == ACCURACY
    assert {row["seeds"] for row in found.values()} == {"2"}
    assert "|     5 | 0.820 ± 0.028 |     2 |" in text
    assert found[5]["robustness_low"] == ""  # no distances are stored here, so there is no interval
    assert re.search(r"\| unet simple → moon, full +\| 0\.512 \(e0\) +\| 0\.878 \(e10\) +\| ", text)
    assert "choosing by robustness (offline) takes epoch 0 and keeps 51.2 % of the best checkpoint’s Dice" in text


def test_everything_is_written_and_logged(scored: Path, tmp_path: Path):
    text = brief()
    head, _, page = text.rpartition("The page: ")
    verdict, _, table = head.partition("\n\n")
    assert f"\n\n**{verdict}**\n\n" in Path("reports/report.md").read_text()
    assert "| robustness, offline  " in table and "    0.878 | " in table and "always epoch" not in table
    assert "robustness" in Path(page).read_text()
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert metrics["tis_online"] == pytest.approx(0.72 / 0.82)
    assert metrics["tis_source_accuracy"] == pytest.approx(0.52 / 0.82)
    (stored,) = tracking.read_runs("report")
    assert stored.metrics == pytest.approx(metrics)
    tracking.fetch_artifacts(stored.id, "", tmp_path / "fetched")
    logged = {path.name for path in (tmp_path / "fetched").rglob("*") if path.is_file()}
    assert logged == {
        "report.html", "report.md", "dice.csv", "tis.csv", "selectors.csv", "contrasts.csv", "pruning.csv", "sizes.csv",
        "initialisations.csv", "initialisations.png", "dice_by_epoch.png",
    }  # fmt: skip


def test_the_figure_shows_both_choices(scored: Path):
    report()
    colours = {colour for _, colour in Image.open("reports/dice_by_epoch.png").convert("RGB").getcolors(2**24)}
    assert (0xD5, 0x5E, 0x00) in colours  # offline
    assert (0x00, 0x9E, 0x73) in colours  # online
    assert len(colours) > 100


def test_the_same_store_makes_the_same_report_run_once(scored: Path):
    assert report() == report()
    assert len(tracking.read_runs("report")) == 1
    add_cell(5, 3, 0.9)
    report()
    assert len(tracking.read_runs("report")) == 2


def test_the_order_of_the_runs_does_not_matter(workplace: Path):
    cells = [(epoch, number, value, mode) for mode in ("full", "decoder") for epoch, values in DICE.items()
             for number, value in enumerate(values, start=1)]  # fmt: skip
    add_scores()
    Random(1).shuffle(cells)
    for epoch, number, value, mode in cells:
        add_cell(epoch, number, value, mode=mode)
    pools, _ = collect(SETTING)
    assert [pool.name for pool in pools] == ["unet simple → moon, decoder", "unet simple → moon, full"]
    for pool in pools:
        assert pool.candidates == (0, 1, 5, 10)
        assert pool.is_series
        assert pool.outcome == {(e, s): v for e, values in DICE.items() for s, v in enumerate(values, start=1)}
        assert {row["epoch"]: row["dice_mean"] for row in dice_rows(analyse([pool], [], SAMPLING))} == pytest.approx(
            {0: 0.42, 1: 0.52, 5: 0.82, 10: 0.72}
        )
        assert pool.scores["source_accuracy"] == ACCURACY
    assert pools[0].robustness == POOLED
    assert pools[1].robustness == FLAT


def test_only_finished_runs_of_the_present_format_count(dice: Path):
    with pytest.raises(RuntimeError), tracking.open_run("finetune", "failed", "x", {**CELL, "epoch": 0, "seed": 9}, {}) as handle:
        handle.log_metrics({"dice": 0.99}, 150)
        raise RuntimeError
    assert only().seeds == (1, 2)
    add_older("origin", "primary")
    pools, left = collect(SETTING)
    assert pools[0].seeds == (1, 2)
    assert left == [
        "1 of 9 fine-tunings is of an older format, without origin, primary; it is made again with `medtransfer finetune`"
    ]


def add_older(*lacking: str) -> None:
    """Add a fine-tuning as an older version wrote it, without some of its params."""
    fields = {name: value for name, value in CELL.items() if name not in lacking}
    with tracking.open_run("finetune", "older", "older", {**fields, "epoch": 0, "seed": 9}, {}) as handle:
        handle.log_metrics({"dice": 0.99}, 150)


def test_a_store_without_fine_tunings_is_an_input_error(workplace: Path):
    with pytest.raises(InputError, match="finished fine-tunings in the tracking store sqlite:///.*mlflow.db, but it holds none"):
        report()
    with pytest.raises(KeyboardInterrupt), tracking.open_run("finetune", "killed", "x", {**CELL, "epoch": 0, "seed": 1}, {}):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="it holds none"):
        report()
    add_older("origin")
    with pytest.raises(InputError, match="1 of 1 fine-tuning is of an older format, without origin"):
        report()
    assert not Path("reports").exists()


def test_a_cell_that_was_done_again_counts_once_with_its_newest_result(dice: Path):
    time.sleep(0.01)
    add_cell(5, 1, 0.30)
    assert only().outcome[5, 1] == 0.30
    assert only().outcome[5, 2] == 0.84


def test_the_seeds_that_all_epochs_share_are_judged(workplace: Path):
    add_dice({**DICE, 5: (0.8,)})
    add_scores()
    text = report()
    assert "→ moon, full: no finished fine-tuning of epoch 5, seed 2, so seed 2 is left out where candidates are judged\n" in text
    assert "|     5 | 0.800 |     1 |" in text
    assert by_selector()["full"].tis == pytest.approx(0.70 / 0.80)


def test_without_a_seed_that_all_epochs_share_nothing_is_judged(workplace: Path):
    add_dice({epoch: values for epoch, values in DICE.items() if epoch != 5})
    add_cell(5, 7, 0.8)
    add_scores()
    assert judged().verdicts == ()
    assert "There is no verdict, since the only configuration could not be judged: incomplete" in report()


def test_a_checkpoint_without_any_dice_is_named_and_nothing_is_judged(workplace: Path):
    """The best checkpoint is unknown then."""
    add_dice({epoch: values for epoch, values in DICE.items() if epoch != 10})
    add_scores()
    text = report()
    assert judged().verdicts == ()
    assert "no finished fine-tuning of epoch 10, seed 1" in text
    assert "There is no verdict, since the only configuration could not be judged: incomplete" in text
    assert json.loads(Path("reports/metrics.json").read_text()) == {}


def test_missing_robustness_is_named_and_the_plain_choices_are_judged(dice: Path):
    add_scores({epoch: FLAT[epoch] for epoch in (0, 1, 5)}, {}, {})
    text = report()
    assert by_selector().keys() == {"one-each", "none", "full", "fixed-1", "fixed-5", "fixed-10", "random", "oracle"}
    assert "- unet simple → moon, full: no robustness of epoch 10" in text
    assert "Robustness cannot be judged" in text


def test_logme_alone_chooses_and_is_listed(dice: Path):
    add_logme({0: -1.5, 1: -1.25, 5: -1.125, 10: -1.375})
    text, page = report(), Path("reports/report.html").read_text()
    assert only().missing == []
    assert by_selector()["logme"].tis == 1 and "offline" not in by_selector()
    assert {row["epoch"]: row["logme"] for row in rows("dice.csv")} == {"0": "-1.5", "1": "-1.25", "5": "-1.125", "10": "-1.375"}
    assert " LogME | source accuracy |\n" in text and " | −1.125 |" in text and "robustness interval" not in text
    assert "<td>−1.125</td>" in page and "; LogME −1.125</title>" in page
    assert "<dt>LogME</dt>" in page


def test_checkpoints_that_logme_alone_knows_are_candidates(workplace: Path):
    add_dice({epoch: DICE[epoch] for epoch in (0, 1, 5)})
    add_logme({0: -1.5, 1: -1.25, 10: -1.375})
    assert only().candidates == (0, 1, 5, 10)
    name = "unet simple → moon, full"
    cells = [f"{name}: no finished fine-tuning of epoch 10, seed {seed}" for seed in (1, 2)]
    assert only().missing == [*cells, f"{name}: no LogME of epoch 5"]


def test_no_pretraining_needs_a_random_initialisation(workplace: Path):
    add_dice({epoch: DICE[epoch] for epoch in (1, 5, 10)})
    add_scores(*({epoch: table[epoch] for epoch in (1, 5, 10)} for table in (FLAT, POOLED, ACCURACY)))
    found = by_selector()
    assert "none" not in found
    assert found["random"].tis == pytest.approx((0.52 + 0.82 + 0.72) / 3 / 0.82)


def test_scores_of_another_pretraining_or_other_data_are_not_joined(dice: Path):
    add_scores(pretraining="pre2")
    add_scores(data="data2")
    assert only().robustness == {}
    add_scores()
    assert only().robustness == FLAT


def test_the_newest_scores_of_the_wanted_setting_count(scored: Path):
    time.sleep(0.01)
    add_scores({epoch: value / 2 for epoch, value in FLAT.items()})
    time.sleep(0.01)
    add_scores({epoch: value / 4 for epoch, value in FLAT.items()}, distance="l2")
    assert only().robustness == {epoch: value / 2 for epoch, value in FLAT.items()}
    ((other,), _) = collect(replace(SETTING, distance="pearson"))
    assert other.robustness == {epoch: value / 4 for epoch, value in FLAT.items()}
    assert "Robustness: cosine, margin 0.5, level -2, 9 images" in report()


@pytest.mark.parametrize("changed", ["pretraining", "data", "protocol"])
def test_two_complete_pools_get_distinct_names(dice: Path, changed: str):
    add_dice({0: (0.1,), 5: (0.3,)}, **{changed: "new"})
    text = report()
    assert sorted(float(row["dice_mean"]) for row in rows("dice.csv") if row["epoch"] == "5") == pytest.approx([0.3, 0.82])
    assert f"## unet simple → moon, full [{changed} new]" in text
    assert f"## unet simple → moon, full [{changed} {CELL[changed]}]" in text


def test_a_trial_next_to_a_complete_study_is_left_out(scored: Path):
    before = report()
    add_cell(10, 1, 0.99, protocol="trial")
    text = report()
    assert text.startswith(before[: before.index("## Left out")])
    assert "- unet simple → moon, full: 1 of 4 epochs fine-tuned (pretraining pre1, data data1, protocol trial)" in text


def test_two_sources_are_two_configurations_with_names_of_their_own(scored: Path):
    worse = {0: (0.8, 0.8), 1: (0.4, 0.4), 5: (0.2, 0.2), 10: (0.1, 0.1)}
    add_dice(worse, source="pictures", pretraining="pre2")
    add_scores(pretraining="pre2")
    text = report()
    assert "## unet simple → moon, full [source imagenet]" in text
    assert "## unet simple → moon, full [source pictures]" in text
    full = {row["source"]: float(row["tis"]) for row in rows("tis.csv") if row["selector"] == "full"}
    assert full == pytest.approx({"imagenet": 0.72 / 0.82, "pictures": 0.1 / 0.8})


def test_means_are_taken_over_the_configurations(dice: Path):
    add_dice(mode="decoder")
    add_scores()
    report()
    selectors = {row["selector"]: row for row in rows("selectors.csv")}
    assert float(selectors["online"]["mean_tis"]) == pytest.approx((0.72 + 0.52) / 2 / 0.82)
    assert float(selectors["online"]["min_tis"]) == pytest.approx(0.52 / 0.82)
    assert float(selectors["online"]["mean_epochs"]) == pytest.approx((10 + 5) / 2)
    assert selectors["online"]["configurations"] == "2"


def test_intervals_of_a_dice_are_students_and_choices_by_the_outcome_have_none(scored: Path):
    """With two seeds the t quantile is 12.706 and the error half the difference: 0.82 +- 12.706 x 0.02, cut at 0 and 1."""
    report()
    found = {row["epoch"]: row for row in rows("dice.csv")}
    assert [float(found["5"][name]) for name in ("dice_low", "dice_high")] == pytest.approx([0.82 - 12.7062 * 0.02, 1.0])
    assert [float(found["0"][name]) for name in ("dice_low", "dice_high")] == pytest.approx([0.42 - 0.254124, 0.42 + 0.254124])
    assert {row["p_best"] for row in found.values()} == {""}  # two seeds are too few
    ends = {row["selector"]: (row["tis_low"], row["tis_high"]) for row in rows("tis.csv")}
    assert ends["oracle"] == ("", "") and "" not in ends["offline"]


def test_models_that_learned_nothing_are_not_judged(workplace: Path):
    """Dice up to report.least, 0.1, says nothing about checkpoints."""
    add_dice({0: (0.01, 0.02), 1: (0.1, 0.09), 5: (0.05, 0.06), 10: (0.02, 0.01)})
    add_scores()
    assert judged().verdicts == () and judged().candidates[1].interval is not None
    text = report()
    assert (
        "There is no verdict, since the only configuration could not be judged: no model learned: the best mean Dice is 0.095"
        in text
    )
    assert "Not judged: no model learned: " in text and "(report.least)" in text
    assert rows("tis.csv") == [] and len(rows("dice.csv")) == 4
    assert "no model learned: unet random has the highest mean Dice, 0.015" in text


def test_the_headline_compares_on_the_same_configurations(scored: Path):
    add_dice({0: (0.1,), 1: (0.2,), 5: (0.3,), 10: (0.4,)}, target="sun", data="data2")  # never scored
    text = report()
    assert "On the only configuration that can tell, choosing by robustness (offline) takes epoch 0 and keeps 51.2 %" in text
    assert "87.8 %" in text


def test_a_setting_that_was_chosen_on_these_results_is_said_to_be(scored: Path):
    def search(run: str, **changed: str) -> None:
        params = {"results": "own", **{name: str(value) for name, value in vars(SETTING).items()}, **changed}
        with tracking.open_run("search", run, run, params, {}) as handle:
            handle.log_metrics({"tis_held_out": 0.7})

    warning = "won a search on results of this store"
    search("another", margin="0.7")
    search("replayed", results="replay")
    assert warning not in report()
    search("this")
    assert warning in report()
    assert "judged on had a mean TIS of 0.700" in report()
    assert warning in Path("reports/report.html").read_text()

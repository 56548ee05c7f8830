"""A planted answer is found, judged on unseen targets and logged once under one parent."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer import tracking
from medtransfer.config import load_params

from .conftest import Lab

ROOT = Path(__file__).parents[2]


ONE_PAIR: dict[str, Any] = {"levels": [-1], "margins": {"low": 0.5, "high": 0.5, "step": 1}, "poolings": ["frozen"]}  # no plots


@pytest.fixture(scope="module")
def searched(shared_workplace: Path, planted_store: Path) -> tuple[Any, str]:
    """Search the planted store once; the tests look at what it left."""
    shutil.copy(planted_store, shared_workplace / "mlflow.db")
    return Lab(), Lab().search()


def test_the_answer_is_found_and_judged_on_targets_it_never_saw(searched: tuple[Any, str]):
    lab, text = searched
    (parent,), _ = lab.family()
    # In-sample (1 + 1 + .4) / 3. Without the star the winner is the same, .4 there; without another l2 wins, .6 there.
    expected = {"tis_in_sample": 0.8, "tis_held_out": (0.6 + 0.6 + 0.4) / 3, "tis_default": 0.2, "tis_full": 0.6, "tis_none": 0.2}
    assert {name: parent.metrics[name] for name in expected} == pytest.approx(expected)
    assert parent.metrics["optimism"] == pytest.approx(0.8 - 1.6 / 3)
    assert "Over 3 configurations, the best setting is **cosine, margin 0.5, level -1, pooling frozen** (3 other" in text
    written = Path("search/search.md").read_text()
    assert text == f"{written}\n\nThe settings one by one: search/trials.csv; this text: search/search.md"
    with tracking.artifact_folder(parent.id, "") as folder:
        artifacts = {path.name for path in folder.iterdir()}
    assert artifacts == {"trials.csv", "winner.yaml", "search.md", "importance.png", "slice.png", "pairs.png"}


def test_every_setting_is_a_row_and_the_best_of_each_margin_a_run(searched: tuple[Any, str]):
    rows = searched[0].rows()
    assert [row["trial"] for row in rows] == [str(i) for i in range(2 * 2 * 2 * 2)]
    assert len({tuple(row[name] for name in ("distance", "margin", "level", "pooling")) for row in rows}) == 16
    for row in rows:
        assert float(row["tis"]) == pytest.approx(sum(float(row[f"tis_{target}"]) for target in ("moon", "star", "sun")) / 3)
    (parent,), children = searched[0].family()
    assert (parent.params["trials"], parent.params["configurations"]) == ("16", "3")
    assert len(children) == 2 * 2 * 2
    assert {run.tags[tracking.PARENT] for run in children} == {parent.id}
    for run in children:
        row = rows[int(run.params["trial"])]
        named = ("indicator", "distance", "margin", "level", "pooling", "study", "trial")
        assert run.params == {name: row[name] for name in named}
        assert run.metrics == pytest.approx({name: float(value) for name, value in row.items() if name.startswith("tis")})
        assert row["margin"] == "0.5", "of equally good margins the default's is logged"


def test_the_winner_can_be_laid_over_the_params(searched: tuple[Any, str]):
    (parent,), _ = searched[0].family()
    score = load_params([ROOT / "params.yaml", Path("search/winner.yaml")], {}).score
    setting = {"distance": score.distance, "margin": score.margin, "level": score.level, "pooling": score.pooling}
    assert setting == {"distance": "cosine", "margin": 0.5, "level": -1, "pooling": "frozen"}
    assert {name: str(value) for name, value in setting.items()}.items() <= parent.params.items()


def test_a_finished_search_is_reused(searched: tuple[Any, str], no_pictures: None, caplog: pytest.LogCaptureFixture):
    lab, text = searched
    runs = lab.family()
    with caplog.at_level("INFO", logger="medtransfer"):
        assert lab.search() == text
    assert lab.family() == runs
    assert f"search: the tracking store has this result already (run {runs[0][0].id})" in caplog.text


def test_an_interrupted_search_leaves_nothing_twice(planted: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking.Run, "log_artifact", fail)
        with pytest.raises(KeyboardInterrupt):
            planted.search(**ONE_PAIR)
    planted.search(**ONE_PAIR)
    (parent,), children = planted.family()
    assert len(children) == 2
    assert {run.tags[tracking.PARENT] for run in children} == {parent.id}


def test_other_results_or_settings_are_another_search(planted: Any):
    before = planted.search(**ONE_PAIR)
    planted.search(**ONE_PAIR | {"levels": [-2]})
    planted.add_dice("comet")
    planted.add_scores("comet", {})
    assert planted.search(**ONE_PAIR) != before
    parents, children = planted.family()
    assert (len(parents), len(children)) == (3, 3 * 2)


def test_families_have_winners_of_their_own(planted: Any, no_pictures: None):
    for target in ("moon", "sun"):
        planted.add_dice(target, "swin")
        planted.add_scores(target, {("l2", -2): 5}, "swin")
    text = planted.search(per_encoder=True, poolings=["frozen"])
    assert "for swin **l2, " in text
    assert "for unet **cosine, " in text
    rows = planted.rows()
    assert {row["study"] for row in rows} == {"search-swin", "search-unet"}
    assert {row["tis_star"] for row in rows if row["study"] == "search-swin"} == {""}
    assert "search-swin-without-moon" in text and "search-unet-without-star" in text
    assert yaml.safe_load(Path("search/winner-swin.yaml").read_text())["score"]["level"] == -2
    assert Path("search/pairs-swin.png").exists()


def test_the_run_that_mlflow_opened_names_the_search(planted: Any, monkeypatch: pytest.MonkeyPatch):
    """The parent is in the experiment of its children, since the UI nests runs of one experiment only."""
    client = tracking.connect()
    opened = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    planted.search(**ONE_PAIR)
    (parent,), children = planted.family()
    experiments = {client.get_run(run.id).info.experiment_id for run in (parent, *children)}
    assert len(experiments) == 1
    assert client.get_run(opened).data.tags["medtransfer.reuses"] == parent.id != opened


@pytest.mark.slow
def test_commands_at_once_make_one_search(planted: Any, workplace: Path):
    shutil.copy(ROOT / "params.yaml", workplace / "params.yaml")
    options = ["--distances", "[cosine, l2]", "--levels", "[-1, -2]", "--margins", "{low: 0, high: 0.5, step: 0.5}"]
    command = [sys.executable, "-m", "medtransfer", "search", "--all", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    (_,), children = planted.family()
    assert len(children) == len({run.params["trial"] for run in children}) == 2 * 2 * 3


def test_reading_trying_and_drawing_show_progress(planted: Any, terminal: Callable[[], str]):
    planted.search()
    shown = terminal()
    parts = ("reading the tracking store", "reading distances", "trying settings", "drawing", "best settings to the store")
    begins = [shown.index(f"search: {part}") for part in parts]
    assert begins == sorted(begins)
    assert "/8" in shown[begins[2] : begins[3]], "two distances, two levels and two poolings"
    assert "/3" in shown[begins[3] : begins[4]], "three pictures"

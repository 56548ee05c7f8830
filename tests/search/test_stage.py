"""A planted answer is found, judged on unseen targets, logged once under one parent, gone on with and adopted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer import tracking
from medtransfer.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_answer_is_found_and_judged_on_targets_it_never_saw(planted: Any):
    text = planted.search(trials=20)
    (parent,), children = planted.family()
    # In-sample (1 + 1 + .4) / 3. Without the star the winner is the same, .4 there; without another l2 wins, .6 there.
    expected = {"tis_in_sample": 0.8, "tis_held_out": (0.6 + 0.6 + 0.4) / 3, "tis_default": 0.2, "tis_full": 0.6, "tis_none": 0.2}
    assert {name: parent.metrics[name] for name in expected} == pytest.approx(expected)
    assert parent.metrics["optimism"] == pytest.approx(0.8 - 1.6 / 3)
    assert "Over 3 configurations, the best setting is **cosine, margin " in text
    assert Path("search/search.md").read_text() == text
    winner = yaml.safe_load(Path("search/winner.yaml").read_text())["score"]
    assert {"distance": "cosine", "level": -1}.items() <= winner.items()
    assert {name: str(value) for name, value in winner.items()}.items() <= parent.params.items()
    studies = ["search", "search-without-moon", "search-without-star", "search-without-sun"]
    assert [row["study"] for row in planted.rows()] == [study for study in studies for _ in range(20)]
    for row in planted.rows("search-without-star"):
        assert row["tis_star"] == ""
        assert float(row["tis"]) == pytest.approx((float(row["tis_moon"]) + float(row["tis_sun"])) / 2)
    assert len(children) == 80
    assert {one.tags[tracking.PARENT] for one in children} == {parent.id}
    first = next(one for one in children if (one.params["study"], one.params["trial"]) == ("search", "0"))
    row = planted.rows("search")[0]
    assert first.params == {name: row[name] for name in ("distance", "margin", "level", "pooling", "study", "trial")}
    assert first.metrics == pytest.approx({name: float(value) for name, value in row.items() if name.startswith("tis")})
    with tracking.artifact_folder(parent.id, "") as folder:
        there = {path.name for path in folder.iterdir()}
    assert there == {"trials.csv", "winner.yaml", "search.md", "importance.png", "slice.png", "contour.png"}


def test_a_target_that_one_setting_wins_alone_does_not_change_what_is_chosen_without_it(planted: Any):
    planted.search()
    before, others = planted.rows("search-without-star"), planted.rows("search-without-sun")
    planted.add_dice("star", dice={0: 0.8, 1: 0.1, 5: 0.2, 10: 0.3})
    planted.search()
    assert planted.rows("search-without-star") == before
    assert planted.rows("search-without-sun") != others


def test_a_finished_search_is_reused(planted: Any, caplog: pytest.LogCaptureFixture):
    text = planted.search()
    runs = planted.family()
    with caplog.at_level("INFO", logger="medtransfer"):
        assert planted.search() == text
    assert planted.family() == runs
    assert f"is finished (run {runs[0][0].id}): reused" in caplog.text


def test_a_search_goes_on_and_gathers_its_trials_under_one_parent(planted: Any):
    planted.search(trials=3)
    first = planted.rows()
    planted.search(trials=5)
    assert [row for row in planted.rows() if int(row["trial"]) < 3] == first
    (newest, _), children = planted.family()
    assert len(children) == 4 * 5
    assert {one.tags[tracking.PARENT] for one in children} == {newest.id}


def test_an_interrupted_search_leaves_nothing_twice(planted: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking.Run, "log_artifact", fail)
        with pytest.raises(KeyboardInterrupt):
            planted.search(trials=3)
    planted.search(trials=3)
    (parent,), children = planted.family()
    assert len(children) == 4 * 3
    assert {one.tags[tracking.PARENT] for one in children} == {parent.id}


def test_changed_results_are_searched_anew(planted: Any):
    before = planted.search(trials=2)
    planted.add_dice("sun", dice={10: 0.9})
    assert planted.search(trials=2) != before
    assert len(planted.family()[0]) == 2


@pytest.mark.parametrize("changed", [{"seed": 1}, {"levels": [-1]}, {"margin": [0.0, 0.4]}])
def test_another_space_or_seed_is_another_search(planted: Any, changed: dict[str, Any]):
    planted.search(trials=2)
    planted.search(trials=2, **changed)
    parents, children = planted.family()
    assert (len(parents), len(children)) == (2, 2 * 4 * 2)


def test_the_winner_is_adopted_only_when_told(planted: Any, workplace: Path):
    params = workplace / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    before = params.read_bytes()
    planted.search()
    assert params.read_bytes() == before
    beside = {path.name for path in workplace.iterdir() if not path.name.startswith("mlflow.db")}
    assert beside == {"params.yaml", "search", "mlartifacts"}
    assert "stands in the section `score` of params.yaml" in planted.search(adopt=Path("params.yaml"))
    winner = yaml.safe_load(Path("search/winner.yaml").read_text())["score"]
    assert winner.items() <= yaml.safe_load(params.read_text())["score"].items()
    assert len(params.read_text().splitlines()) == len(before.splitlines())


def test_families_have_winners_of_their_own(planted: Any):
    for target in ("moon", "sun"):
        planted.add_dice(target, "swin")
        planted.add_scores(target, {("l2", -2): 5}, "swin")
    text = planted.search(per_encoder=True, poolings=["frozen"], trials=24)
    assert "for swin **l2, " in text
    assert "for unet **cosine, " in text
    assert {row["study"] for row in planted.rows()} >= {"search-swin", "search-swin-without-moon", "search-unet-without-star"}
    assert yaml.safe_load(Path("search/winner-swin.yaml").read_text())["score"]["level"] == -2
    assert Path("search/contour-swin.png").exists()
    with pytest.raises(InputError, match="expected one winner for --adopt"):
        planted.search(per_encoder=True, adopt=Path("params.yaml"))


def test_the_run_that_mlflow_opened_is_told_of_the_search(planted: Any, monkeypatch: pytest.MonkeyPatch):
    """The parent lies beside its children, since the UI folds runs of one experiment only."""
    client = tracking.connect()
    opened = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    planted.search(trials=2)
    (parent,), children = planted.family()
    experiments = {client.get_run(one.id).info.experiment_id for one in (parent, *children)}
    assert len(experiments) == 1
    assert client.get_run(opened).data.tags["medtransfer.reuses"] == parent.id != opened


@pytest.mark.slow
def test_commands_at_once_make_one_search(planted: Any, workplace: Path):
    shutil.copy(ROOT / "params.yaml", workplace / "params.yaml")
    options = ["--trials", "6", "--distances", "[cosine, l2]", "--levels", "[-1, -2]", "--margin", "[0, 0.5]"]
    command = [sys.executable, "-m", "medtransfer", "search", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    (_,), children = planted.family()
    assert len(children) == 4 * 6
    assert len({(one.params["study"], one.params["trial"]) for one in children}) == 24

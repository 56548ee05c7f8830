"""A store planted with a known answer is searched: found, judged on unseen targets, logged once, gone on with, adopted."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from medtransfer import tracking
from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.report.collect import Configuration
from medtransfer.runtime import digest
from medtransfer.score.files import write_pairs
from medtransfer.search import results
from medtransfer.search.stage import run
from medtransfer.training.robustness import Pairs

ROOT = Path(__file__).parents[2]
DICE = {0: 0.16, 1: 0.32, 5: 0.8, 10: 0.48}  # TIS .2 .4 1 .6
PAIRS = (("cosine", -1), ("cosine", -2), ("l2", -1), ("l2", -2))
# Cosine at the last level finds the best checkpoint of two targets; l2 at the one before finds only the third's.
CHOSEN = {
    "moon": {("cosine", -1): 5, ("l2", -2): 10}, "sun": {("cosine", -1): 5, ("l2", -2): 10},
    "star": {("cosine", -1): 1, ("l2", -2): 5},
}  # fmt: skip
DEFAULT = {"distance": "l2", "margin": 0.5, "level": -1}
Favours = Mapping[tuple[str, int], int]


def add_dice(target: str, encoder: str = "unet", dice: Mapping[int, float] = DICE, mode: str = "full") -> None:
    for epoch, value in dice.items():
        fields = {"source": "imagenet", "scheme": "simple", "encoder": encoder, "target": target, "mode": mode, "epoch": epoch,
                  "seed": 1, "pretraining": f"pre-{encoder}", "data": f"data-{target}", "protocol": "prot"}  # fmt: skip
        with tracking.open_run("finetune", f"{target} {epoch}", digest(fields, 16), fields, {}) as handle:
            handle.log_metrics({"dice": value}, 150)


def add_scores(target: str, chosen: Favours, encoder: str = "unet", without: int | None = None) -> None:
    params = {"encoder": encoder, "target": target, "scheme": "simple", "pretraining": f"pre-{encoder}", "data": f"data-{target}",
              "images": "4", **DEFAULT}  # fmt: skip
    folder = Path("scores", target, encoder)
    with tracking.open_run("score", target, digest(params, 16), params, {}) as handle:
        curve = dict.fromkeys(DICE, 0.5)
        handle.log_curves({"robustness": curve, "robustness_pooled": curve})
        for epoch in (epoch for epoch in DICE if epoch != without):
            write_pairs(folder / f"epoch-{epoch:03d}.npz", pairs_of(epoch, chosen))
        handle.log_artifact(folder, "scores")


def pairs_of(epoch: int, chosen: Favours) -> Pairs:
    """Make distances that are far better at the chosen epoch of a setting; where none is named, at epoch 0."""
    d_pos = {
        (*pair, pooled): np.full((1, 4), 0.1 if chosen.get(pair, 0) == epoch else 1.2, np.float32)
        for pair in PAIRS for pooled in (False, True)
    }  # fmt: skip
    return Pairs(d_pos, {key: np.ones((1, 4), np.float32) for key in d_pos}, list("abcd"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Plant the answer once; the tests work on copies of the store, whose artifacts stay where they are."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        for target, chosen in CHOSEN.items():
            add_dice(target)
            add_scores(target, chosen)
    return folder / "mlflow.db"


@pytest.fixture
def store(workplace: Path, planted: Path) -> Path:
    """Work with the planted store."""
    return Path(shutil.copy(planted, workplace / "mlflow.db"))


def search(adopt: Path | None = None, **changed: Any) -> str:
    section: dict[str, Any] = {
        "out": "search", "name": "search", "results": "own", "storage": None, "trials": 12, "workers": 1, "seed": 0,
        "per_encoder": False, "distances": ["cosine", "l2"], "margin": [0.0, 0.5], "levels": [-1, -2],
        "poolings": ["frozen", "never"],
    }  # fmt: skip
    return run(Search.model_validate({**section, **changed}), DEFAULT, "frozen", adopt)


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path("search/trials.csv").read_text())))


def family() -> tuple[list[tracking.StoredRun], list[tracking.StoredRun]]:
    """Give the finished parents, the newest first, and the children."""
    runs = tracking.read_runs("search")
    parents = [one for one in runs if tracking.PARENT not in one.tags]
    return parents, [one for one in runs if tracking.PARENT in one.tags]


def test_the_answer_is_found_and_judged_on_targets_it_never_saw(store: Path):
    text = search(trials=20)
    (parent,), children = family()
    # In-sample (1 + 1 + .4) / 3. Without the star the winner is the same, .4 there; without another l2 wins, .6 there.
    expected = {"tis_in_sample": 0.8, "tis_held_out": (0.6 + 0.6 + 0.4) / 3, "tis_default": 0.2, "tis_full": 0.6, "tis_none": 0.2}
    assert {name: parent.metrics[name] for name in expected} == pytest.approx(expected)
    assert parent.metrics["optimism"] == pytest.approx(0.8 - 1.6 / 3)
    assert "Over 3 configurations, the best setting is **cosine, margin " in text
    assert Path("search/search.md").read_text() == text
    winner = yaml.safe_load(Path("search/winner.yaml").read_text())["score"]
    assert {"distance": "cosine", "level": -1}.items() <= winner.items()
    assert {name: str(value) for name, value in winner.items()}.items() <= parent.params.items()
    by_study = {name: [row for row in rows() if row["study"] == name] for name in {row["study"] for row in rows()}}
    names = ("search", "search-without-moon", "search-without-star", "search-without-sun")
    assert {name: len(found) for name, found in by_study.items()} == dict.fromkeys(names, 20)
    assert {row["tis_star"] for row in by_study["search-without-star"]} == {""}
    assert all(
        float(row["tis"]) == pytest.approx((float(row["tis_moon"]) + float(row["tis_sun"])) / 2)
        for row in by_study["search-without-star"]
    )
    assert len(children) == 80
    assert {one.tags[tracking.PARENT] for one in children} == {parent.id}
    first = next(one for one in children if (one.params["study"], one.params["trial"]) == ("search", "0"))
    row = by_study["search"][0]
    assert first.params == {name: row[name] for name in ("distance", "margin", "level", "pooling", "study", "trial")}
    assert first.metrics == pytest.approx({name: float(value) for name, value in row.items() if name.startswith("tis")})
    with tracking.artifact_folder(parent.id, "") as folder:
        there = {path.name for path in folder.iterdir()}
    assert there == {"trials.csv", "winner.yaml", "search.md", "importance.png", "slice.png", "contour.png"}


def test_a_target_that_one_setting_wins_alone_does_not_change_what_is_chosen_without_it(store: Path):
    search(name="before")
    before = [row for row in rows() if row["study"] == "before-without-star"]
    add_dice("star", dice={0: 0.8, 1: 0.1, 5: 0.2, 10: 0.3})
    search(name="before-2")
    after = [row for row in rows() if row["study"] == "before-2-without-star"]
    values = [{(row["distance"], row["level"]): row["tis"] for row in found} for found in (before, after)]
    assert values[0] == values[1]


def test_a_finished_search_is_reused(store: Path, caplog: pytest.LogCaptureFixture):
    text = search()
    runs = family()
    with caplog.at_level("INFO", logger="medtransfer"):
        assert search() == text
    assert family() == runs
    assert f"is finished (run {runs[0][0].id}): reused" in caplog.text


def test_a_search_goes_on_and_gathers_its_trials_under_one_parent(store: Path):
    search(trials=3)
    first = rows()
    search(trials=5)
    assert [row for row in rows() if int(row["trial"]) < 3] == first
    (newest, _), children = family()
    assert len(children) == 4 * 5
    assert {one.tags[tracking.PARENT] for one in children} == {newest.id}


def test_an_interrupted_search_leaves_nothing_twice(store: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking.Run, "log_artifact", fail)
        with pytest.raises(KeyboardInterrupt):
            search(trials=3)
    search(trials=3)
    (parent,), children = family()
    assert len(children) == 4 * 3
    assert {one.tags[tracking.PARENT] for one in children} == {parent.id}


def test_changed_results_are_refused(store: Path):
    search(trials=2)
    add_dice("sun", dice={10: 0.9})
    with pytest.raises(InputError, match="the study 'search' .* have changed since it began; name another with --name"):
        search(trials=2)
    assert "Over 3 configurations" in search(trials=2, name="again")


@pytest.mark.parametrize("changed", [{"seed": 1}, {"levels": [-1]}, {"margin": [0.0, 0.4]}])
def test_another_space_or_seed_is_refused(store: Path, changed: dict[str, Any]):
    search(trials=2)
    with pytest.raises(InputError, match="name another with --name"):
        search(trials=2, **changed)


def test_the_winner_is_adopted_only_when_told(store: Path, workplace: Path):
    params = workplace / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    before = params.read_bytes()
    search()
    assert params.read_bytes() == before
    beside = {path.name for path in workplace.iterdir() if not path.name.startswith("mlflow.db")}
    assert beside == {"params.yaml", "search", "mlartifacts"}
    assert "stands in the section `score` of params.yaml" in search(adopt=Path("params.yaml"))
    winner = yaml.safe_load(Path("search/winner.yaml").read_text())["score"]
    assert winner.items() <= yaml.safe_load(params.read_text())["score"].items()
    assert len(params.read_text().splitlines()) == len(before.splitlines())


def test_families_have_winners_of_their_own(store: Path):
    for target in ("moon", "sun"):
        add_dice(target, "swin")
        add_scores(target, {("l2", -2): 5}, "swin")
    text = search(per_encoder=True, poolings=["frozen"], trials=24)
    assert "swin: **l2, " in text
    assert "unet: **cosine, " in text
    assert {row["study"] for row in rows()} >= {"search-swin", "search-swin-without-moon", "search-unet-without-star"}
    assert yaml.safe_load(Path("search/winner-swin.yaml").read_text())["score"]["level"] == -2
    assert Path("search/contour-swin.png").exists()
    with pytest.raises(InputError, match="expected one winner for --adopt"):
        search(per_encoder=True, adopt=Path("params.yaml"))


def test_one_target_can_only_be_judged_in_sample(workplace: Path):
    add_dice("moon")
    add_dice("moon", mode="decoder")
    add_scores("moon", CHOSEN["moon"])
    text = search()
    assert "With one target only (moon) nothing can be held out" in text
    assert {row["study"] for row in rows()} == {"search"}
    (parent,), _ = family()
    assert parent.metrics["tis_in_sample"] == 1.0
    assert not {"tis_held_out", "optimism"} & parent.metrics.keys()


def test_settings_that_are_all_alike_have_no_plots(workplace: Path):
    add_dice("moon")
    add_scores("moon", dict.fromkeys(PAIRS, 5))
    assert "There are no plots: all trials have the same TIS" in search(trials=4)
    assert not list(Path("search").glob("*.png"))


def test_what_cannot_be_judged_is_said(store: Path):
    add_dice("comet")
    text = search(trials=2)
    assert "- unet simple → comet, full: left out, no score of epochs 1, 5, 10" in text


@pytest.mark.parametrize(
    ("plant", "changed", "said"),
    [
        (lambda: None, {}, "expected finished fine-tunings in the tracking store, but there are none"),
        (lambda: add_dice("moon"), {}, "none of 1 has them .*no score of epochs 1, 5, 10.*medtransfer score"),
        (lambda: (add_dice("moon", dice={5: 0.4, 10: 0.4}), add_scores("moon", {})), {}, "incomplete"),
        (lambda: (add_dice("moon"), add_scores("moon", {}, without=5)), {}, "epoch 5, .* scores/epoch-005.npz .* --force"),
        (lambda: (add_dice("moon"), add_scores("moon", {})), {"distances": ["pearson"]}, "there are the distances cosine, l2 and"),
        (lambda: (add_dice("moon"), add_scores("moon", {})), {"levels": [-3]}, "the levels -1, -2;"),
        (lambda: (add_dice("moon"), add_scores("moon", {})), {"storage": "none://x"}, "expected an Optuna storage at none://x"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_searched_on_are_named(workplace: Path, plant: Callable[[], None], changed: Any, said: str):
    plant()
    with pytest.raises(InputError, match=said):
        search(**changed)


def released(target: str, chosen: Favours) -> tuple[Configuration, list[dict[str, Any]]]:
    """Make a replayed configuration and its scores, epoch 0 left out as a copy."""
    fields = {"source": "imagenet", "scheme": "simple", "encoder": "unet", "target": target, "mode": "full"}
    dice = {(epoch, seed): value for epoch, value in DICE.items() for seed in (1, 2)}
    configuration = Configuration(fields, {"data": target}, dice, dict.fromkeys((1, 5, 10), 0.5), {}, tuple(DICE), every_seed=True)
    lines = [
        {
            "encoder": "unet", "scheme": "simple", "target": target, "distance": distance, "level": level, "pooled": pooled,
            "margin": margin, "epoch": epoch, "robustness": 0.9 if chosen.get((distance, level), 1) == epoch else 0.1,
        }
        for distance, level in PAIRS for pooled in (False, True) for margin in (0.0, 0.25, 0.5, 1.0) for epoch in (1, 5, 10)
    ]  # fmt: skip
    return configuration, lines


def test_replayed_results_are_searched_on_their_grid(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    made = [released(target, chosen) for target, chosen in CHOSEN.items()]
    table = pd.DataFrame([line for _, lines in made for line in lines])
    monkeypatch.setattr(results, "read_released", lambda: None)
    monkeypatch.setattr(results, "replayed_configurations", lambda _: [configuration for configuration, _ in made])
    monkeypatch.setattr(results, "replayed_scores", lambda _: table)
    text = search(results="replay", distances=["cosine", "l2", "euclidean"], poolings=["frozen"], margin=[0.0, 0.6], trials=12)
    assert "- The scores hold no distance euclidean: left out of the space." in text
    whole = [row for row in rows() if row["study"] == "search"]
    assert {row["margin"] for row in whole} == {"0.0", "0.25", "0.5"}
    assert len({tuple(row.items())[2:6] for row in whole}) == 12, "the whole grid was tried"
    (parent,), _ = family()
    assert parent.metrics["tis_in_sample"] == pytest.approx(0.8)
    assert parent.metrics["tis_held_out"] == pytest.approx(1.6 / 3)
    assert parent.metrics["tis_default"] == pytest.approx(0.4)  # nothing is chosen by it but epoch 1


@pytest.mark.slow
def test_commands_at_once_make_one_search(store: Path, workplace: Path):
    shutil.copy(ROOT / "params.yaml", workplace / "params.yaml")
    options = ["--trials", "6", "--distances", "[cosine, l2]", "--levels", "[-1, -2]", "--margin", "[0, 0.5]"]
    command = [sys.executable, "-m", "medtransfer", "search", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    (_,), children = family()
    assert len(children) == 4 * 6
    assert len({(one.params["study"], one.params["trial"]) for one in children}) == 24

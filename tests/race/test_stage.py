"""Whole races of tiny models: what they train, test and write, once each, and that an interruption changes nothing."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evidence.rows import row as outcome_row
from tests.tasks.fakes import Watched

import medtransfer
from medtransfer import study, tracking, working_folder
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.race import page, stage, tables
from medtransfer.race.stage import race as ended
from medtransfer.race.stage import run
from medtransfer.race.verdict import verdict
from medtransfer.rank.stage import run as rank
from medtransfer.records import PreparedTarget
from medtransfer.records.evidence import import_evidence
from medtransfer.tasks import TASKS

pytestmark = pytest.mark.long

FILES = ("race.csv", "race.json", "race.md", "race.html")
CHOSEN = {
    "pretrain.epochs": 3, "pretrain.checkpoints": [1, 2], "finetune.train_epochs": 4, "finetune.seed": 7, "race.eta": 4,
    "race.workers": 1, "race.validation": 0.34, "race.budget_factor": 1.0, "finetune.keep": "metrics",
    "report.least": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    study.prepare(tiny_params(CHOSEN))
    study.pretrain(tiny_params(CHOSEN))
    return shared_workplace


@pytest.fixture(scope="module")
def raced(inputs: Path, tiny_params: Callable[..., Params]) -> str:
    """Race four checkpoints in the folder of the inputs."""
    return run(tiny_params(CHOSEN))


@pytest.fixture
def race(raced: str, inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., str]:
    """Return a function that races in a folder of the test's own, with the inputs but without their results."""
    for name in ("checkpoints", "data"):
        (workplace / name).symlink_to(inputs / name)
    return lambda **changed: run(tiny_params({**CHOSEN, **{f"race.{key}": value for key, value in changed.items()}}))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    task = Watched()
    monkeypatch.setitem(TASKS, "segmentation", task)
    return task


def rows(folder: Path = Path()) -> list[dict[str, str]]:
    with (folder / "race/race.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rungs_of_one_and_four_epochs(raced, inputs):
    """Four candidates and one seat: the plan takes 4 x 1 + 1 x 4 epochs, and leaves room for two who are close."""
    summary = json.loads((inputs / "race/race.json").read_text())
    table, winner = rows(inputs), summary["winner"]
    first, last = ([row for row in table if row["rung"] == rung] for rung in ("1", "2"))
    assert len(first) == 4 and {row["epochs"] for row in first} == {"1"} and first[0]["outcome"] == "stays"
    assert 1 <= len(last) <= 3 and {row["epochs"] for row in last} == {"4"}
    assert summary["cost"] == {"epochs": 4 + 4 * len(last), "planned": 8, "budget": 16, "all_in_full": 16}
    for rung in (first, last):
        assert [float(row["validation"]) for row in rung] == sorted((float(row["validation"]) for row in rung), reverse=True)
    assert {row["candidate"] for row in last} == {row["candidate"] for row in first if row["outcome"].startswith("stays")}
    assert winner["name"] == last[0]["candidate"] and last[0]["outcome"] == "wins" and f"{winner['name']} wins" in raced
    html = (inputs / "race/race.html").read_text()
    assert "<svg" in html and all(row["candidate"] in html for row in table)
    model = f"race/winner/sample/{winner['encoder']}-{winner['origin']}/e{winner['epoch']:03d}-full-s7"
    command = f"medtransfer predict --model {model} --images FOLDER"
    assert command in raced and command in html and (inputs / model / "model.json").is_file()


def test_every_value_is_that_of_validation_patients(raced, inputs):
    """Recomputed from the counts of the images, without our code."""
    for row in rows(inputs):
        path = next((inputs / f"race/rungs/{int(row['epochs']):03d}-epochs").rglob(f"e{int(row['epoch']):03d}-full-s7"))
        with (path / "per_image.csv").open() as file:
            images = list(csv.DictReader(file))

        def dice(kept, images=images):
            sums = {cell: np.array([[float(i[f"{cell}_class_{c}"]) for c in (1, 2, 3)] for i in kept(images)]).sum(axis=0)
                    for cell in ("tp", "fp", "fn")}  # fmt: skip
            return float(((2 * sums["tp"] + 1) / (2 * sums["tp"] + sums["fp"] + sums["fn"] + 1)).mean())

        patients = sorted({image["group"] for image in images})
        whole = dice(lambda images: images)
        rest = [dice(lambda images, p=p: [i for i in images if i["group"] != p]) for p in patients]
        assert float(row["validation"]) == pytest.approx(whole)
        if len(patients) > 1:
            error = np.sqrt((len(rest) - 1) / len(rest) * ((np.array(rest) - np.mean(rest)) ** 2).sum())
            assert float(row["error"]) == pytest.approx(error)


def test_only_the_winner_is_tested(raced, inputs):
    summary = json.loads((inputs / "race/race.json").read_text())
    cells = tracking.read_runs("finetune")
    tested = [cell for cell in cells if cell.params["evaluate"] == "test"]
    assert [int(cell.params["epoch"]) for cell in tested] == [summary["winner"]["epoch"]]
    assert tested[0].metrics["dice"] == pytest.approx(summary["winner"]["test"])
    assert len(cells) == len(rows(inputs)) + 1 and {cell.params["seed"] for cell in cells} == {"7"}
    (model,) = (inputs / "race/winner").rglob("weights.safetensors")
    (table,) = (inputs / "race/winner").rglob("per_image.csv")
    assert model.parent == table.parent
    target = PreparedTarget.open(inputs / "data/prepared/sample")
    with table.open() as file:
        assert {row["group"] for row in csv.DictReader(file)} == set(target.samples("test")["group"])


def test_a_race_is_one_run(raced, inputs):
    (found,) = tracking.read_runs("race")
    summary = json.loads((inputs / "race/race.json").read_text())
    assert found.params["winner"] == summary["winner"]["name"] and found.params["target"] == "sample"
    assert found.metrics["cost"] == pytest.approx(summary["cost"]["epochs"] / 16)
    with tracking.artifact_folder(found.id, "race.html") as page:
        assert Path(page).read_bytes() == (inputs / "race/race.html").read_bytes()


def test_a_killed_race_ends_in_the_same_files_and_a_repeated_one_trains_nothing(race, inputs, watched, tiny_params):
    watched.interrupt_epoch = 3  # in the last rung
    with pytest.raises(KeyboardInterrupt):
        race()
    assert not Path("race/race.json").exists()
    watched.interrupt_epoch = None
    race()
    for name in FILES:
        assert (Path("race") / name).read_bytes() == (inputs / "race" / name).read_bytes(), name
    count = len(watched.epochs)
    race()
    assert len(watched.epochs) == count and len(tracking.read_runs("race")) == 1
    shutil.rmtree("race")
    race()  # from the store alone
    assert len(watched.epochs) == count
    assert (Path("race") / "race.csv").read_bytes() == (inputs / "race/race.csv").read_bytes()
    winner = json.loads(Path("race/race.json").read_text())["winner"]
    own = tiny_params({**CHOSEN, "finetune.validation": 0.34})
    study.finetune(own, study.study_cells(own, {"epoch": [winner["epoch"]], "mode": ["full"], "seed": [7]}))
    assert len(watched.epochs) == count  # `finetune` reuses it, too


def test_seeds_share_a_rung_and_a_ranking_prunes(race, tiny_params):
    chosen = {"rank.indicators": ["logme"], "rank.by": "logme", "rank.blocks": 0, "rank.workers": 1,
              "rank.candidates": ["checkpoints/unet-simple"]}  # fmt: skip
    rank(tiny_params({**CHOSEN, **chosen}))
    summary = json.loads(Path("rank/ranking.json").read_text())
    for row in summary["scores"]:
        row["indistinguishable"] = False  # as with enough patients
    Path("rank/ranking.json").write_text(json.dumps(summary))
    text = race(seeds=2, eta=2, start_from="rank/ranking.json", budget_factor=None)
    assert "LogME pruned 2 of 4 before the first rung" in text and "mean over 2 seeds" in text
    assert "Nor is it known how often LogME prunes a winner" in text
    result = json.loads(Path("race/race.json").read_text())
    order = sorted(summary["scores"], key=lambda row: row["rank"])
    assert {row["candidate"] for row in result["rungs"]} == {row["candidate"] for row in order[:2]}
    assert result["pruned"]["candidates"] == [row["candidate"] for row in order[2:]]
    cells = tracking.read_runs("finetune")
    assert {cell.params["seed"] for cell in cells} == {"7", "8"} and result["seeds"] == [7, 8]
    tested = [cell.metrics["dice"] for cell in cells if cell.params["evaluate"] == "test"]
    weights, data = (
        {row["candidate"]: row["weights"] for row in summary["candidates"]},
        tracking.read_runs("rank")[0].params["data"],
    )
    known = [replace(outcome_row("a", "b", 0.5), weights=weights[one["candidate"]], data=data) for one in order[:3]]
    import_evidence(
        [*known, replace(outcome_row("a", "b", 0.8), weights=weights[order[3]["candidate"]], data=data)], Path("evidence")
    )
    assert "LogME would have pruned the later winner in 1 of 1 ranking (" in race(
        seeds=2, eta=2, start_from="rank/ranking.json", budget_factor=None
    )
    so_far = json.loads(Path("race/race.json").read_text())["pruned"]["so_far"]
    assert (so_far["pools"], so_far["lost"], so_far["tis"]) == (1, 1, pytest.approx(0.5 / 0.8))
    assert len(tested) == 2 and result["winner"]["test"] == pytest.approx(sum(tested) / 2)


def test_own_validation_samples_are_used(race, tiny_params):
    study.prepare(tiny_params({"prepare.out": "validated", "prepare.targets.sample.validation": 0.34}))
    params = tiny_params({**CHOSEN, "prepare.out": "validated", "race.candidates": ["checkpoints/unet-simple"]})
    assert "has no validation samples" not in run(params)
    assert {cell.params["validation"] for cell in tracking.read_runs("finetune")} == {"0.0"}


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"budget": 5, "budget_factor": None}, "a budget of at least 8 epochs, which 4 x 1, 1 x 4 epochs take, but got 5"),
        ({"candidates": ["checkpoints/unet-simple/epoch-001.json"]}, "at least 2 candidates"),
    ],
)
def test_what_is_no_race_is_refused_before_any_work(changed, match, race, watched):
    with pytest.raises(InputError, match=match):
        race(**changed)
    assert watched.epochs == [] and not Path("race").exists()


def test_the_smallest_budget_is_named_with_the_rungs_that_it_pays_for(tiny_params):
    params = tiny_params({"race.eta": 2, "finetune.train_epochs": 8})
    with pytest.raises(InputError, match="a budget of at least 16 epochs, which 4 x 1, 2 x 2, 1 x 8 epochs take, but got 5"):
        stage._plan(params, 4, 5)
    assert [rung.epochs for rung in stage._plan(params, 4, 16)] == [1, 2, 4, 8]


def test_two_budgets_exclude_each_other(tiny_params):
    with pytest.raises(InputError, match="exclude each other"):
        tiny_params({"race.budget": 10, "race.budget_factor": 0.5})


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_files(race, inputs):
    race(launcher="ray")
    for name in FILES:
        assert (Path("race") / name).read_bytes() == (inputs / "race" / name).read_bytes(), name


def test_nobody_wins_who_learned_nothing(raced, inputs, tiny_params, monkeypatch):
    """The same race, judged by a floor above its best."""
    monkeypatch.chdir(inputs)
    race = ended(tiny_params(CHOSEN))
    nothing = replace(race, least=race.value(race.last, race.winner))
    assert race.learned and not nothing.learned and tables.summary(race)["learned"] and not tables.summary(nothing)["learned"]
    first, *between, last = verdict(nothing)
    assert not any("The winner" in line or "Not distinguished" in line for line in between)
    assert any(line.startswith(f"{race.entrants[race.winner].name}'s model is in") for line in between)
    assert {row["outcome"] for row in tables.heat_rows(nothing) if row["rung"] == len(race.heats)} == {"learned nothing"}
    assert "Vermillion: the winner" in page.render(race) and "Vermillion: the highest" in page.render(nothing)
    assert first.startswith("Nobody wins, since no model of the last rung learned anything") and "finetune.lr" in last
    assert race.least == 0.0 and "wins: validation" in verdict(race)[0]


def test_another_race_in_the_same_folder_is_named_before_it_is_replaced(raced, inputs, workplace, tiny_params, monkeypatch, caplog):
    caplog.set_level("INFO", "medtransfer")
    params = tiny_params(CHOSEN)
    monkeypatch.chdir(inputs)
    race = ended(params)
    monkeypatch.chdir(workplace)
    for changed, times in ((race, 0), (race, 0), (replace(race, budget=99), 1), (replace(race, budget=99), 1)):
        stage._write(changed, params)
        assert caplog.text.count("race: this race replaces the earlier one in race; --out writes to another folder") == times


def test_a_race_of_one_rung_tells_of_no_earlier_one(raced, inputs, tiny_params, monkeypatch):
    monkeypatch.chdir(inputs)
    race = ended(tiny_params(CHOSEN))
    heat = replace(race.heats[0], stay=tables.by_score(race, race.heats[0]))
    single = replace(race, heats=[heat], confidence=0.9999)
    assert single.rivals and "Not distinguished from it" in verdict(single)[1]
    assert not any("earlier rung" in line for line in verdict(single))
    assert "no candidate was trained on them" in " ".join(verdict(single))


@pytest.mark.parametrize(
    ("patients", "said"), [(2, "(2 validation patients, too few to tell much"), (6, "(6 validation patients)")]
)
def test_few_patients_are_named(patients, said, raced, inputs, tiny_params, monkeypatch):
    monkeypatch.chdir(inputs)
    assert said in verdict(replace(ended(tiny_params(CHOSEN)), patients=patients))[0]


def test_a_winner_no_better_than_the_same_label_everywhere_is_named(raced, inputs, tiny_params, monkeypatch):
    """The validation masks decide what a constant mask reaches; it is put above the winner."""
    monkeypatch.chdir(inputs)
    race = ended(tiny_params(CHOSEN))
    assert 0 < race.last.scores.constant < 1
    heat = replace(race.last, scores=replace(race.last.scores, constant=0.999))
    poor = replace(race, heats=[*race.heats[:-1], heat])
    said = verdict(poor)[0]
    assert "wins: validation" in said and "); the same label in every pixel would have 0.999. Its test Dice is " in said
    assert (
        verdict(poor)[-1].startswith("Next: look at the target's preview") and "no better than the same label" in verdict(poor)[-1]
    )
    assert verdict(race)[-1].startswith("Next: `medtransfer finetune ")
    assert "same label" not in verdict(race)[0] and tables.summary(poor)["constant"] == 0.999


def test_the_function_races_what_it_is_told_to(raced, inputs, tiny_params, monkeypatch):
    """The params are those of the command; the race ended before, so that nothing is trained."""
    given: list[dict[str, object]] = []

    def load(overrides, given_in):
        given.append(overrides)
        return tiny_params({**CHOSEN, **overrides})

    monkeypatch.setattr(working_folder, "load", load)
    monkeypatch.chdir(inputs)
    race = medtransfer.race(["checkpoints/unet-simple"], target="sample", seeds=1)
    assert given == [{"race.candidates": ["checkpoints/unet-simple"], "race.target": "sample", "race.seeds": 1}]
    assert f"{race.entrants[race.winner].name} wins" in raced and race.winner not in race.rivals
    assert race.spent <= race.budget == race.full == 16

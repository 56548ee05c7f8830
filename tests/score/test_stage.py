"""Scoring a whole pretraining: the table, the run, what is measured again and what is not."""

import csv
import errno
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.indicators.contract import Batch, Context, Indicator, Measured, Options
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.pairs import read_pairs
from medtransfer.indicators.robustness.triplet import robustness
from medtransfer.indicators.streamed_pass import measure
from medtransfer.next_steps import after_score
from medtransfer.progress import Tally
from medtransfer.records import CheckpointInfo, Score, ScoreIndex, Scores, read_tensors, read_values, write_tensors, write_values
from medtransfer.records.atomic import write_text
from medtransfer.score import other_settings, scorer
from medtransfer.score.plot import draw_curves
from medtransfer.score.sync import publish
from medtransfer.score.table import shown

pytestmark = pytest.mark.long

FOLDER = Path("scores/sample/unet-simple")
EPOCHS = (0, 1, 2)
MARGINS = (0.0, 0.25, 0.5, 0.75, 1.0)
CHOSEN = {"score.repeats": 2, "pretrain.epochs": 2, "pretrain.checkpoints": [1]}


@pytest.fixture(scope="module")
def scored(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of work in which a pretraining was scored on a target."""
    params = tiny_params(CHOSEN)
    study.prepare(params)
    study.pretrain(params)
    assert study.score(params) == FOLDER
    return shared_workplace


@pytest.fixture
def copy(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of that folder, which a test may change; pictures are drawn in the first one alone, to save time."""
    monkeypatch.setattr(scorer, "draw_curves", lambda path, *_: Image.new("L", (1, 1)).save(path))
    shutil.copytree(scored, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'copy' / 'mlflow.db'}")
    return scored


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the checkpoints that are measured from now on."""
    labels: list[str] = []

    def noting(indicators: Any, *arguments: Any, **options: Any) -> Any:
        labels.append(f"{','.join(one.name for one in indicators)} {options['label']}")
        return measure(indicators, *arguments, **options)

    monkeypatch.setattr(scorer, "measure", noting)
    return labels


def again(tiny_params: Callable[..., Params], force: bool = False, **changed: Any) -> None:
    study.score(tiny_params({**CHOSEN, **{f"score.{key}": value for key, value in changed.items()}}), force)


def result_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file() and not path.name.startswith(".")}


def runs() -> list[tracking.StoredRun]:
    return tracking.read_runs("score")


def picked(epoch: int, distance: str, level: int, pooled: bool, margin: float, folder: Path = FOLDER) -> Score:
    wanted = {"distance": distance, "level": level, "pooled": pooled, "margin": margin}
    rows = Scores.read(folder / f"epoch-{epoch:03d}.json").rows
    (row,) = [row for row in rows if (row.indicator, row.setting) == ("robustness", wanted)]
    return row


def flags_of(scores: Scores) -> dict[tuple[Any, Any], dict[str, int]]:
    rows = [row for row in scores.rows if row.indicator == "robustness"]
    return {(row.setting["level"], row.setting["pooled"]): row.flags for row in rows}


def test_the_metrics_are_written_by_epoch(scored):
    with (FOLDER / "scores_by_epoch.csv").open(newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    (run,) = runs()
    names = {"robustness", "robustness_pooled"}
    assert rows.keys() == set(EPOCHS) and names <= rows[0].keys()
    for name in names:
        assert {epoch: float(row[name]) for epoch, row in rows.items()} == tracking.read_curve(run.id, name)


def test_the_table_is_the_robustness_of_the_stored_pairs(scored):
    for epoch in EPOCHS:
        pairs = read_pairs(FOLDER / f"epoch-{epoch:03d}.npz")
        assert len(pairs.images) == 9
        rows = [row for row in Scores.read(FOLDER / f"epoch-{epoch:03d}.json").rows if row.indicator == "robustness"]
        assert len(rows) == len(DISTANCES) * 4 * 2 * len(MARGINS)
        for row in rows:
            key = (row.setting["distance"], row.setting["level"], row.setting["pooled"])
            assert pairs.d_pos[key].shape == (2, 9)
            (value,), (error,) = robustness(pairs.d_pos[key], pairs.d_neg[key], [row.setting["margin"]], pairs.groups)
            assert (row.value, row.error) == pytest.approx((value, error), abs=1e-12)


def test_the_metrics_have_the_epoch_as_step(scored):
    (run,) = runs()
    for metric, pooled in (("robustness", False), ("robustness_pooled", True)):
        lines = {epoch: picked(epoch, "cosine", -2, pooled, 0.5) for epoch in EPOCHS}
        assert tracking.read_curve(run.id, metric) == {epoch: line.value for epoch, line in lines.items()}
        assert tracking.read_curve(run.id, f"{metric}_se") == {epoch: line.error for epoch, line in lines.items()}
    accuracies = {
        epoch: CheckpointInfo.read(Path(f"checkpoints/unet-simple/epoch-00{epoch}.json")).source_accuracy for epoch in EPOCHS
    }
    assert tracking.read_curve(run.id, "source_accuracy") == accuracies
    assert run.params["scores"].split() == ["robustness", "robustness_pooled", "logme"]
    assert not tracking.read_curve(run.id, "robustness_nonfinite")  # no flag, no curve
    rows = {epoch: Scores.read(FOLDER / f"epoch-00{epoch}.json").rows[-1] for epoch in EPOCHS}
    assert {(row.indicator, row.setting["level"]) for row in rows.values()} == {("logme", -2)}
    assert tracking.read_curve(run.id, "logme") == {epoch: row.value for epoch, row in rows.items()}


def test_the_run_says_what_was_scored_and_holds_the_pairs(scored, tmp_path):
    (run,) = runs()
    wanted = {"target": "sample", "encoder": "unet", "origin": "simple", "source": "sample", "distance": "cosine", "margin": "0.5",
              "level": "-2", "split": "train", "images": "9", "repeats": "2", "negative": "random"}  # fmt: skip
    assert run.params.items() >= wanted.items()
    info = CheckpointInfo.read(Path("checkpoints/unet-simple/epoch-000.json"))
    assert run.params["pretraining"] == info.pretraining
    tracking.fetch_artifacts(run.id, "scores", tmp_path)
    names = {f"epoch-00{epoch}.{suffix}" for epoch in EPOCHS for suffix in ("json", "npz")}
    assert {path.name for path in (tmp_path / "scores").iterdir()} == names | {"scores.json"}
    index = ScoreIndex.read(FOLDER / "scores.json")
    assert index.epochs == list(EPOCHS) and "robustness" in index.indicators
    low, high = Image.open(FOLDER / "scores.png").convert("L").getextrema()
    assert low < 100 < high


def test_scores_at_other_settings_are_kept_and_reused(copy, tiny_params, measured, monkeypatch):
    monkeypatch.setattr(scorer, "draw_curves", draw_curves)
    first = result_files()
    again(tiny_params, max_images=7)
    assert len(measured) == len(EPOCHS) and Scores.read(FOLDER / "epoch-001.json").images == 7
    second = result_files()
    again(tiny_params)
    assert result_files() == first and len(measured) == len(EPOCHS)
    again(tiny_params, max_images=7)
    assert result_files() == second and len(measured) == len(EPOCHS)
    assert len(list((FOLDER.parent / ".other-settings" / FOLDER.name).iterdir())) == 1 and len(runs()) == 2


@pytest.mark.parametrize("asked", ["a", "b"])
@pytest.mark.parametrize("done", range(33))
def test_an_interrupted_exchange_loses_nothing(tmp_path, monkeypatch, done, asked):
    """Scores at settings b are brought back where those at a are, until the process is killed after some changes of files."""
    folder = tmp_path / "unet-simple"
    row = {"indicator": "robustness", "setting": {}, "value": 0.5, "error": None, "flags": {}, "replicates": []}

    def write(settings: str) -> dict[str, str]:
        for epoch in EPOCHS:
            scores = Scores("sample", "d", "unet", "simple", "s", epoch, "p", f"w{epoch}", None, 9, {"of": settings}, [row], {})
            scores.write(folder / f"epoch-00{epoch}.json")
            write_text(folder / f"epoch-00{epoch}.npz", settings)
        write_text(folder / "finished.json", settings)
        return held(folder)

    def held(scores: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in scores.iterdir() if path.name != "notes.txt"}

    def ask(settings: str) -> None:
        other_settings.bring_back(folder, lambda each: (held(each) != written[settings],))

    written = {"b": write("b")}
    (folder / "notes.txt").write_text("mine")
    other_settings.keep(folder)
    written["a"] = write("a")
    changes = iter(range(done))

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            if next(changes, None) is None:
                raise KeyboardInterrupt
            return change(*arguments, **options)

        return changed

    with monkeypatch.context() as patch:
        for name in ("link", "rename", "replace", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        try:
            ask("b")
        except KeyboardInterrupt:
            pass
        else:
            assert done > 25  # nearly as many as there are
    assert (folder / "notes.txt").read_text() == "mine"
    for settings in (asked, "a", "b"):
        ask(settings)
        assert held(folder) == written[settings] and (folder / "notes.txt").read_text() == "mine"


def test_many_checkpoints_are_not_proposed_one_by_one(copy, tiny_params):
    again(tiny_params)
    index = FOLDER / "scores.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "epochs": list(range(501))}))
    assert after_score(tiny_params(CHOSEN), FOLDER).endswith(
        "--epoch 0,100,200,300,400,500`, 6 of the 501 checkpoints or others, then `medtransfer report`"
    )


def test_a_refused_scoring_leaves_the_scores_where_they_are(copy, tiny_params):
    before = result_files()
    with pytest.raises(InputError, match="validation"):
        again(tiny_params, split="validation")
    assert result_files() == before


BOTH = {"indicators": ["robustness", "brightness"]}  # the second is measured at one level


def test_an_indicator_that_is_added_until_a_kill_loses_no_stored_score(copy, tiny_params, brightness, measured, monkeypatch):
    """The process dies as it writes the values of the second checkpoint; what all three had stays."""
    before = {epoch: Scores.read(FOLDER / f"epoch-00{epoch}.json").rows for epoch in EPOCHS}
    written = iter([True])

    def dying(*arguments: Any) -> None:
        if not next(written, False):
            raise KeyboardInterrupt
        write_values(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "write_values", dying)
        with pytest.raises(KeyboardInterrupt):
            again(tiny_params, **BOTH)
    for epoch, rows in before.items():
        now = Scores.read(FOLDER / f"epoch-00{epoch}.json").rows
        assert [row for row in now if row.indicator != "brightness"] == rows
    measured.clear()
    again(tiny_params, **BOTH)
    assert [label.partition(" ")[0] for label in measured] == ["brightness", "brightness"]


def test_files_of_the_users_own_stay_though_they_are_named_alike(copy, tiny_params):
    mine = [FOLDER / name for name in ("epoch-9-notes.txt", "epoch-notes.json", "scores.csv")]
    for path in mine:
        path.write_text("mine")
    again(tiny_params, level=-1)
    again(tiny_params)
    assert [path.read_text() for path in mine] == ["mine"] * 3


def test_the_indicators_that_are_asked_for_come_first(copy, tiny_params, brightness, monkeypatch):
    again(tiny_params, **BOTH)
    again(tiny_params, indicators=["brightness"])
    assert shown(FOLDER).splitlines()[0].split("|")[1:4] == [" epoch ", " source accuracy ", " brightness "]
    assert after_score(tiny_params(CHOSEN), FOLDER).endswith(
        "`medtransfer finetune --target sample --encoder unet --origin simple --epoch 0,1,2`, then `medtransfer report`"
    )
    monkeypatch.setattr("medtransfer.next_steps.repeated_options", lambda: " --params my.yaml")
    assert after_score(tiny_params(CHOSEN), FOLDER).endswith(
        " --epoch 0,1,2 --params my.yaml`, then `medtransfer report --params my.yaml`"
    )


def test_a_refused_scoring_leaves_the_scores_where_others_are_kept(copy, tiny_params, brightness):
    again(tiny_params, **BOTH)
    again(tiny_params, **BOTH, level=-1)
    before = result_files()
    for refused in ({"split": "validation"}, {"level": -99, "max_images": 7}):
        with pytest.raises(InputError, match="validation|from -1 to"):
            again(tiny_params, **refused)
        assert result_files() == before


@pytest.mark.parametrize(
    "between", [{"indicators": ["robustness"]}, {"margins": [0.1, 0.5]}, {"indicators": BOTH["indicators"][::-1]}]
)
def test_kept_scores_come_back_though_they_served_another_request_last(copy, tiny_params, measured, brightness, between):
    again(tiny_params, **BOTH)
    before = result_files()
    count = len(measured)
    again(tiny_params, **{**BOTH, **between})
    assert len(measured) == count
    again(tiny_params, **BOTH, level=-1)
    count = len(measured)
    again(tiny_params, **BOTH)
    assert len(measured) == count and result_files() == before


def test_scores_in_a_linked_folder_are_exchanged_where_they_lie(copy, tiny_params, measured, brightness):
    again(tiny_params, **BOTH)
    big = Path("big/scores").resolve()
    big.parent.mkdir()
    FOLDER.rename(big)
    FOLDER.symlink_to(big)
    first = result_files()
    again(tiny_params, **BOTH, level=-1)
    count = len(measured)
    assert result_files() != first
    again(tiny_params, **BOTH)
    assert len(measured) == count and result_files() == first
    assert FOLDER.is_symlink() and big.is_dir() and not big.is_symlink()


@pytest.mark.parametrize("changed", [{}, {"pooling": "always"}, {"pooling": "never"}, {"batch_size": 3}], ids=str)
def test_a_finished_scoring_is_reused(copy, tiny_params, measured, caplog, changed):
    """Neither changes the result: both curves exist always, and the rule of pooling only says which one a reader takes."""
    caplog.set_level(logging.INFO, "medtransfer")
    before = {path: path.read_bytes() for path in FOLDER.iterdir() if path.suffix != ".png"}
    again(tiny_params, **changed)
    section = tiny_params({**CHOSEN, **{f"score.{key}": value for key, value in changed.items()}}).score
    assert publish(section, Path("data/prepared"), Path("checkpoints")) == 0
    assert measured == []
    assert len(runs()) == 1
    assert "is finished" in caplog.text
    assert {path: path.read_bytes() for path in FOLDER.iterdir() if path.suffix != ".png"} == before


def test_another_default_is_read_from_the_pairs(copy, tiny_params, measured):
    again(tiny_params, distance="pearson", margin=0.25, level=-1, indicators=["robustness"])
    assert measured == []
    assert len(runs()) == 2
    curve = tracking.read_curve(runs()[0].id, "robustness_pooled")
    assert curve == {epoch: picked(epoch, "pearson", -1, True, 0.25).value for epoch in EPOCHS}


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"repeats": 1}, {"negative": "paper"}, {"split": "test"}, {"max_images": 8}],
    ids=str,
)
def test_other_settings_are_measured_again(copy, tiny_params, measured, changed):
    before = picked(1, "cosine", -1, True, 0.5)
    again(tiny_params, **changed)
    assert len(measured) == 3
    assert len(runs()) == 2
    assert picked(1, "cosine", -1, True, 0.5) != before
    again(tiny_params, **changed)
    assert len(measured) == 3


@pytest.mark.parametrize("changed", [{"margins": [0.1]}, {"margins": [], "margin": 0.3}], ids=str)
def test_other_margins_are_computed_from_the_stored_distances(copy, tiny_params, measured, changed):
    before = {path.name: path.read_bytes() for path in FOLDER.glob("*.npz")}
    for weights in Path("checkpoints").rglob("*.safetensors"):
        weights.unlink()  # no forward pass is possible
    again(tiny_params, **changed)
    assert measured == []
    margins = sorted({*changed.get("margins", MARGINS), changed.get("margin", 0.5)})
    for epoch in EPOCHS:
        found = Scores.read(FOLDER / f"epoch-{epoch:03d}.json")
        pairs = read_pairs(FOLDER / f"epoch-{epoch:03d}.npz")
        flags = flags_of(found)
        assert [row for row in found.rows if row.indicator == "robustness"] == pairs.scores(margins, flags)
        old = Scores.read(copy / FOLDER / f"epoch-{epoch:03d}.json")
        assert flags == flags_of(old)
        assert (found.notes, found.images, found.settings) == (old.notes, old.images, old.settings)
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.npz")} == before
    assert len(runs()) == 2
    again(tiny_params, **changed)
    assert len(runs()) == 2


@pytest.mark.parametrize("damage", ["cut off", "a wrong byte"])
def test_broken_distances_are_measured_again(copy, tiny_params, measured, damage):
    path = FOLDER / "epoch-002.npz"
    whole, name = path.read_bytes(), "robustness/pos/cosine/-1/flat.npy"
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo(name).header_offset + 30 + len(name) + 20
    wrong = whole[:begin] + bytes(byte ^ 0xFF for byte in whole[begin : begin + 8]) + whole[begin + 8 :]
    path.write_bytes({"cut off": whole[:1000], "a wrong byte": wrong}[damage])
    again(tiny_params, margins=[0.1])
    assert [label.rsplit(" ", 1)[1] for label in measured] == ["2"]
    assert len(read_pairs(path).images) == 9


def test_what_is_measured_is_counted_apart_from_what_is_stored(copy, tiny_params, measured, monkeypatch):
    counted = []

    class Counting(Tally):
        def count(self, number: int = 1) -> None:
            counted.append("measured")

        def reuse(self, number: int = 1) -> None:
            counted.append("stored")

    monkeypatch.setattr(scorer, "Tally", Counting)
    (FOLDER / "epoch-001.json").unlink()
    again(tiny_params)
    assert counted == ["stored", "measured", "stored"] and len(measured) == 1


def test_scores_of_lost_checkpoints_are_removed(copy, tiny_params, measured):
    for path in Path("checkpoints/unet-simple").glob("epoch-002.*"):
        path.unlink()
    again(tiny_params)
    assert measured == []
    assert {path.stem for path in FOLDER.glob("epoch-*")} == {"epoch-000", "epoch-001"}
    assert set(tracking.read_curve(runs()[0].id, "robustness")) == {0, 1}


def test_a_scoring_that_is_not_whole_is_not_published(copy, tiny_params, caplog):
    (FOLDER / "epoch-002.json").unlink()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scorer, "measure", Mock(side_effect=KeyboardInterrupt))
        again(tiny_params)
    assert publish(tiny_params(CHOSEN).score, Path("data/prepared"), Path("checkpoints")) == 0
    assert "epoch-002.json, but it does not exist" in caplog.text


def test_only_changed_checkpoints_are_measured_again(copy, tiny_params, measured):
    (FOLDER / "epoch-002.npz").unlink()
    (FOLDER / "epoch-001.json").unlink()
    again(tiny_params)
    assert [label.rsplit(" ", 1)[1] for label in measured] == ["1", "2"]
    assert len(runs()) == 1


@pytest.mark.parametrize("force", [True, False])
def test_a_lost_or_forced_folder_is_made_again(copy, tiny_params, measured, force):
    if not force:
        shutil.rmtree(FOLDER)
    again(tiny_params, force)
    assert len(measured) == 3
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in (copy / FOLDER).iterdir()}
    for epoch in EPOCHS:
        assert Scores.read(FOLDER / f"epoch-00{epoch}.json") == Scores.read(copy / FOLDER / f"epoch-00{epoch}.json")
    assert len(runs()) == 1  # the newest; the older one is superseded


def test_an_interrupted_scoring_resumes(copy, tiny_params, measured):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scorer, "draw_curves", Mock(side_effect=KeyboardInterrupt))
        again(tiny_params, seed=9)
    again(tiny_params, seed=9)
    assert len(measured) == 3
    assert len(runs()) == 2


def test_what_cannot_be_scored_is_refused(copy, tiny_params):
    with pytest.raises(InputError, match="score.indicators out of robustness.*, but got 'moon'"):
        again(tiny_params, indicators=["moon"])
    with pytest.raises(InputError, match="score.distance out of cosine, pearson, l2, euclidean, but got 'hamming'"):
        again(tiny_params, distance="hamming")
    for _ in ("scored before", "not scored"):
        with pytest.raises(InputError, match="score.level from -1 to -4 for unet, but got -5"):
            again(tiny_params, level=-5)
        shutil.rmtree(FOLDER, ignore_errors=True)
    path = Path("checkpoints/unet-simple/epoch-002.json")
    replace(CheckpointInfo.read(path), pretraining="another").write(path)
    with pytest.raises(InputError, match="one pretraining in checkpoints/unet-simple, but got those of 2"):
        again(tiny_params)
    assert not FOLDER.exists()


def test_the_source_head_is_scored_and_one_that_comes_later_too(copy, tiny_params, measured, caplog):
    """The record of an import by an earlier version names no head; imported again, its weights are the same."""
    path = Path("checkpoints/unet-simple/epoch-002.json")
    info = CheckpointInfo.read(path)
    tensors = read_tensors(path.with_suffix(".safetensors"))
    replace(info, parts=["encoder"]).write(path)
    again(tiny_params, indicators=["leep", "nce"])
    rows = {epoch: Scores.read(FOLDER / f"epoch-00{epoch}.json").rows[-2:] for epoch in EPOCHS}
    assert all(row.value < 0 for epoch in (0, 1) for row in rows[epoch])
    assert [row.flags for row in rows[2]] == [{"no_source_head": 1, "undefined": 1}] * 2
    assert "epoch 2: leep and nce not measured, since there is no softmax head: none was imported" in caplog.text
    assert tracking.read_curve(runs()[0].id, "leep").keys() == {0, 1}
    head = path.with_name("head-002.safetensors")
    write_tensors(head, {name: tensors[name] for name in ("head.weight", "head.bias")})
    replace(info, parts=["encoder"], head=file_sha256(head)).write(path)
    again(tiny_params, indicators=["leep", "nce"])
    assert measured[3:] == ["leep,nce score sample unet-simple epoch 2"]
    assert tracking.read_curve(runs()[0].id, "leep").keys() == set(EPOCHS)


class Brightness(Indicator):
    """The mean of the images themselves; of level -1 with the options' level as its setting."""

    name, needs = "brightness", frozenset({"features"})

    def metrics(self, options: Options) -> dict[str, Any]:
        return {self.name: {"level": options.level}}

    def begin(self, context: Context) -> Any:
        class Mean:
            values = np.zeros(len(context.images), np.float32)

            def update(self, batch: Batch) -> None:
                means = batch.features[context.options.level].mean((1, 2, 3))  # type: ignore[index]
                self.values[batch.positions] = means.numpy().round(4)  # they depend on the other images of the batch by rounding

            def compute(self) -> Measured:
                row = Score("brightness", {"level": context.options.level}, float(self.values.mean()), 0.25, {"dark": 3})
                return Measured(context.images, [row], {"brightness/means": self.values}, ["a note"])

        return Mean()


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one more indicator known."""
    monkeypatch.setitem(INDICATORS, "brightness", Brightness())


def test_an_indicator_that_is_added_is_measured_alone(copy, tiny_params, measured, brightness, tmp_path):
    before = {epoch: Scores.read(FOLDER / f"epoch-00{epoch}.json") for epoch in EPOCHS}
    pairs = {epoch: read_pairs(FOLDER / f"epoch-00{epoch}.npz") for epoch in EPOCHS}
    asked = [*before[0].indicators, "brightness"]
    again(tiny_params, indicators=asked)
    assert [label.split()[0] for label in measured] == ["brightness"] * 3
    for epoch in EPOCHS:
        scores = Scores.read(FOLDER / f"epoch-00{epoch}.json")
        assert scores.rows[:-1] == before[epoch].rows and scores.notes == {**before[epoch].notes, "brightness": ["a note"]}
        stored = read_pairs(FOLDER / f"epoch-00{epoch}.npz")
        assert all(np.array_equal(values, pairs[epoch].d_pos[key]) for key, values in stored.d_pos.items())
        assert read_values(FOLDER / f"epoch-00{epoch}.npz")[1]["brightness/means"].shape == (9,)
    assert ScoreIndex.read(FOLDER / "scores.json").indicators == asked
    run = runs()[0]
    assert run.params["scores"].split()[-1] == "brightness" and len(runs()) == 2
    values = {epoch: Scores.read(FOLDER / f"epoch-00{epoch}.json").rows[-1].value for epoch in EPOCHS}
    assert tracking.read_curve(run.id, "brightness") == values
    assert tracking.read_curve(run.id, "brightness_se") == dict.fromkeys(EPOCHS, 0.25)
    assert tracking.read_curve(run.id, "brightness_dark") == dict.fromkeys(EPOCHS, 3.0)
    again(tiny_params, indicators=["robustness", "brightness"], level=-1)
    assert [label.split()[0] for label in measured[3:]] == ["brightness"] * 3  # its setting is another; distances serve any level
    assert runs()[0].params["level"] == "-1"


def test_scores_at_other_options_are_brought_back_when_asked_for_again(copy, tiny_params, measured, brightness, monkeypatch):
    """Back and forth between levels, with other settings between, measures each of them once; also after a stop halfway."""
    both = {"indicators": ["robustness", "brightness"]}
    again(tiny_params, **both)
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    with monkeypatch.context() as patch, pytest.raises(InputError, match="stopped"):
        patch.setattr(Scores, "write", stopping_after(2, Scores.write))
        again(tiny_params, **both, level=-1)
    again(tiny_params, **both)
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == before
    again(tiny_params, **both, level=-1)
    other = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert other["epoch-001.json"] != before["epoch-001.json"]
    again(tiny_params, **both, seed=1)
    count, number = len(measured), len(runs())
    for level, files in ((-2, before), (-1, other), (-2, before)):
        again(tiny_params, **both, level=level)
        assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == files
    again(tiny_params, **both, seed=1)
    assert len(measured) == count and len(runs()) == number


def test_force_at_other_options_keeps_what_was_finished(copy, tiny_params, measured, brightness):
    both = {"indicators": ["robustness", "brightness"]}
    again(tiny_params, **both)
    before = result_files()
    again(tiny_params, **both, level=-1, force=True)
    again(tiny_params, **both, seed=1)
    again(tiny_params, **both, level=-1, force=True)
    count = len(measured)
    again(tiny_params, **both)
    assert result_files() == before and len(measured) == count
    again(tiny_params, **both, force=True)  # nothing is left of it that could come back
    request = json.loads((FOLDER / "finished.json").read_bytes())["request"]
    assert request not in {path.name for path in (FOLDER.parent / ".other-settings" / FOLDER.name).iterdir()}


def test_kept_scores_come_back_without_the_scorer(copy, tiny_params, brightness, monkeypatch):
    again(tiny_params, **BOTH)
    again(tiny_params, **BOTH, level=-1)
    monkeypatch.setattr(scorer, "score_checkpoints", Mock(side_effect=AssertionError))
    for level in (-2, -1, -2):
        again(tiny_params, **BOTH, level=level)


def test_kept_scores_serve_though_checkpoints_were_added(copy, tiny_params, measured, brightness):
    """Also where the added one is the first."""
    series, kept = Path("checkpoints/unet-simple"), FOLDER.parent / ".other-settings" / FOLDER.name
    later = {path: path.read_bytes() for epoch in (0, 1) for path in series.glob(f"epoch-00{epoch}.*")}
    for path in later:
        path.unlink()
    for changed in ({}, {"level": -1}, {"seed": 1}):
        again(tiny_params, **BOTH, **changed)
    for path, contents in later.items():
        path.write_bytes(contents)
    for changed in ({"level": -1}, {}, {"seed": 1}, {"level": -1}):
        count = len(measured)
        again(tiny_params, **BOTH, **changed)
        assert not any(label.endswith("epoch 2") for label in measured[count:])
    assert count == len(measured) and len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_the_good_ones_of_damaged_scores_are_kept(copy, tiny_params, measured, brightness, epoch, suffix):
    asked = {"indicators": [*BOTH["indicators"], "logme"]}
    again(tiny_params, **asked)
    before = result_files()
    (FOLDER / f"epoch-00{epoch}.{suffix}").write_bytes(b"damaged")
    again(tiny_params, **asked, level=-1)
    count = len(measured)
    again(tiny_params, **asked)
    assert [label.rsplit(" ", 1)[1] for label in measured[count:]] == [str(epoch)] and result_files() == before


def test_unfinished_scores_at_another_option_are_kept(copy, tiny_params, measured, brightness, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(InputError, match="stopped"):
        patch.setattr(Scores, "write", stopping_after(2, Scores.write))
        again(tiny_params, **BOTH)
    again(tiny_params, **BOTH, level=-1)
    count = len(measured)
    again(tiny_params, **BOTH)
    assert len(measured) == count + 1


def test_indicators_that_are_not_asked_for_may_differ_between_checkpoints(copy, tiny_params, measured, brightness, monkeypatch):
    """They do after a checkpoint was added or measured again, or a change of levels was interrupted."""
    (FOLDER / "epoch-001.json").unlink()
    again(tiny_params, indicators=["robustness"])
    assert len(measured) == 1 and runs()[0].params["scores"].split() == ["robustness", "robustness_pooled"]
    again(tiny_params)
    assert [label.split()[0] for label in measured[1:]] == ["logme"]
    again(tiny_params, **BOTH)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="stopped"):
        patch.setattr(Scores, "write", stopping_after(1, Scores.write))
        again(tiny_params, **BOTH, level=-1)
    again(tiny_params, indicators=["robustness"], level=-1)
    assert runs()[0].params["scores"].split() == ["robustness", "robustness_pooled"]


def test_what_is_forced_is_kept_once(copy, tiny_params, monkeypatch):
    monkeypatch.setattr(scorer, "keep", Mock(side_effect=other_settings.keep))
    again(tiny_params, force=True)
    assert scorer.keep.call_count == 1 and not list((FOLDER.parent / ".other-settings" / FOLDER.name).iterdir())


def test_kept_scores_may_be_on_another_file_system(copy, tiny_params, measured, brightness, monkeypatch):
    def across(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(source: Any, target: Any, **options: Any) -> Any:
            if len({".other-settings" in Path(path).parts for path in (source, target)}) > 1:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return change(source, target, **options)

        return changed

    for name in ("link", "rename", "replace"):
        monkeypatch.setattr(os, name, across(getattr(os, name)))
    again(tiny_params, **BOTH)
    (FOLDER / "notes.txt").write_text("mine")
    first = result_files()
    again(tiny_params, **BOTH, level=-1)
    second = result_files()
    again(tiny_params, **BOTH, seed=1)
    count = len(measured)
    for level, files in ((-2, first), (-1, second), (-2, first)):
        again(tiny_params, **BOTH, level=level)
        assert result_files() == files
    assert len(measured) == count


def test_files_of_the_users_own_stay_in_the_folder(copy, tiny_params, brightness):
    both = {"indicators": ["robustness", "brightness"]}
    again(tiny_params, **both)
    (FOLDER / "notes.txt").write_text("mine")
    (FOLDER / "my.plots").mkdir()
    (FOLDER / "my.plots/one.txt").write_text("mine, too")
    for changed in ({"level": -1}, {}, {"seed": 1}, {"level": -1, "force": True}, {}, {"seed": 2}):
        again(tiny_params, **both, **changed)
        assert ((FOLDER / "notes.txt").read_text(), (FOLDER / "my.plots/one.txt").read_text()) == ("mine", "mine, too")
        (FOLDER / "notes.txt").write_text("mine")  # an edit is no change of the scores
    kept = FOLDER.parent / ".other-settings" / FOLDER.name
    (next(kept.iterdir()) / "notes.txt").write_text("of a stop halfway")
    again(tiny_params, **both, seed=3)
    again(tiny_params, **both, seed=3, level=-1)
    assert {path.read_text() for path in [*FOLDER.glob("notes.txt*"), *kept.glob("*/notes.txt*")]} == {"mine", "of a stop halfway"}


def test_scores_of_other_weights_are_not_kept(copy, tiny_params, brightness):
    both = {"indicators": ["robustness", "brightness"]}
    kept = FOLDER.parent / ".other-settings" / FOLDER.name
    for number in range(3):
        for path in sorted(Path("checkpoints/unet-simple").glob("epoch-*.json")):
            record = json.loads(path.read_bytes())
            path.write_text(json.dumps({**record, "pretraining": f"{number:012x}"}))
        again(tiny_params, **both)
        again(tiny_params, **both, level=-1)
        assert len(list(kept.iterdir())) == 1


@pytest.mark.parametrize("request_", ["", "..", "../..", "/"])
@pytest.mark.parametrize("name", ["finished.json", "../elsewhere"])
def test_a_record_names_no_other_folder(copy, tiny_params, brightness, tmp_path, request_, name):
    both = {"indicators": ["robustness", "brightness"]}
    again(tiny_params, **both)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept")
    record = json.loads((FOLDER / "finished.json").read_bytes())
    record["request"] = str(victim) if request_ == "/" else request_
    record["files"][name] = file_sha256(victim / "file")
    (FOLDER / "finished.json").write_text(json.dumps(record))
    again(tiny_params, **both, level=-1)
    again(tiny_params, **both)
    assert (victim / "file").read_text() == "kept" and list(victim.iterdir()) == [victim / "file"]
    assert not list(Path("scores").rglob("elsewhere")) and FOLDER.is_dir()


def stopping_after(times: int, write: Callable[[Scores, Path], None]) -> Callable[[Scores, Path], None]:
    """Return `Scores.write` that fails instead of writing one more."""
    left = iter(range(times))

    def written(scores: Scores, path: Path) -> None:
        if next(left, None) is None:
            raise InputError("stopped")
        write(scores, path)

    return written


def test_an_indicator_that_is_not_asked_for_any_more_is_kept(copy, tiny_params, measured, brightness):
    before = Scores.read(FOLDER / "epoch-001.json").rows
    again(tiny_params, indicators=["brightness"])
    again(tiny_params, indicators=["robustness"])
    assert {label.split()[0] for label in measured} == {"brightness"}
    assert Scores.read(FOLDER / "epoch-001.json").rows[:-1] == before
    shutil.rmtree(FOLDER)
    again(tiny_params, indicators=["brightness"])  # alone
    assert runs()[0].params["scores"] == "brightness" and "distance" not in runs()[0].params
    assert Image.open(FOLDER / "scores.png")
    assert publish(tiny_params(CHOSEN).score, Path("data/prepared"), Path("checkpoints")) == 0


def test_the_same_request_loads_no_indicator_unless_a_file_is_lost_or_changed(copy, tiny_params, monkeypatch):
    called: list[bool] = []
    again(tiny_params)
    monkeypatch.setattr("medtransfer.score.scorer.score_checkpoints", lambda *args: called.append(True) or "0" * 16)
    again(tiny_params)
    assert not called
    for damage in (
        lambda: (FOLDER / "scores.png").unlink(),
        lambda: (FOLDER / "epoch-000.npz").write_bytes(b"broken"),
        lambda: (FOLDER / "finished.json").write_text("{"),
    ):
        damage()
        again(tiny_params)
        assert called.pop()

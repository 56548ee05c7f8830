"""A whole ranking: on a target and on folders, resumed, with candidates that do not load, and what it writes."""

import csv
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
from markupsafe import escape
from PIL import Image
from safetensors.torch import save_file
from tests.evidence.rows import row as outcome_row
from tests.tasks.label_targets import areas, relabel

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.encoders.contract import Level
from medtransfer.errors import InputError, StageError
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.hashing import digest
from medtransfer.indicators.registry import INDICATORS
from medtransfer.rank import assess, measurement
from medtransfer.rank.assess import describe_job
from medtransfer.rank.candidates import Candidate
from medtransfer.rank.feature_maps import _embed
from medtransfer.rank.measurement import Measure
from medtransfer.rank.stage import run, run_study
from medtransfer.records import PreparedTarget
from medtransfer.records.evidence import import_evidence
from medtransfer.records.ranked import RankedCandidate

pytestmark = pytest.mark.long
CHOSEN = {
    "pretrain.epochs": 2, "pretrain.checkpoints": [1], "rank.workers": 1, "rank.indicators": ["robustness", "logme"],
    "rank.by": "logme", "rank.repeats": 1, "rank.blocks": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    params = tiny_params(CHOSEN)
    study.prepare(params)
    study.pretrain(params)
    return shared_workplace


@pytest.fixture
def ranked(pretrained: Path, tmp_path: Path, tiny_params: Callable[..., Params]) -> Callable[..., str]:
    """Return a function that ranks below a folder of the test's own."""

    def rank(*candidates: str, **changed: object) -> str:
        changed = {f"rank.{key}": value for key, value in changed.items()}
        return run(tiny_params({**CHOSEN, "rank.out": str(tmp_path / "rank"), "rank.candidates": list(candidates), **changed}))

    return rank


def rows(folder: Path, name: str = "ranking.csv") -> list[dict[str, str]]:
    with (folder / "rank" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_fields_that_candidates_got_later_rename_no_record(tiny_params):
    candidate = Candidate("unet-simple e001", "checkpoint", (("unet", "{}"),), "epoch-001.json", "unet-simple", 1)
    first = {"name": candidate.name, "kind": "checkpoint", "architectures": [["unet", "{}"]], "file": "epoch-001.json",
             "series": "unet-simple", "epoch": 1}  # fmt: skip
    job = describe_job(candidate, SimpleNamespace(folder=Path("sample")), ["logme"], tiny_params({"rank.out": "rank"}))
    assert job.record == f"rank/candidates/unet-simple-e001-{digest(first, 6)}.json"
    assert job.record != describe_job(replace(candidate, continues=True), SimpleNamespace(folder=""), [], tiny_params()).record


def test_checkpoints_and_controls_are_ranked_on_a_target(ranked, tmp_path):
    text = ranked("checkpoints/unet-simple", "random@test_resnet", "test_resnet.r160_in1k")
    names = {"unet-simple e000 (random)", "unet-simple e001", "unet-simple e002", "random@test_resnet"}
    table = rows(tmp_path)
    assert {row["candidate"] for row in table} == names and {row["indicator"] for row in table} == {"robustness", "logme"}
    by = [row for row in table if row["indicator"] == "logme"]
    assert sorted(float(row["rank"]) for row in by) == [1, 2, 3, 4]
    assert sum(float(row["p_best"]) for row in by) == pytest.approx(1)
    assert all(float(row["low"]) < float(row["value"]) < float(row["high"]) for row in by)
    assert "Left out: test_resnet.r160_in1k: expected the published weights" in text
    assert "Robustness must not rank architectures" in text and "Kendall" in text
    summary = json.loads((tmp_path / "rank/ranking.json").read_text())
    assert summary["baselines"]["last checkpoint"] == ["unet-simple e002"]
    assert set(summary["baselines"]["random weights"]) == {"unet-simple e000 (random)", "random@test_resnet"}
    assert set(summary["indistinguishable"]) == {row["candidate"] for row in by if row["indistinguishable"] == "True"}
    page = (tmp_path / "rank/ranking.html").read_text()
    assert all(name in page for name in names) and page.count("<svg") >= 3
    kept = [row["indistinguishable"] for row in by].count("True")
    assert ("“maybe”: no other candidate was shown to be better" in text) == (kept > 1)
    for row in by:  # the table in the text and that of the page say the same
        best = "< 0.001" if float(row["p_best"]) < 0.0005 else f"{float(row['p_best']):.3f}"
        maybe = ("likely" if kept == 1 else "maybe") if row["indistinguishable"] == "True" else "no"
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['candidate']} "))
        assert {best, maybe} <= {cell.strip() for cell in line.split("|")}
        cells = page.partition("Ranks by indicator")[2].partition(row["candidate"])[2].partition("</tr>")[0]
        assert f">{escape(best)}<" in cells and f">{maybe}<" in cells


def test_what_has_no_weights_is_left_out_before_workers_start(ranked, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    ranked("random@test_resnet", "checkpoints/unet-simple", "test_resnet.r160_in1k")
    said = [message for message in caplog.messages if message.startswith("rank: ")]
    left_out = next(index for index, message in enumerate(said) if "is left out" in message)
    assert said[left_out].startswith("rank: test_resnet.r160_in1k is left out: expected") and said[left_out].endswith(
        "or leave it out"
    )
    assert said[left_out + 1].startswith("rank: 4 candidates on 1 local worker")


def test_random_controls_alone_do_not_replace_a_ranking_of_pretrained_candidates(ranked, tmp_path, monkeypatch):
    ranked("random@test_resnet")
    text = (tmp_path / "rank/ranking.md").read_text()
    assert "No pretrained candidate was measured, so nothing is said about whether pretraining helps." in text
    assert "Next: rank pretrained candidates beside it." in text and "does not show that pretraining helps" not in text
    with pytest.raises(StageError, match="the only pretrained candidate could not be measured; test_resnet.r160_in1k: expected"):
        ranked("random@test_resnet", "test_resnet.r160_in1k")
    assert (tmp_path / "rank/ranking.md").read_text() == text
    monkeypatch.setattr(assess, "start_workers", lambda *_: pytest.fail("there is nothing to measure"))
    with pytest.raises(StageError, match="the only candidate could not be measured; test_resnet.r160_in1k: expected"):
        ranked("test_resnet.r160_in1k", out="other")


def test_a_random_control_that_is_left_out_does_not_stand_for_a_pretrained_candidate(ranked, tmp_path):
    """The U-Net has four levels, of which epoch 0 has random weights; the other control is measured."""
    with pytest.raises(StageError, match="none of the 2 pretrained candidates could be measured; the first, unet-simple e001: "):
        ranked("checkpoints/unet-simple", "random@test_resnet", level=-5)
    assert not (tmp_path / "rank/ranking.md").exists()


def test_a_host_elsewhere_may_have_weights_that_are_missing_here(ranked, monkeypatch):
    def start_workers(params: Params, name: str, workers: int | None, jobs: list[Measure], *_: object) -> None:
        raise StageError(f"asked for {[job.name for job in jobs]}")

    monkeypatch.setattr(assess, "LAUNCHERS", {"local": SimpleNamespace(here=False)})
    monkeypatch.setattr(assess, "start_workers", start_workers)
    with pytest.raises(StageError, match="asked for .'test_resnet.r160_in1k'."):
        ranked("test_resnet.r160_in1k")


def test_each_candidate_is_one_run_with_its_values_as_metrics(ranked, tmp_path):
    ranked("checkpoints/unet-simple")
    found = {run.params["candidate"]: run for run in tracking.read_runs("rank")}
    for row in rows(tmp_path):
        assert found[row["candidate"]].metrics[row["indicator"]] == pytest.approx(float(row["value"]))
    count = len(tracking.read_runs("rank"))
    ranked("checkpoints/unet-simple")
    assert len(tracking.read_runs("rank")) == count


def test_what_was_measured_is_reused_and_the_rest_measured(ranked, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    measured: list[str] = []
    real = measurement.measure
    monkeypatch.setattr(measurement, "measure", lambda *a, **k: (measured.append(k["label"]), real(*a, **k))[1])
    ranked("checkpoints/unet-simple/epoch-001.safetensors")
    first = (tmp_path / "rank/ranking.csv").read_bytes()
    ranked("checkpoints/unet-simple/epoch-001.safetensors")
    assert measured == ["rank unet-simple e001"] and (tmp_path / "rank/ranking.csv").read_bytes() == first
    ranked("checkpoints/unet-simple")
    assert measured[1:] == ["rank unet-simple e000 (random)", "rank unet-simple e002"]
    assert [text for text in caplog.messages if "replace" in text] == [
        f"rank: this ranking will replace the earlier one in {tmp_path / 'rank'}; --out writes to another folder"
    ]
    (record,) = (tmp_path / "rank/candidates").glob("unet-simple-e001*.json")
    record.write_text("{")  # as a killed process never leaves it
    ranked("checkpoints/unet-simple")
    assert measured[3:] == ["rank unet-simple e001"] and RankedCandidate.read(record).name == "unet-simple e001"


def test_a_target_of_labels_has_a_map_of_every_candidate(ranked, tmp_path, pretrained):
    target = PreparedTarget.open(pretrained / "data/prepared/sample")
    relabel(target, "multiclass", pretrained / "data/prepared/sample-lungs")
    one, random = "checkpoints/unet-simple/epoch-001.json", "random@test_resnet"
    chosen = {"target": "sample-lungs", "indicators": ["uniformity"]}
    ranked(one, random, f"fused:{one}+{random}", **chosen)
    names, page = ["unet-simple e001", random, f"fused:unet-simple e001+{random}"], tmp_path / "rank/ranking.html"
    assert {row["candidate"] for row in rows(tmp_path)} == set(names)
    assert all(f"<title>Features of {name}</title>" in page.read_text() for name in names)
    files = sorted((tmp_path / "rank/candidates").glob("*.map.csv"))
    samples = target.samples("train")
    labels = (3 * areas(target)).astype(int)[samples["row"].to_numpy()]
    for file in files:
        with file.open() as opened:
            assert [row["class"] for row in csv.DictReader(opened)] == [["small", "middle", "large"][label] for label in labels]
    before = [file.read_bytes() for file in files]
    runs = {found.params["candidate"]: found for found in tracking.read_runs("rank") if found.params["target"] == "sample-lungs"}
    for found in runs.values():  # for the report
        with tracking.artifact_folder(found.id, found.tags["feature_map"]) as stored:
            assert stored.read_bytes() == (tmp_path / "rank/candidates" / stored.name).read_bytes()
    assert set(runs) == set(names)
    shutil.rmtree(tmp_path / "rank/candidates")
    ranked(one, random, f"fused:{one}+{random}", **chosen)
    assert len(before) == 3 and [file.read_bytes() for file in files] == before
    (drawn,) = (tmp_path / "rank/candidates").glob("unet-simple-e001-*.map.csv")
    written = drawn.stat().st_mtime_ns
    ranked(one, target="sample-lungs", indicators=["uniformity", "rankme"])  # the map is there already
    assert drawn.stat().st_mtime_ns == written
    content = drawn.read_text()
    drawn.write_text("\n".join(content.splitlines()[:-1]) + "\n")
    ranked(one, pixels=50, **chosen)  # of other settings all is made again
    assert drawn.read_text() == content
    ranked(one, indicators=["uniformity"])
    assert "Maps of the features" not in page.read_text()


def test_neighbours_of_a_map_are_neighbours_among_the_features():
    groups = np.repeat([0, 1], 20)
    features = np.random.default_rng(0).normal(size=(40, 8)) + 20 * groups[:, None]
    positions = _embed(features, 1)
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1) + np.diag([np.inf] * 40)
    assert (groups[distances.argmin(axis=1)] == groups).all()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve squares, three of each patient, bright inside the mask; one folder of images, one of masks elsewhere."""
    rng = np.random.default_rng(0)
    for folder in ("my scans", "drawn/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((40, 40), np.uint8)
        top, left = rng.integers(0, 20, 2)
        mask[top : top + 16, left : left + 16] = 255
        image = rng.integers(0, 120, mask.shape, dtype=np.uint8) + mask // 2
        Image.fromarray(image).save(tmp_path / "my scans" / f"p{number // 3}-{number}.png")
        Image.fromarray(mask).save(tmp_path / "drawn/labels" / f"p{number // 3}-{number}.png")
    return tmp_path


@pytest.mark.parametrize("level", [None, -2])
def test_labels_of_images_rank_by_the_deepest_level(ranked, tmp_path, pretrained, level, monkeypatch):
    """One label for each image; a stride that only masks need is passed over, and strides may differ."""
    target = PreparedTarget.open(pretrained / "data/prepared/sample")
    shutil.rmtree(pretrained / "data/prepared/sample-retina", ignore_errors=True)
    relabel(target, "multiclass", pretrained / "data/prepared/sample-retina")
    chosen = {"target": "sample-retina", "by": "ridge", "stride": 2, "level": level}
    with monkeypatch.context() as patch:  # records of a version that took the level of the stride are not reused
        patch.setattr(measurement, "IMAGE_TASKS", ())
        ranked("random@test_resnet", **chosen)
    text = ranked("checkpoints/unet-simple/epoch-001.json", "random@test_resnet", **chosen)
    summary = json.loads((tmp_path / "rank/ranking.json").read_text())
    assert summary["by"] == "ridge" and {row["candidate"] for row in summary["scores"] if row["indicator"] == "ridge"} == {
        "unet-simple e001", "random@test_resnet"
    }  # fmt: skip
    records = [RankedCandidate.read(file) for file in (tmp_path / "rank/candidates").glob("*.json")]
    assert {record.level for record in records} == {level or -1}
    assert text.startswith("By ridge probe on ") and "the masks lie on" not in text and "pixels on the grid" not in text


def test_several_labels_of_an_image_rank_what_takes_them(ranked, tmp_path, pretrained, caplog):
    target = PreparedTarget.open(pretrained / "data/prepared/sample")
    shutil.rmtree(pretrained / "data/prepared/sample-retina", ignore_errors=True)
    relabel(target, "multilabel", pretrained / "data/prepared/sample-retina")
    chosen = {"target": "sample-retina", "indicators": ["ridge", "leep", "lbtc"]}
    text = ranked("checkpoints/unet-simple/epoch-001.json", "random@test_resnet", by="ridge", stride=2, **chosen)
    assert {RankedCandidate.read(file).level for file in (tmp_path / "rank/candidates").glob("*.json")} == {-1}
    assert "rank: LEEP, plain LBTC cannot be measured where an image has several labels" in caplog.messages
    assert text.startswith("By ridge probe on ")
    assert {row["indicator"] for row in rows(tmp_path)} == {"ridge"}
    assert [float(row["value"]) > 0 for row in rows(tmp_path)] == [True, True]
    with pytest.raises(InputError, match="rank.by out of .*, but lbtc cannot be measured where an image has several labels; set"):
        ranked("random@test_resnet", by="lbtc", **chosen)


def test_folders_of_images_and_masks_anywhere(ranked, pictures, caplog):
    caplog.set_level(logging.WARNING, "medtransfer")
    text = ranked(
        "checkpoints/unet-simple", images=str(pictures / "my scans"), masks=str(pictures / "drawn/labels"), size=[32, 32],
        options={"group": "(p[0-9])-"},
    )  # fmt: skip
    assert "12 images of 4 patients" in text and "By LogME" in text
    assert not [message for message in caplog.messages if "are not read" in message]


def test_without_masks_only_what_needs_none_is_measured_and_nothing_is_preferred(ranked, pictures, caplog):
    text = ranked("checkpoints/unet-simple", images=str(pictures / "my scans"), size=[32, 32])
    assert "LogME cannot be measured without masks" in caplog.text
    assert text.startswith("Without masks nothing measured here is known to rank encoders: all 3 candidates remain.")
    assert "each taken as a patient of its own.\n" in text
    assert {row["indicator"] for row in rows(pictures)} == {"robustness"}
    assert ranked("checkpoints/unet-simple", images=str(pictures / "my scans"), size=[32, 32], by="robustness") == text
    with pytest.raises(InputError, match="name an indicator that needs none"):
        ranked("checkpoints/unet-simple", images=str(pictures / "my scans"), size=[32, 32], indicators=["logme"])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"images": "nowhere"}, InputError, "expected a folder of pictures at .*nowhere, but there is none"),
        ({"masks": "somewhere"}, InputError, "expected rank.images beside rank.masks"),
        ({"level": -9}, StageError, "none of the 3 candidates could be measured; .*expected a level from -1 to -4"),
        (
            {"images": "{pictures}", "size": [33, 32]},
            InputError,
            "^expected images whose sides are multiples of .*; set the size to 32 .`--size 32`.$",
        ),
    ],
)
def test_what_cannot_be_ranked_is_said(ranked, pictures, changed, error, message):
    changed = {key: str(pictures / "my scans") if value == "{pictures}" else value for key, value in changed.items()}
    with pytest.raises(error, match=message):
        ranked("checkpoints/unet-simple", **changed)


def test_sizes_that_no_record_tells_are_left_to_the_measurement(ranked, pictures):
    with pytest.raises(
        StageError, match="none of the 4 candidates could be measured; .*sides are multiples of .*set the size to 32 .`--size 32`.$"
    ):
        ranked("checkpoints/unet-simple", "random@resnet50", images=str(pictures / "my scans"), size=[33, 32])


def test_the_target_is_named_after_the_folder(ranked, pictures):
    ranked("checkpoints/unet-simple", images=str(pictures / "my scans"), size=[32, 32])
    assert json.loads((pictures / "rank/ranking.json").read_text())["target"].endswith("-my-scans")


def test_a_folder_of_images_and_masks_is_not_taken_for_images(ranked, pictures):
    shutil.copytree(pictures / "my scans", pictures / "both/scans")
    shutil.copytree(pictures / "drawn/labels", pictures / "both/labels")
    with pytest.raises(InputError, match="labels/ and scans/ hold pictures of the same names"):
        ranked("checkpoints/unet-simple", images=str(pictures / "both"), size=[32, 32])


@pytest.mark.parametrize(("count", "message"), [(1, "at least 2 images"), (4, "each of the 4 has one value")])
def test_one_image_and_images_of_one_value_are_refused(ranked, tmp_path, count, message):
    (tmp_path / "flat").mkdir()
    for number in range(count):
        Image.fromarray(np.full((32, 32), 100, np.uint8)).save(tmp_path / f"flat/{number}.png")
    with pytest.raises(InputError, match=message):
        ranked("checkpoints/unet-simple", images=str(tmp_path / "flat"), size=[32, 32])


def test_what_prevents_intervals_is_named(ranked, pictures):
    folders = {"images": str(pictures / "my scans"), "masks": str(pictures / "drawn/labels"), "size": [32, 32]}
    text = ranked("checkpoints/unet-simple", blocks=0, **folders)
    assert "nothing can be distinguished on 12 images of " in text and "patient of its own, since rank.blocks is below 3" in text
    assert "all 3 candidates remain" in text and ",," not in text
    text = ranked("checkpoints/unet-simple", by="ridge", options={"group": "(p)[0-9]"}, **folders)
    assert (
        "ridge probe is not defined on 12 images of 1 patients" in text
        and "2 classes on the grid and 2 patients" in text
        and "all 3 candidates remain" in text
    )
    assert len(json.loads((pictures / "rank/ranking.json").read_text())["indistinguishable"]) == 3


def test_an_indicator_that_compares_within_a_width_decides_nothing(ranked):
    with pytest.raises(InputError, match="rankme compares only levels of the same number of channels; set another"):
        ranked("checkpoints/unet-simple", by="rankme")


def test_other_images_or_settings_are_measured_again(ranked, pictures, monkeypatch):
    measured: list[str] = []
    real = measurement.measure
    monkeypatch.setattr(measurement, "measure", lambda *a, **k: (measured.append(k["label"]), real(*a, **k))[1])
    one = "checkpoints/unet-simple/epoch-001.json"
    ranked(one, images=str(pictures / "my scans"), size=[32, 32])
    Image.fromarray(np.eye(40, dtype=np.uint8) * 200).save(pictures / "my scans/p0-0.png")
    ranked(one, images=str(pictures / "my scans"), size=[32, 32])
    ranked(one, images=str(pictures / "my scans"), size=[32, 32], pixels=50)
    assert measured == ["rank unet-simple e001"] * 3


def test_only_the_indicators_that_a_record_lacks_are_measured(ranked, tmp_path, monkeypatch):
    measured: list[list[str]] = []
    real = measurement.measure
    monkeypatch.setattr(measurement, "measure", lambda *a, **k: (measured.append([i.name for i in a[0]]), real(*a, **k))[1])
    candidates = ("checkpoints/unet-simple/epoch-001.json", "random@test_resnet")
    ranked(*candidates)
    before = {file: RankedCandidate.read(file) for file in (tmp_path / "rank/candidates").glob("*.json")}
    ranked(*candidates, indicators=["robustness"], by="uniformity")
    assert measured == [["robustness", "logme"]] * 2 + [["uniformity"]] * 2
    assert {line["indicator"] for line in rows(tmp_path)} == {"robustness", "uniformity"}
    values, scores = rows(tmp_path), (tmp_path / "rank/ranking.csv").read_bytes()
    for file, old in before.items():
        new = RankedCandidate.read(file)
        assert new.indicators == ["robustness", "logme", "uniformity"] and new.rows[:2] == old.rows and new.cell != old.cell
        assert new.seconds > old.seconds and new.forward_seconds > old.forward_seconds and new.memory >= old.memory
        value = next(line["value"] for line in values if (line["candidate"], line["indicator"]) == (new.name, "uniformity"))
        run = next(run for run in tracking.read_runs("rank") if run.tags[tracking.CELL] == new.cell)
        assert {"robustness", "logme", "uniformity"} <= run.metrics.keys() and run.metrics["uniformity"] == float(value)
    runs = len(tracking.read_runs("rank"))
    ranked(*candidates)
    ranked(*candidates, indicators=["uniformity"], by="robustness")
    assert len(measured) == 4 and len(tracking.read_runs("rank")) == runs  # all of it is there, and so are its runs
    ranked(*candidates, indicators=["robustness"], by="uniformity", out=str(tmp_path / "alone" / "rank"))
    assert measured[4:] == [["robustness", "uniformity"]] * 2
    assert (tmp_path / "alone/rank/ranking.csv").read_bytes() == scores


def test_a_record_with_an_indicator_that_no_longer_exists_is_measured_again(ranked, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    one = "checkpoints/unet-simple/epoch-001.json"
    ranked(one, indicators=["robustness", "uniformity"])
    monkeypatch.delitem(INDICATORS.data, "uniformity")
    caplog.clear()
    ranked(one, indicators=["robustness"])
    assert "measured already" not in caplog.text
    (record,) = (tmp_path / "rank/candidates").glob("*.json")
    assert RankedCandidate.read(record).indicators == ["robustness", "logme"]


def test_a_record_tells_of_the_classifier_whichever_indicator_came_first(ranked, tmp_path):
    save_file(timm.create_model("test_resnet", num_classes=6).state_dict(), tmp_path / "w.safetensors")
    records = []
    for out, order in (("first", ("leep", "uniformity")), ("last", ("uniformity", "leep"))):
        for name in order:
            ranked(f"test_resnet@{tmp_path / 'w.safetensors'}", indicators=[name], by=name, out=str(tmp_path / out))
        (file,) = (tmp_path / out / "candidates").glob("*.json")
        records.append(RankedCandidate.read(file))
    assert records[0].audit == records[1].audit and "its classifier of 6 classes is read as a softmax" in records[0].audit
    assert {row.indicator: row for row in records[0].rows} == {row.indicator: row for row in records[1].rows}


def test_workers_start_early_for_as_many_as_lack_an_indicator(ranked, monkeypatch):
    """They load libraries beside this process, which does not know yet whether the records are current."""
    asked: list[int] = []
    launcher = LAUNCHERS["local"]
    monkeypatch.setattr(launcher, "prepare", lambda params, workers, count, accelerator: asked.append(count))
    ranked("random@test_resnet")
    ranked("random@test_resnet", "checkpoints/unet-simple/epoch-001.json")
    ranked("random@test_resnet", "checkpoints/unet-simple/epoch-001.json", by="robustness")
    ranked("random@test_resnet", "checkpoints/unet-simple/epoch-001.json", by="uniformity")
    assert asked == [1, 1, 2]


def test_candidates_are_compared_on_one_grid_and_lost_classes_are_named(ranked, tmp_path):
    text = ranked("checkpoints/unet-simple/epoch-001.json", "random@test_resnet", stride=8)
    assert {line["stride"] for line in rows(tmp_path, "candidates.csv")} == {"8"} and "different grids" not in text
    text = ranked("checkpoints/unet-simple/epoch-001.json", "random@test_resnet", level=-1)
    assert "The ranked levels have strides of" in text or len({c["stride"] for c in rows(tmp_path, "candidates.csv")}) == 1
    text = ranked("checkpoints/unet-simple/epoch-001.json", "random@test_resnet", stride=32)
    assert "Classes lose most of their pixels on the grid of" in text


@pytest.mark.parametrize(
    ("strides", "asked", "level"), [((1, 2, 4, 8), 8, -1), ((4, 8, 16, 32), 8, -3), ((4, 16), 8, -2), ((2,), 64, -1)]
)
def test_the_level_of_the_nearest_stride_is_ranked(strides, asked, level):
    encoder = SimpleNamespace(levels=[Level(stride, 3) for stride in strides])
    assert measurement.choose_level(encoder, asked, None) == level and measurement.choose_level(encoder, asked, -7) == -7


@pytest.mark.slow
def test_a_cluster_measures_the_same(ranked, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ranked("checkpoints/unet-simple")
    here = (tmp_path / "rank/ranking.csv").read_bytes()
    ranked("checkpoints/unet-simple", launcher="ray", out=str(tmp_path / "elsewhere" / "rank"))
    assert (tmp_path / "elsewhere/rank/ranking.csv").read_bytes() == here
    assert len(list((tmp_path / "elsewhere/rank/candidates").glob("*.json"))) == 3


def test_history_is_that_of_the_same_weights_on_other_targets(ranked, tmp_path):
    """Of the two checkpoints the first did better on two other targets; the present one, where it did worse, says nothing."""
    ranked("checkpoints/unet-simple")
    assert json.loads((tmp_path / "rank/ranking.json").read_text())["baselines"]["history"] == []
    weights = {line["candidate"]: line["weights"] for line in rows(tmp_path, "candidates.csv")}
    present = PreparedTarget.open(Path("data/prepared/sample")).info.fingerprint
    others = {digest("moon"): (0.8, 0.4), digest("sun"): (0.5, 0.4), present: (0.1, 0.9)}
    known = [
        replace(outcome_row("a", "b", dice), weights=weights[f"unet-simple e00{epoch}"], data=data)
        for data, pair in others.items() for epoch, dice in enumerate(pair, start=1)
    ]  # fmt: skip
    import_evidence(known, Path("evidence"))
    assert "unet-simple e001 (mean TIS 1.000 ± 0.000 on 2 other targets)" in ranked("checkpoints/unet-simple")
    past = {line["candidate"]: (line["history"], line["history_targets"]) for line in rows(tmp_path, "candidates.csv")}
    assert past["unet-simple e002"] == (str((0.5 + 0.8) / 2), "2") and past["unet-simple e000 (random)"] == ("", "0")
    shutil.rmtree("evidence")


def test_a_study_is_ranked_on_each_target_and_judged_over_all(pretrained, tmp_path, tiny_params):
    """Fine-tuning the three candidates is said to give .5, .8, .7 on one target, .2, .4, .5 on the other."""
    targets = {"prepare.targets.again": {**tiny_params().prepare.targets["sample"].model_dump(mode="json"), "size": [16, 16]}}
    chosen = {**CHOSEN, **targets, "study.targets": ["sample", "again"], "rank.out": str(tmp_path / "rank")}
    params = tiny_params({**chosen, "rank.candidates": ["checkpoints/unet-simple"]})
    assert "over the targets" not in run_study(params)
    weights = [line["weights"] for line in rows(tmp_path, "sample/candidates.csv")]
    data = {name: PreparedTarget.open(Path("data/prepared") / name).info.fingerprint for name in ("sample", "again")}
    known = [
        replace(outcome_row("a", "b", dice), weights=weight, data=data[name])
        for name, outcomes in {"sample": (0.5, 0.8, 0.7), "again": (0.2, 0.4, 0.5)}.items()
        for weight, dice in zip(weights, outcomes, strict=True)
    ]  # fmt: skip
    import_evidence(known, Path("evidence"))
    text = run_study(params)
    shutil.rmtree("evidence")
    gave = "mean test Dice, mode full, by another recipe than that of the parameters"
    assert f"on this target gave, {gave}:" in (tmp_path / "rank/again/ranking.md").read_text()
    assert f"; {gave})" in (tmp_path / "rank/again/ranking.html").read_text()
    assert "| way of choosing" in text and " TIS " in text and " sd by chance " in text and "null_sd" not in text
    table = {row["way of choosing"]: row for row in rows(tmp_path, "judged.csv")}
    last, chance = table["last checkpoint"], table["any candidate, on average"]
    assert float(last["tis"]) == pytest.approx((0.7 / 0.8 + 1) / 2) and float(last["lowest_tis"]) == pytest.approx(0.7 / 0.8)
    assert float(last["tis_se"]) == pytest.approx((1 - 0.7 / 0.8) / 2) and float(last["regret"]) == pytest.approx(0.1 / 2)
    assert float(chance["tis"]) == pytest.approx((2 / 3 / 0.8 + 1.1 / 3 / 0.5) / 2) and chance["kendall"] == ""
    one, other = (float(row["kendall"]) for name in ("sample", "again") for row in rows(tmp_path, f"{name}/judged.csv")
                  if row["way of choosing"] == "LogME")  # fmt: skip
    assert float(table["LogME"]["kendall"]) == pytest.approx((one + other) / 2) and table["LogME"]["targets"] == "2"
    for name, outcomes in {"sample": (0.5, 0.8, 0.7), "again": (0.2, 0.4, 0.5)}.items():  # one of three stays without the set
        ranks = [float(line["rank"]) for line in rows(tmp_path, f"{name}/ranking.csv") if line["indicator"] == "logme"]
        cuts = {line["with_set"]: line for line in rows(tmp_path, f"{name}/pruning.csv") if line["indicator"] == "LogME"}
        first = outcomes[ranks.index(1)]
        assert (cuts["False"]["left"], float(cuts["False"]["tis"])) == ("1", pytest.approx(first / max(outcomes)))
        assert cuts["False"]["lost"] == str(first < max(outcomes)) and float(cuts["False"]["blind_loss"]) == pytest.approx(2 / 3)
        inside = [
            line["indistinguishable"] == "True" for line in rows(tmp_path, f"{name}/ranking.csv") if line["indicator"] == "logme"
        ]
        assert cuts["True"]["left"] == str(sum(inside)) and cuts["True"]["lost"] == str(not inside[outcomes.index(max(outcomes))])
        page = (tmp_path / "rank" / name / "ranking.html").read_text()
        assert page.count("To its best ceil(n / 3) of n candidates") == 2 and "If each indicator had pruned first" in page
    (over,) = [line for line in rows(tmp_path, "pruning.csv") if line["with_set"] == "False" and line["indicator"] == "LogME"]
    assert (over["pools"], float(over["blind_loss"])) == ("2", pytest.approx(2 / 3)) and "in a blind draw" in page
    assert f"LogME would have pruned the later winner in {over['lost']} of 2 targets" in text
    assert "sample: " in text and "again: " in text and "over the targets" in text
    with pytest.raises(InputError, match="neither rank.images nor rank.target"):
        run_study(tiny_params({**chosen, "rank.target": "sample"}))


def test_starting_workers_is_shown_on_a_terminal(ranked, terminal):
    ranked("checkpoints/unet-simple/epoch-001.json")
    shown = terminal()
    assert shown.index("rank: loading libraries") < shown.index("starting local workers") < shown.index("1/1")

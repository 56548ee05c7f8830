"""Command `study`: a small study run whole, what it leaves out, its results beside printed ones, and its params for DVC."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats

from medtransfer import study, tracking
from medtransfer.cli import read_assignments
from medtransfer.config import Params
from medtransfer.config.schema.study_file import Printed
from medtransfer.errors import InputError, StageError
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.stage import run_and_report
from medtransfer.hashing import digest
from medtransfer.records.tables import read_table
from medtransfer.studies.printed import Tables
from medtransfer.studies.results import write_results
from medtransfer.studies.stage import run
from medtransfer.studies.write import write_params
from medtransfer.working_folder import load, load_study

pytestmark = pytest.mark.long

# What makes a small study run in seconds: few generated images, one short epoch.
TINY: dict[str, Any] = {
    "samples": {"patients": 4, "lungs": 12, "retinas": 3, "pictures": 12},
    "pretrain": {"epochs": 1, "checkpoints": [1], "accelerator": "cpu"},
    "score": {"max_images": 6, "accelerator": "cpu"},
    "finetune": {"train_epochs": 1, "epoch_steps": 1, "epoch": 1, "accelerator": "cpu", "overlays": 0},
    "report": {"draws": 100},
}  # fmt: skip


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    line = [sys.executable, "-m", "medtransfer", "study", *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_part_that_is_refused_does_not_stop_the_others(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("wrong.yaml").write_text("finetune: {class_weights: [1.0, 2.0, 3.0, 4.0, 5.0]}")  # more than there are classes
    run_here = {"grid.workers": 1, **{f"{stage}.accelerator": "cpu" for stage in ("pretrain", "score", "finetune")}}
    chosen = load_study("hosseinzadeh-taher-small", [Path("wrong.yaml")], run_here)
    tried: list[list[str]] = []

    def run_part(params: Params) -> str:
        tried.append(params.study.targets)
        if len(tried) == 1:
            study.prepare(study.with_values(params, "prepare", target=params.study.targets[0]))
            return run_and_report(params)
        return "the others"

    monkeypatch.setattr("medtransfer.studies.stage.run_and_report", run_part)
    monkeypatch.setattr("medtransfer.studies.stage._prepare_sources", lambda _: None)
    with pytest.raises(
        StageError, match=r"1 of 2 parts failed; hosseinzadeh-taher-small/.*: expected . finetune.class_weights for"
    ):
        run(chosen)
    assert len(tried) == 2 and not Path(chosen.parts[0].params.pretrain.out).exists()


@pytest.mark.slow
def test_a_small_study_runs_to_its_table_and_is_reused(workplace: Path) -> None:
    """Two parts, one of which continues a pretraining on labels of chests; then nothing is left to do."""
    Path("tiny.yaml").write_text(yaml.safe_dump({**TINY, "study": {"seeds": [1]}}))
    words = ("hosseinzadeh-taher-small", "--params", "tiny.yaml", "--set", "grid.workers=1")
    done = command(workplace, *words)
    assert done.returncode == 0, done.stderr
    assert "hosseinzadeh-taher-small: 10 means. The tables: results/hosseinzadeh-taher-small/report/study.md" in done.stdout
    out = workplace / "results/hosseinzadeh-taher-small"
    table = read_table(out / "report/study.csv", "")
    named = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    starts = {(row["target"], row["origin"], row["epoch"], row["n"]) for row in named}
    chests = {(target, origin, "1", "1") for target in ("heart", "infection") for origin in ("chest", "supervised-chest")}
    both = {
        (target, *start, "1") for target in ("opacity", "heart", "infection") for start in (("random", "0"), ("supervised", "1"))
    }
    assert starts == chests | both and {row["metric"] for row in named} == {"dice", "auc"}
    assert all((out / "report" / part / "report.html").is_file() for part in ("labels", "masks"))
    report = read_table(out / "report/labels/initialisations.csv", "")
    assert {dict(zip(report.columns, row, strict=True))["target"] for row in report.rows} == {"opacity"}
    planned = command(workplace, *words, "--plan")
    assert "10 fine-tunings, of which 10 are finished and reused" in planned.stdout
    runs = len(tracking.read_runs("finetune"))
    again = run(load_study("hosseinzadeh-taher-small", [Path("tiny.yaml")], {"grid.workers": 1}))
    assert "hosseinzadeh-taher-small: 10 means" in again and len(tracking.read_runs("finetune")) == runs == 10


def missing(target: dict[str, Any]) -> str:
    """Write a study of a generated target and one that is not here, from a pretraining and published weights."""
    published = {"kind": "catalogue", "id": "moco-v2", "folder": "weights", "epoch": None, "pickle": True}
    absent = {**target, "reader": "kermany", "root": "data/raw/chest_xray"}
    Path("mine.yaml").write_text(yaml.safe_dump({
        "about": {"what": "Does it help?"}, "prepare": {"targets": {"absent": absent}},
        "pretrain": {"origins": {"moco-v2": published}},
        "study": {"targets": ["sample", "absent"], "origins": ["simple", "moco-v2"]},
    }))  # fmt: skip
    return "mine.yaml"


@pytest.fixture
def absent(workplace: Path, tiny_params: Callable[..., Params]) -> str:
    return missing(tiny_params().prepare.targets["sample"].model_dump(mode="json"))


def test_a_study_without_its_data_is_refused_before_anything_is_made(absent: str, workplace: Path) -> None:
    before = set(workplace.rglob("*"))
    with pytest.raises(InputError) as caught:
        run(load_study(absent))
    assert str(caught.value) == (
        "expected the data of mine.yaml, but 2 are missing: target absent (data/raw/chest_xray), weights moco-v2 "
        "(weights/moco-v2.pth); `medtransfer study mine.yaml --plan` says how they are laid out; put them in place, or run what is "
        "possible with --available"
    )
    assert set(workplace.rglob("*")) == before


def test_what_is_available_runs(absent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Params] = []
    monkeypatch.setattr("medtransfer.studies.stage.run_and_report", lambda params: asked.append(params) or "a report")
    text = run(load_study(absent), available=True)
    (params,) = asked
    assert (params.study.targets, params.study.origins) == (["sample"], ["simple"])
    assert set(params.prepare.targets) == {"sample"} and set(params.pretrain.origins) == {"simple"}
    assert "without the targets absent" in caplog.text and "without the origins moco-v2" in caplog.text
    assert text.startswith("mine.yaml\n\na report\n\nmine.yaml: 0 means; 20 cells are not finished. The tables: reports/study.md")


def test_a_study_of_which_nothing_is_here_is_refused(absent: str) -> None:
    with pytest.raises(InputError, match="expected data for a part of mine.yaml, but all are missing"):
        run(load_study(absent, overrides={"study.targets": ["absent"]}), available=True)


def test_results_are_beside_the_printed_ones(workplace: Path) -> None:
    """Welch's test by scipy, on PXS of table 2: 68.93 +- 1.45 in ten runs has another mean than .70 .71 .72."""
    Path("mine.yaml").write_text(yaml.safe_dump({
        "about": {"what": "Does it help?", "printed": {
            "paper": "hosseinzadeh-taher", "tables": ["table3"], "row": "{origin}", "column": "{target}", "scale": 100,
            "names": {"target": {"sample": "PXS"}, "origin": {"simple": "supervised"}},
        }},
        "study": {"modes": ["full"], "seeds": [1, 2, 3], "epochs": "last"},
    }))  # fmt: skip
    chosen = load_study("mine.yaml")
    for seed, value in zip((1, 2, 3), (0.70, 0.71, 0.72), strict=True):
        fields = {
            "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
            "data": "d", "protocol": Protocol.of(chosen.parts[0].params.finetune).key, "epoch": 10, "seed": seed, "primary": "dice",
        }  # fmt: skip
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    summary = write_results(chosen, workplace / "out")
    assert summary.startswith(
        "mine.yaml: 1 mean, 1 of them beside a printed one, of which 1 differ at 5 %; 3 cells are not finished."
    )
    table = read_table(workplace / "out/study.csv", "")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    p = stats.ttest_ind_from_stats(0.71, 0.01, 3, 0.6793, 0.0145, 10, equal_var=False).pvalue
    assert float(row["printed_mean"]) == pytest.approx(0.6793) and float(row["difference"]) == pytest.approx(0.0307)
    assert float(row["p_welch"]) == pytest.approx(p)
    text = (workplace / "out/study.md").read_text()
    assert "| unet simple, epoch 10 | 0.7100 ± 0.0100 | 3 | 0.6793 ± 0.0145 | +0.0307    |" in text


def test_the_best_of_an_encoder_is_beside_a_printed_best_one(workplace: Path) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({
        "about": {"what": "Is the best as good?", "printed": {
            "paper": "hosseinzadeh-taher", "tables": ["table3"], "row": "{encoder}", "column": "{target}", "scale": 100,
            "of": "best", "names": {"target": {"sample": "PXS"}, "encoder": {"unet": "supervised"}},
        }},
        "study": {"modes": ["full"], "seeds": [1, 2], "epochs": "last"},
    }))  # fmt: skip
    chosen = load_study("mine.yaml")
    for epoch, values in ((0, (0.5, 0.6)), (10, (0.70, 0.72))):
        for seed, value in zip((1, 2), values, strict=True):
            fields = {
                "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
                "data": "d", "protocol": Protocol.of(chosen.parts[0].params.finetune).key, "epoch": epoch, "seed": seed,
                "primary": "dice",
            }  # fmt: skip
            tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    write_results(chosen, workplace / "out")
    table = read_table(workplace / "out/study.csv", "")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["origin"], row["epoch"], row["printed_mean"]) for row in rows] == [
        ("simple", "10", ""), ("random", "0", ""), ("the best", "10", "0.6793"),
    ]  # fmt: skip
    assert "| unet the best, epoch 10 | 0.7100 ± 0.0141 | 2 | 0.6793 ± 0.0145 |" in (workplace / "out/study.md").read_text()


def test_parts_of_other_recipes_are_lines_of_their_own_and_parts_of_other_seeds_are_one(workplace: Path) -> None:
    own = {"study": {"modes": ["full"], "epochs": "last", "random": "none"}}
    parts = {"fast": {"study": {"seeds": [1, 2]}, "finetune": {"lr": 0.5, "out": "m2"}}, "slow": {"study": {"seeds": [1]}},
             "more": {"study": {"seeds": [2, 3]}}}  # fmt: skip
    Path("mine.yaml").write_text(yaml.safe_dump({"about": {"what": "Which recipe?"}, **own, "parts": [parts]}, sort_keys=False))
    chosen = load_study("mine.yaml")
    values = {"fast": {1: 0.1, 2: 0.3}, "slow": {1: 0.6}, "more": {2: 0.7, 3: 0.8}}
    for part in chosen.parts:
        for seed, value in values[part.name].items():
            fields = {
                "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
                "data": "d", "protocol": Protocol.of(part.params.finetune).key, "epoch": 10, "seed": seed, "primary": "dice",
            }  # fmt: skip
            tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    assert write_results(chosen, workplace / "out").startswith("mine.yaml: 2 means. ")
    table = read_table(workplace / "out/study.csv", "")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["part"], row["n"], round(float(row["mean"]), 9)) for row in rows] == [("slow, more", "3", 0.7), ("fast", "2", 0.2)]
    lines = (workplace / "out/study.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if "unet simple" in line] == [
        "unet simple, epoch 10 (slow, more)", "unet simple, epoch 10 (fast)",
    ]  # fmt: skip


@pytest.mark.parametrize("differing", ["pretraining", "data"])
def test_results_of_other_pretrainings_or_data_are_lines_of_their_own(differing: str, workplace: Path) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({
        "about": {"what": "Is it the same?"}, "study": {"modes": ["full"], "epochs": "last", "random": "none", "seeds": [1, 2]},
    }))  # fmt: skip
    chosen = load_study("mine.yaml")
    for seed, value in ((1, 0.1), (2, 0.7)):
        fields = {
            "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
            "data": "d", "protocol": Protocol.of(chosen.parts[0].params.finetune).key, "epoch": 10, "seed": seed, "primary": "dice",
        } | {differing: f"of seed {seed}"}  # fmt: skip
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    assert write_results(chosen, workplace / "out").startswith("mine.yaml: 2 means. ")


def test_folds_of_other_numbers_are_lines_of_their_own(workplace: Path) -> None:
    own = {"study": {"modes": ["full"], "epochs": "last", "random": "none", "seeds": [1]}}
    parts = {"two": {"study": {"folds": 2}}, "three": {"study": {"folds": 3}}}
    Path("mine.yaml").write_text(yaml.safe_dump({"about": {"what": "How many folds?"}, **own, "parts": [parts]}, sort_keys=False))
    chosen = load_study("mine.yaml")
    for folds, values in ((2, (0.1, 0.3)), (3, (0.6, 0.7, 0.8))):
        for fold, value in enumerate(values, start=1):
            fields = {
                "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
                "data": "d", "protocol": Protocol.of(chosen.parts[0].params.finetune).key, "epoch": 10, "seed": 1,
                "primary": "dice", "fold": fold, "folds": folds,
            }  # fmt: skip
            tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    write_results(chosen, workplace / "out")
    table = read_table(workplace / "out/study.csv", "")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["part"], row["n"], round(float(row["mean"]), 9)) for row in rows] == [("three", "3", 0.7), ("two", "2", 0.2)]


def test_random_weights_of_several_origins_and_those_that_others_continue_from_are_told_apart(workplace: Path) -> None:
    """Epoch 0 of weights that continue from trained ones is those, and no random initialisation."""
    Path("mine.yaml").write_text(yaml.safe_dump({
        "about": {"what": "Which start?", "printed": {
            "paper": "hosseinzadeh-taher", "tables": ["table3"], "row": "{origin}", "column": "{target}", "scale": 100,
            "names": {"target": {"sample": "PXS"}, "origin": {"random": "supervised"}},
        }},
        "pretrain": {"origins": {"later": {
            **load().pretrain.origins["continued"].model_dump(mode="json", by_alias=True), "from": "simple"}}},
        "study": {"modes": ["full"], "seeds": [1], "epochs": "last", "origins": ["simple", "advanced", "later"]},
    }))  # fmt: skip
    chosen = load_study("mine.yaml")
    parents = json.dumps([{"encoder": "unet", "origin": "simple", "epoch": 10, "source": "sample"}])
    trained = {"pretraining": "of later", "parents": parents, "chain": "simple>sample"}
    tracking.write_runs("pretrain", [tracking.RunRecord("unet-later", "p", trained, {})], "runs")
    for origin, value in (("simple", 0.3), ("advanced", 0.4), ("later", 0.7)):
        fields = {
            "source": "sample", "origin": origin, "encoder": "unet", "target": "sample", "mode": "full",
            "pretraining": f"of {origin}", "data": "d", "protocol": Protocol.of(chosen.parts[0].params.finetune).key, "epoch": 0,
            "seed": 1, "primary": "dice",
        }  # fmt: skip
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})], "runs")
    summary = write_results(chosen, workplace / "out")
    assert "3 means, 2 of them beside a printed one, of which none could be tested" in summary
    table = read_table(workplace / "out/study.csv", "")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["origin"] for row in rows] == ["later", "random of advanced", "random of simple"]
    lines = (workplace / "out/study.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if "| unet" in line] == [
        "unet later, epoch 0", "unet random of advanced", "unet random of simple",
    ]  # fmt: skip


def test_a_wrong_template_of_printed_tables_is_named() -> None:
    printed = Printed(paper="truong", tables=["table2"], row="{dataset}", column="{size}")
    with pytest.raises(InputError, match="templates of {target}, {encoder}, .*, but got '{dataset}'; correct it"):
        Tables(printed)
    with pytest.raises(InputError, match="expected printed tables of the paper 'nobody'"):
        Tables(printed.model_copy(update={"paper": "nobody"}))


def test_a_part_is_written_as_params_and_is_the_study(workplace: Path) -> None:
    said = write_params(load_study("truong-small/fused"), Path("params.yaml"), False)
    assert said == "wrote params.yaml\nNext: medtransfer init ., then dvc repro report"
    written, params = load(), load_study("truong-small/fused").parts[0].params
    assert written.study == params.study and written.finetune.lr == params.finetune.lr
    assert (written.finetune.target, written.finetune.encoder, written.finetune.origin) == ("opacity", "dvme", "three")
    held = yaml.safe_load(Path("params.yaml").read_text())
    assert set(held["prepare"]["targets"]) == {"opacity", "texture"} and set(held["pretrain"]["origins"]) == {"three"}
    with pytest.raises(InputError, match="expected no file at params.yaml, but it exists; replace it with --force"):
        write_params(load_study("hidy-small"), Path("params.yaml"), False)
    write_params(load_study("truong-small/fused"), Path("params.yaml"), True)
    with pytest.raises(
        InputError, match="expected one part of truong-small, .*; name one of truong-small/single, truong-small/fused"
    ):
        write_params(load_study("truong-small"), Path("other.yaml"), False)


def test_values_are_set_by_key() -> None:
    assert read_assignments(("grid.workers=4", "study.seeds=[1, 2]")) == {"grid.workers": 4, "study.seeds": [1, 2]}
    with pytest.raises(InputError, match="expected KEY=VALUE for --set, such as finetune.lr=0.01, but got 'seeds'"):
        read_assignments(("seeds",))

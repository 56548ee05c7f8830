"""The command line: what options do, and that every wrong input ends in one sentence, exit code 2 and nothing written."""

import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from medtransfer import __version__, study
from medtransfer.cli import cli, main
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.errors import InputError, StageError
from medtransfer.hashing import file_sha256
from medtransfer.records import INDEX_COLUMNS, Provenance, TargetInfo, checkpoint_path, series_folder, write_json
from medtransfer.training.checkpoints import save_checkpoint

ROOT = Path(__file__).parents[1]
ENCODER = {"width": 4, "depth": 3}
# Every path lies outside samples/, so that nothing that is missing can be made on the way.
SMALL: dict[str, Any] = {
    "prepare": {"targets": {
        "mine": {"reader": "acdc", "root": "raw", "size": [16, 16], "subset": True, "split": "official", "validation": 0.0,
                 "allow_duplicates": False, "options": {}}}},
    "pretrain": {"source_root": "photographs", "encoders": {"unet": {"build": "unet", **ENCODER}},
                 "size": 16, "epochs": 2, "checkpoints": [1]},
    "finetune": {"epoch": 1, "train_epochs": 1, "batch_size": 2, "accelerator": "cpu", "overlays": 0},
    "score": {"batch_size": 4, "accelerator": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a working folder with params, one prepared target of 4 + 2 pictures and the checkpoints of epochs 0 and 1."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "params.yaml").write_text(yaml.safe_dump(_merged(yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")), SMALL)))
    _write_target(folder / "data" / "prepared" / "sample")
    provenance = Provenance(
        encoder="unet", origin="simple", kind="supervised", source="photographs", source_classes=["a", "b"], seed=1,
        metrics={"source_accuracy": 0.5}, input={"size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "channels": "RGB"},
        pretraining="p1",
    )  # fmt: skip
    for epoch in (0, 1):
        torch.manual_seed(epoch + 1)
        save_checkpoint(series(folder), Classifier(build_encoder("unet", **ENCODER), 2), replace(provenance, epoch=epoch))
    return folder


def _merged(base: Any, patch: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return patch
    return {**base, **{key: _merged(base.get(key), value) for key, value in patch.items()}}


def _write_target(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (6, 16, 16, 1), dtype=np.uint8))
    np.save(folder / "masks.npy", rng.integers(0, 2, (6, 16, 16), dtype=np.uint8))
    lines = [(i, i, "train" if i < 4 else "test", f"p{i}", f"{i}.png", 0, 0, 0, 16, 16) for i in range(6)]
    pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
    TargetInfo(
        target="sample", reader="made", task="segmentation", citation="none", classes=["one"], channels=1,
        input=[16, 16], augmentation="rotate-flip",
        scaling="none", counts={"train": 4, "test": 2}, expected={}, subset=True, sources={}, settings={},
        arrays={name: file_sha256(folder / name) for name in ("images.npy", "masks.npy", "index.csv")},
    ).write(folder / "dataset.json")  # fmt: skip


def series(place: Path) -> Path:
    return series_folder(place / "checkpoints", "unet", "simple")


@pytest.fixture
def place(stock: Path, workplace: Path) -> Path:
    """Work in a copy of the stock."""
    shutil.copytree(stock, workplace, dirs_exist_ok=True)
    return workplace


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """Return the loggers back as they were."""
    names = ("medtransfer", "alembic", "mlflow", "lightning_fabric", "lightning.fabric")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs the command line in this process: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medtransfer", *words])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Params, tuple[Any, ...]]]:
    """Catch what the commands ask of the study, as (stage, params, further arguments)."""
    seen: list[tuple[str, Params, tuple[Any, ...]]] = []
    for name in ("samples", "prepare", "pretrain", "score", "finetune", "report", "study"):
        monkeypatch.setattr(study, name, lambda params, *more, stage=name: seen.append((stage, params, more)) or stage)
    return seen


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: medtransfer {command} [OPTIONS]") and "--params" in out and "--debug" in out


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_commands_are_listed(words: list[str], call: Call) -> None:
    code, out, err = call(*words)
    assert (code, err) == (0, "") and all(f"\n  {name} " in out for name in cli.commands)


def test_the_version_is_told(call: Call) -> None:
    assert call("--version") == (0, f"medtransfer, version {__version__}\n", "")


@pytest.mark.parametrize("command", ["samples", "prepare", "pretrain", "score", "finetune", "report"])
def test_a_command_asks_for_its_stage_with_the_files_values(command: str, call: Call, asked: list[Any], place: Path) -> None:
    assert call(command)[0] == 0
    ((stage, params, _),) = asked
    assert stage == command
    assert params.model_dump(mode="json") == yaml.safe_load((place / "params.yaml").read_text("utf-8"))


def test_the_demo_is_the_whole_study(call: Call, asked: list[Any], place: Path) -> None:
    assert call("demo") == (0, "study\n", "")
    assert [stage for stage, _, _ in asked] == ["study"]


@pytest.mark.parametrize(
    ("words", "section", "expected"),
    [
        (["pretrain", "--lr", "1e-4"], "pretrain", {"lr": 1e-4}),
        (["pretrain", "--weight_decay", "0.1", "--stop-on", "sample"], "pretrain", {"weight_decay": 0.1, "stop_on": "sample"}),
        (["pretrain", "--betas", "[0.8, 0.9]"], "pretrain", {"betas": (0.8, 0.9)}),
        (["pretrain", "--checkpoints", "[1, 2]"], "pretrain", {"checkpoints": [1, 2]}),
        (["pretrain", "--source_root=/a b/c", "--stop-on", "null"], "pretrain", {"source_root": "/a b/c", "stop_on": None}),
        (["score", "--level", "-3", "--max-images", "50", "--negative=paper"], "score",
         {"level": -3, "max_images": 50, "negative": "paper"}),
        (["score", "--margins", "[0, 1]"], "score", {"margins": [0.0, 1.0]}),
        (["finetune", "--train_epochs", "7", "--batch-size=3"], "finetune", {"train_epochs": 7, "batch_size": 3}),
        (["report", "--out", "elsewhere"], "report", {"out": "elsewhere"}),
        (["samples", "--patients", "5"], "samples", {"patients": 5}),
        (["prepare", "--target", "mine"], "prepare", {"target": "mine"}),
    ],
)  # fmt: skip
def test_options_override_the_file(
    words: list[str], section: str, expected: dict[str, Any], call: Call, asked: list[Any], place: Path
) -> None:
    code, _, err = call(*words)
    assert (code, err) == (0, "")
    found = getattr(asked[0][1], section)
    assert {key: getattr(found, key) for key in expected} == expected


def test_files_are_laid_over_in_order_and_options_over_all(call: Call, asked: list[Any], place: Path) -> None:
    (place / "one.yaml").write_text("score: {seed: 1, repeats: 2}")
    (place / "two.yaml").write_text("score: {seed: 2, margin: 0.25}")
    call("score", "--params", "one.yaml", "--params", "two.yaml", "--margin", "0.75")
    section = asked[0][1].score
    assert (section.seed, section.repeats, section.margin) == (2, 2, 0.75)


@pytest.mark.parametrize("command", ["prepare", "pretrain", "score", "finetune"])
def test_force_is_handed_on(command: str, call: Call, asked: list[Any], place: Path) -> None:
    call(command)
    call(command, "--force")
    assert [more[-1] for _, _, more in asked] == [False, True]


def wanted(asked: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(vars(one).values()) for one in asked[0][2][0]]


def test_finetune_takes_the_cell_of_the_file(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune")
    assert wanted(asked) == [("sample", "unet", "simple", 1, "full", 123124)]


def test_finetune_takes_lists(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune", "--seed", "7, 8", "--mode", "full,decoder", "--epoch", "0,10,1.0", "--encoder", "swin")
    assert wanted(asked) == [
        ("sample", "swin", "simple", epoch, mode, seed) for epoch in (0, 10, 1) for mode in ("full", "decoder") for seed in (7, 8)
    ]
    assert {type(one[3]) for one in wanted(asked)} == {int}  # as params.yaml would have it


def test_finetune_takes_the_study_and_what_is_named_instead(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune", "--study", "--seed", "3")
    assert wanted(asked) == [("sample", "unet", "simple", epoch, mode, 3) for epoch in (0, 1, 2) for mode in ("full", "decoder")]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def other_architecture(place: Path) -> None:
    """Let the record say that the weights of the U-Net are a ResNet50's."""
    for path in series(place).glob("*.json"):
        record = yaml.safe_load(path.read_text("utf-8"))
        arguments = {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32], "stochastic_depth": 0.0}
        write_json(path, {**record, "build": "resnet50", "arguments": arguments})


def swap_weights(place: Path) -> None:
    first, second = (checkpoint_path(series(place), epoch).with_suffix(".safetensors") for epoch in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


Spoiler = Callable[[Path], object]


def folders(*names: str) -> Spoiler:
    return lambda place: [(place / name).mkdir(parents=True) for name in names]


def text(name: str, content: str) -> Spoiler:
    return lambda place: (place / name).write_text(content)


def damaged(name: str) -> Spoiler:
    return lambda place: truncate(place / name)


def removed(name: str) -> Spoiler:
    return lambda place: shutil.rmtree(place / name) if (place / name).is_dir() else (place / name).unlink()


def nothing(place: Path) -> None:
    """Leave the folder as it is."""


E0, E1 = "checkpoints/unet-simple/epoch-000", "checkpoints/unet-simple/epoch-001"
SAMPLE = "data/prepared/sample"
IMPORTED = """pretrain: {origins: {imported: {kind: file, weights: none.pth, epoch: 300, source: imagenet, pickle: true,
  allow_partial: false, input: null}}}"""
BAD: dict[str, tuple[Spoiler, str, str]] = {
    "no params.yaml": (removed("params.yaml"), "score", r"the parameter file .*params\.yaml, .* --params"),
    "no such command": (nothing, "scrore", r"No such command 'scrore'.*`medtransfer --help`"),
    "no such option": (nothing, "score --sed 1", r"No such option.*--sed.*`medtransfer score --help`"),
    "an option without a value": (nothing, "score --seed", r"'--seed' requires an argument; see `medtransfer.*--help`"),
    "a word too many": (nothing, "score sample", r"unexpected extra argument.*sample"),
    "no such key": (text("more.yaml", "score: {sed: 1}"), "score --params more.yaml", r"score\.sed: is not a known key"),
    "no such section": (text("more.yaml", "scores: {}"), "score --params more.yaml", r"scores: is not a known key"),
    "a missing key": (text("params.yaml", "score: {seed: 1}"), "score", r"error\(s\) in params.yaml: .*score\.out: is missing"),
    "no such file of params": (nothing, "score --params none.yaml", r"the parameter file .*none\.yaml"),
    "broken params": (text("params.yaml", "score: [1, 2"), "score", r"expected YAML in params\.yaml"),
    "an unset variable": (text("more.yaml", "score: {out: '${NEVER_SET}/x'}"), "score --params more.yaml",
                          r"environment variable NEVER_SET, which more\.yaml names"),
    "no such target": (nothing, "score --target nowhere", r"score\.target names the target 'nowhere', known are mine, sample"),
    "no such target to prepare": (nothing, "prepare --target nowhere", r"prepare\.target names the target 'nowhere'"),
    "no such target among several": (nothing, "finetune --target sample,nowhere", r"the target 'nowhere'"),
    "no such encoder": (nothing, "pretrain --encoder vgg", r"pretrain\.encoder names the encoder 'vgg'"),
    "no such origin": (nothing, "finetune --origin best", r"finetune\.origin names the origin 'best'"),
    "no such mode": (nothing, "finetune --mode full,half", r"finetune\.mode names the mode 'half', known are decoder, full"),
    "a negative seed": (nothing, "finetune --seed -1", r"finetune\.seed: .* greater than or equal to 0 \(got -1\)"),
    "a negative seed in a list": (nothing, "finetune --seed 1,2,-3", r"finetune\.seed: .* \(got -3\)"),
    "two faults": (nothing, "finetune --seed x --mode y", r"2 error\(s\).*finetune\.seed.*finetune\.mode"),
    "no number in a list": (nothing, "finetune --epoch 0,ten", r"finetune\.epoch: .*valid integer.*\(got 'ten'\)"),
    "an empty entry in a list": (nothing, "finetune --epoch 0,", r"finetune\.epoch: .*\(got None\)"),
    "words for numbers": (nothing, "score --margins '[a, 1]'", r"score\.margins\.0: .*valid number.*\(got 'a'\)"),
    "one number for a list": (nothing, "score --margins 0.5", r"score\.margins: .*valid list.*\(got 0\.5\)"),
    "broken YAML in an option": (nothing, "score --margins [0.1,", r"a YAML value for --margins, but got '\[0\.1,'"),
    "brackets around a list of cells": (nothing, "finetune --seed '[1,2]'", r"a YAML value for --seed, but got '\[1'"),
    "an impossible date": (nothing, "score --seed 2024-99-99", r"a YAML value for --seed"),
    "no raw folder": (nothing, "prepare --target mine", r"raw.*does not exist"),
    "an empty raw folder": (folders("raw"), "prepare --target mine", r"raw/training"),
    "another layout": (folders("raw/train/images"), "prepare --target mine", r"raw/training"),
    "no such reader": (text("more.yaml", "prepare: {targets: {mine: {reader: dicom}}}"),
                       "prepare --target mine --params more.yaml", r"reader.*acdc.*'dicom'"),
    "no source": (nothing, "pretrain", r"class folders in photographs/train"),
    "a source without validation": (folders("photographs/train/a"), "pretrain", r"class folders in photographs/val"),
    "a class without pictures": (folders("photographs/train/a", "photographs/val/a"), "pretrain", r"pictures in .*/train/a"),
    "a batch that does not divide": (nothing, "pretrain --micro-batch 5", r"batch_size that pretrain\.micro_batch"),
    "a checkpoint after the end": (nothing, "pretrain --checkpoints '[1, 9]'", r"checkpoints \[9\] come after the last of 2"),
    "no weights to import": (
        text("imported.yaml", IMPORTED),
        "pretrain --params imported.yaml --origin imported",
        r"weights file.*none\.pth",
    ),
    "no such kind of origin": (text("more.yaml", "pretrain: {origins: {simple: {kind: magic}}}"), "pretrain --params more.yaml",
                               r"pretrain\.origins\.simple: has the kind 'magic', known are 'supervised', 'file'"),
    "stopping on a target that is not there": (nothing, "pretrain --stop-on mine", r"prepared/mine/dataset\.json.*prepare"),
    "a target that was not prepared": (nothing, "score --target mine", r"prepared/mine/dataset\.json.*`medtransfer prepare"),
    "a target that was not prepared, to fine-tune": (nothing, "finetune --target sample,mine", r"prepared/mine/dataset\.json"),
    "a broken record of a target": (damaged(f"{SAMPLE}/dataset.json"), "score", r"JSON record in .*dataset\.json"),
    "a target without its index": (removed(f"{SAMPLE}/index.csv"), "score", r"a table in .*index\.csv"),
    "a target without its images": (removed(f"{SAMPLE}/images.npy"), "score", r"an array in .*images\.npy"),
    "a truncated mask array": (damaged(f"{SAMPLE}/masks.npy"), "finetune", r"an array in .*masks\.npy"),
    "no such split": (nothing, "score --split validation", r"the split 'validation' in .*, but it holds test, train"),
    "no validation to select by": (nothing, "finetune --select validation", r"validation samples in .*`validation` above 0"),
    "no such distance": (nothing, "score --distance hamming", r"score\.distance out of .*cosine.*'hamming'"),
    "no such level": (nothing, "score --level -9", r"score\.level from -1 to -\d for unet, but got -9"),
    "no checkpoints": (removed("checkpoints"), "score", r"checkpoint in checkpoints/unet-simple, .*medtransfer pretrain"),
    "no checkpoint of that epoch": (nothing, "finetune --epoch 7", r"a checkpoint of epoch 7 in .*medtransfer pretrain"),
    "no checkpoint of one of the epochs": (nothing, "finetune --epoch 0,1,2", r"a checkpoint of epoch 2 in "),
    "weights of another architecture, to score": (other_architecture, "score", r"epoch-000\.json to describe the encoder.*levels"),
    "weights of another architecture, to fine-tune": (
        other_architecture,
        "finetune",
        r"epoch-001\.json to describe the encoder.*levels",
    ),
    "truncated weights, to score": (damaged(f"{E0}.safetensors"), "score", r"weights in .*epoch-000\.safetensors"),
    "truncated weights, to fine-tune": (damaged(f"{E1}.safetensors"), "finetune", r"weights in .*epoch-001\.safetensors"),
    "weights of another checkpoint": (swap_weights, "finetune", r"the weights that .*epoch-001\.json describes"),
    "no weights beside the record": (removed(f"{E1}.safetensors"), "finetune", r"weights in .*epoch-001\.safetensors"),
    "a broken record of a checkpoint": (damaged(f"{E1}.json"), "finetune", r"JSON record in .*epoch-001\.json"),
    "nothing to report": (nothing, "report", r"finished fine-tunings in the tracking store.*medtransfer finetune"),
}  # fmt: skip


def listing(place: Path) -> dict[str, bytes | None]:
    """Return every file and folder with its content, the tracking store aside."""
    found = sorted(path for path in place.rglob("*") if not path.name.startswith("mlflow.db"))
    return {str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in found}


def is_one_sentence(err: str) -> bool:
    return err.startswith("medtransfer: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, place: Path, call: Call) -> None:
    spoil, words, said = BAD[case]
    spoil(place)
    before = listing(place)
    code, out, err = call(*shlex.split(words))
    assert (code, out) == (2, ""), err
    assert is_one_sentence(err), err
    assert re.search(said, err), err
    assert listing(place) == before


def test_a_fault_shows_before_any_sample_is_made(workplace: Path, call: Call) -> None:
    """With the project's own params everything that is missing could be made, but not this epoch."""
    shutil.copy(ROOT / "params.yaml", workplace)
    before = listing(workplace)
    code, _, err = call("finetune", "--epoch", "0,77")
    assert code == 2 and is_one_sentence(err) and "a checkpoint of epoch 77" in err
    assert listing(workplace) == before


def test_a_store_that_does_not_answer_is_bad_input(place: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in ("finetune", "report"):
        code, out, err = call(command)
        assert (code, out) == (2, "") and is_one_sentence(err) and "expected a tracking store at http://127.0.0.1:9" in err


def test_after_the_fault_is_mended_the_same_command_runs(place: Path, call: Call) -> None:
    weights = place / f"{E1}.safetensors"
    content = weights.read_bytes()
    truncate(weights)
    assert call("finetune")[0] == 2
    weights.write_bytes(content)
    assert call("finetune")[0] == 0
    assert (place / "models" / "sample" / "unet-simple" / "e001-full-s123124" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (InputError("two\nlines"), 2, "medtransfer: two lines\n"),
        (StageError("it broke"), 1, "medtransfer: it broke\n"),
        (ZeroDivisionError("by\nzero"), 1, "medtransfer: ZeroDivisionError: by zero; --debug shows the traceback\n"),
        (KeyboardInterrupt(), 130, "medtransfer: interrupted; what is finished is kept: run the same command again to resume\n"),
    ],
)
def test_faults_have_their_exit_codes(
    fault: BaseException, code: int, said: str, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(study, "report", fail)
    found, out, err = call("report")
    assert (found, out, err.lstrip("\n")) == (code, "", said)
    if isinstance(fault, Exception):
        with pytest.raises(type(fault)):
            call("report", "--debug")


@pytest.mark.parametrize(
    ("words", "said"),
    [(["score", "--target", "nowhere"], "score.target names the target 'nowhere'"), (["finetune", "--nonsense"], "No such option")],
)
def test_the_module_can_be_run_and_says_the_same(words: list[str], said: str, stock: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "medtransfer", *words], cwd=stock, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "") and is_one_sentence(done.stderr) and said in done.stderr

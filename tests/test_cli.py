"""The command line: what options do, and that every wrong input ends in one sentence, exit code 2 and nothing written."""

import errno
import logging
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from medtransfer import __version__, next_steps, study
from medtransfer.cli import cli, main
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.errors import InputError, StageError
from medtransfer.hashing import file_sha256
from medtransfer.pretrain.origins.package import PACKAGES
from medtransfer.records import INDEX_COLUMNS, Provenance, ScoreIndex, TargetInfo, series_folder
from medtransfer.training.checkpoints import save_checkpoint

pytestmark = pytest.mark.long

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
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Params, tuple[Any, ...]]]:
    """Catch what the commands ask of the study, as (stage, params, further arguments); each is told a folder of its name."""
    seen: list[tuple[str, Params, tuple[Any, ...]]] = []
    ScoreIndex(epochs=[0], indicators=[]).write(tmp_path / "score" / "scores.json")
    for name in ("samples", "prepare", "pretrain", "score", "finetune", "report", "search", "study"):
        monkeypatch.setattr(
            study, name, lambda params, *more, stage=name, **named: seen.append((stage, params, more)) or tmp_path / stage
        )
    return seen


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: medtransfer {command} [OPTIONS]")
    if command != "evidence":  # whose commands have options
        assert "--debug" in out and ("--params" in out) == (
            command not in {"indicators", "init", "catalogue", "pack"}
        )  # which read none


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_commands_are_listed(words: list[str], call: Call) -> None:
    code, out, err = call(*words)
    assert (code, err) == (0, "") and all(f"\n  {name} " in out for name in cli.commands)


def test_the_list_of_commands_has_whole_sentences_in_the_order_of_the_workflow(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = call("-h")
    listed = [line.split(maxsplit=1) for line in out.split("Commands:\n")[1].splitlines()]
    order = ["samples", "prepare", "pretrain", "score", "finetune", "grid", "report", "search", "replay", "demo"]
    assert [name for name, _ in listed if name in order] == order
    assert {name for name, _ in listed} == set(cli.commands)
    assert all(text[0].isupper() and text.endswith(".") and not text.endswith("...") for _, text in listed)


def test_version_option(call: Call) -> None:
    assert call("--version") == (0, f"medtransfer, version {__version__}\n", "")


@pytest.mark.parametrize("command", ["prepare", "pretrain"])
def test_a_folder_of_its_own_is_said_to_be_unknown_to_others(command: str, call: Call, asked: list[Any], place: Path) -> None:
    usual = yaml.safe_load((place / "params.yaml").read_text("utf-8"))[command]["out"]
    _, out, _ = call(command, "--out", "my own")
    said = f"other commands look in {usual}: to use my own, give them a file with `{{{command}: {{out: my own}}}}` by --params"
    assert out.splitlines()[0] == said
    long = "a long name of a folder " * 5
    assert f"{{out: {long.strip()}}}}}` by --params" in call(command, "--out", long.strip())[1]
    for same in (usual, f"./{usual}/", str(Path(usual).resolve())):
        assert "other commands look in" not in call(command, "--out", same)[1]
    assert "other commands look in" not in call(command)[1]


def test_one_of_the_processes_says_where_other_commands_look(call: Call, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medtransfer.cli.is_main_process", lambda: False)
    assert "other commands look in" not in call("pretrain", "--out", "my own")[1]


@pytest.mark.parametrize("command", ["samples", "prepare", "pretrain", "score", "finetune", "report"])
def test_a_command_asks_for_its_stage_with_the_files_values(command: str, call: Call, asked: list[Any], place: Path) -> None:
    assert call(command)[0] == 0
    ((stage, params, _),) = asked
    assert stage == command
    assert params.model_dump(mode="json") == yaml.safe_load((place / "params.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("words", "section", "expected"),
    [
        (["pretrain", "--lr", "1e-4", "--betas", "[0.8, 0.9]"], "pretrain", {"lr": 1e-4, "betas": (0.8, 0.9)}),
        (["pretrain", "--weight_decay", "0.1", "--stop-on", "sample"], "pretrain", {"weight_decay": 0.1, "stop_on": "sample"}),
        (["pretrain", "--source_root=/a b/c", "--stop-on", "null"], "pretrain", {"source_root": "/a b/c", "stop_on": None}),
        (["score", "--level", "-3", "--max-images", "50", "--negative=paper"], "score",
         {"level": -3, "max_images": 50, "negative": "paper"}),
        (["finetune", "--train_epochs", "7", "--batch-size=3"], "finetune", {"train_epochs": 7, "batch_size": 3}),
        (["finetune", "--class-weights", "1,2.5", "--augmentation", "[{HorizontalFlip: {p: 0.5}}]"], "finetune",
         {"class_weights": [1, 2.5], "augmentation": [{"HorizontalFlip": {"p": 0.5}}]}),
        (["finetune", "--class-weights", "null", "--augmentation", "[]"], "finetune", {"class_weights": None, "augmentation": []}),
        (["finetune", "--class-weights", "~"], "finetune", {"class_weights": None}),
        (["pretrain", "--checkpoints", "1", "--betas", "0.8,0.9"], "pretrain", {"checkpoints": [1], "betas": (0.8, 0.9)}),
        (["score", "--indicators", "robustness, logme", "--margins=[0, 0.5]"], "score",
         {"indicators": ["robustness", "logme"], "margins": [0, 0.5]}),
        (["search", "--levels", "-1", "--poolings", "frozen,never", "--distances", "[l2]"], "search",
         {"levels": [-1], "poolings": ["frozen", "never"], "distances": ["l2"]}),
        (["report", "--out", "elsewhere"], "report", {"out": "elsewhere"}),
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
    return [tuple(vars(one).values())[:6] for one in asked[0][2][0]]


def test_finetune_takes_the_cell_of_the_file(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune")
    assert wanted(asked) == [("sample", "unet", "simple", 1, "full", 123124)]


def test_finetune_takes_lists(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune", "--seed", "[7, 8]", "--mode", "full,decoder", "--epoch", "0,10,1.0", "--encoder", "swin")
    assert wanted(asked) == [
        ("sample", "swin", "simple", epoch, mode, seed) for epoch in (0, 10, 1) for mode in ("full", "decoder") for seed in (7, 8)
    ]
    assert {type(one[3]) for one in wanted(asked)} == {int}  # as params.yaml would have it


def test_cka_takes_encoders_one_after_the_other_and_as_a_list(call: Call, place: Path) -> None:
    first, second = (f"{series(Path())}/epoch-00{epoch}.json" for epoch in (0, 1))
    code, out, _ = call("cka", first, second, "--target", "sample", "--out", "one")
    assert code == 0 and "4 images of the split train of sample" in out and "Rows: unet-simple e000 (random)." in out
    assert call("cka", second, "--candidates", first, "--target", "sample", "--out", "two")[:2] == (0, out.replace("one/", "two/"))
    assert (place / "one/cka.csv").read_bytes() == (place / "two/cka.csv").read_bytes()


def test_cka_of_one_encoder_is_refused(call: Call, place: Path) -> None:
    code, out, err = call("cka", f"{series(Path())}/epoch-001.json", "--target", "sample")
    assert (code, out) == (2, "") and err.startswith("medtransfer: expected at least two encoders") and err.count("\n") == 1
    assert not (place / "cka").exists()


def test_prepare_names_its_preview_and_the_next_commands(
    call: Call, asked: list[Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "one.yaml").write_text("prepare: {target: sample}")
    assert call("prepare", "--params", "one.yaml")[1].splitlines() == [
        f"look at {Path('data/prepared/sample/preview.png')}",
        "next: `medtransfer rank --target sample --params one.yaml` or `medtransfer finetune --target sample --params one.yaml`",
    ]
    shutil.move(place / "checkpoints", place / "elsewhere")
    assert PACKAGES["tf_efficientnet_lite0"].module == next_steps.RANKED_MODULE
    for found, proposed in ((object(), "rank --target sample --params one.yaml` or `medtransfer finetune"), (None, "finetune")):
        monkeypatch.setattr(next_steps, "find_spec", {next_steps.RANKED_MODULE: found}.get)
        last = call("prepare", "--params", "one.yaml")[1].splitlines()[-1]
        assert last == f"next: `medtransfer {proposed} --target sample --params one.yaml`"
    (place / "data/prepared/sample/masks.npy").unlink()
    assert "finetune" not in call("prepare", "--params", "one.yaml")[1]


@pytest.mark.parametrize("seeds", ["3", "3,4,5,6"])
def test_finetune_names_the_models_for_predict(seeds: str, call: Call, asked: list[Any], place: Path) -> None:
    for seed in seeds.split(","):
        (place / f"models/sample/unet-simple/e001-full-s{seed}").mkdir(parents=True)
        (place / f"models/sample/unet-simple/e001-full-s{seed}/model.json").touch()
    *first, last = call("finetune", "--seed", seeds)[1].splitlines()
    assert last.startswith("next: `medtransfer predict --model models/sample/unet-simple/e001-full-s3 --images FOLDER`")
    assert first == (["the 4 models are in models/<target>/<encoder>-<origin>/e<epoch>-<mode>-s<seed>"] if "," in seeds else [])


def test_the_folders_of_models_on_portions_are_named(call: Call, asked: list[Any], place: Path) -> None:
    for size, fold in product(("", "-n2"), (1, 2)):
        (place / f"models/sample/unet-simple/e001-full-s3{size}-f{fold}of2").mkdir(parents=True)
        (place / f"models/sample/unet-simple/e001-full-s3{size}-f{fold}of2/model.json").touch()
    first, _ = call("finetune", "--seed", "3", "--size", "2,null", "--folds", "2")[1].splitlines()
    pattern = "models/<target>/<encoder>-<origin>/e<epoch>-<mode>-s<seed>[-n<size>][-f<fold>of<folds>]"
    assert first == f"the 4 models are in {pattern}"


def test_finetune_takes_the_study_and_what_is_named_instead(call: Call, asked: list[Any], place: Path) -> None:
    call("finetune", "--study", "--seed", "3")
    assert wanted(asked) == [("sample", "unet", "simple", epoch, mode, 3) for epoch in (0, 1, 2) for mode in ("full", "decoder")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--size 20,5%,null", [(20, None, None), (0.05, None, None), (None, None, None)]),
        ("--size 100% --folds 2", [(None, 1, 2), (None, 2, 2)]),
        ("--folds 3 --fold 3,1", [(None, 3, 3), (None, 1, 3)]),
        ("--study --epoch 0 --mode full --seed 3 --size 20 --folds 2", [(20, 1, 2), (20, 2, 2)]),
    ],
)
def test_finetune_takes_sizes_and_folds(words: str, expected: list[Any], call: Call, asked: list[Any], place: Path) -> None:
    call("finetune", *words.split())
    assert [(cell.size, cell.fold, cell.folds) for cell in asked[0][2][0]] == expected


def test_prepare_takes_several_targets(call: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    monkeypatch.setattr(study, "prepare", lambda params, force, **_: prepared.append(params.prepare.target))
    code, out, _ = call("prepare", "--target", "sample,sample-lungs")
    assert (code, prepared) == (0, ["sample", "sample-lungs"])
    assert [f"data/prepared/{name}/preview.png" in out for name in prepared] == [True, True]


# Words of the command and the sentence; tests/malformed damages files in every way.
BAD: dict[str, tuple[str, str]] = {
    "no such command": ("scrore", r"No such command 'scrore'.*`medtransfer --help`"),
    "an option without a value": ("report --out", r"Option '--out' requires an argument; see `medtransfer report --help`"),
    "no such option": ("score --sed 1", r"No such option.*--sed.*`medtransfer score --help`"),
    "an option of others": ("race --lr 0.1", r"No such option '?--lr'?; it is an option of pretrain and finetune, .*"),
    "an option of another section": (
        "race --train-epochs 3", r"an option of finetune and guard, whose key .* is finetune\.train_epochs or guard\.train_epochs;",
    ),
    "no such target among several to prepare": ("prepare --target mine,nowhere", r"the target 'nowhere'"),
    "several targets to define": ("prepare --target a,b --root raw", r"one --target beside --root, but got a, b"),
    "no such target among several": ("finetune --target sample,nowhere", r"the target 'nowhere'"),
    "no such decoder": ("finetune --decoder nope", r"finetune\.decoder names the decoder 'nope', known are .*unet"),
    "no such indicator": ("score --indicators '[logme, nope]'", r"score\.indicators names the indicator 'nope', known are .*logme"),
    "two faults": ("finetune --seed x --mode y", r": 2 errors in the command line: finetune\.seed.*finetune\.mode"),
    "an empty entry in a list": ("finetune --epoch 0,", r"one value, `A,B` or `\[A, B\]` for --epoch, but got '0,'"),
    "a map for a list": ("score --margins '{a: 1}'", r"one value, `A,B` or `\[A, B\]` for --margins, but got '{a: 1}'"),
    "half a list": ("search --levels '[-1'", r"one value, `A,B` or `\[A, B\]` for --levels, but got '\[-1'"),
    "a list in a list": ("score --indicators '[logme, [robustness]]'", r"one value, `A,B` or `\[A, B\]` for --indicators"),
    "a fold of none": ("finetune --fold 2", r"fold must be from 1 to folds, but they are 2 and null"),
    "a list of no cells": ("finetune --seed '[]'", r"for --seed, but got an empty list"),
    "no raw folder": ("prepare --target mine", r"raw.*does not exist"),
    "a batch that does not divide": ("pretrain --micro-batch 5", r"batch_size that pretrain\.micro_batch"),
    "no such indicator to stop by": ("pretrain --stop-by x", r"pretrain\.stop_by names the indicator 'x', known are .*logme"),
    "no such rule to stop by": ("pretrain --stop-rule x", r"pretrain\.stop_rule out of first-drop, keep-stop, .*, but got 'x'"),
    "no such distance": ("search --distances '[l2, x]'", r"search\.distances names the distance 'x', known are cosine, "),
    "stopping on a target that is not there": ("pretrain --stop-on mine", r"prepared/mine/dataset\.json.*prepare"),
    "a target that was not prepared": ("finetune --target sample,mine", r"prepared/mine/dataset\.json.*medtransfer prepare"),
    "no checkpoint of one of the epochs": ("finetune --epoch 0,1,2", r"a checkpoint of epoch 2 in .*medtransfer pretrain"),
    "nothing to report": ("report", r"finished fine-tunings in the tracking store.*medtransfer finetune"),
}  # fmt: skip


def listing(place: Path) -> dict[str, bytes | None]:
    """Return every file and folder with its content, the tracking store aside."""
    found = sorted(path for path in place.rglob("*") if not path.name.startswith("mlflow.db"))
    return {str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in found}


def is_one_sentence(err: str) -> bool:
    return err.startswith("medtransfer: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, place: Path, call: Call) -> None:
    words, said = BAD[case]
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetune --epoch 7", "a checkpoint of epoch 7"),
        ("finetune --target mine", "prepared/mine"),
        ("score --origin advanced", "a checkpoint of epoch 0"),
        ("pretrain --params file.yaml --origin file", "the weights file none.safetensors"),
        ("pretrain --params pickle.yaml --origin file", "pickle: true in its origin"),
        ("pretrain --params broken.yaml --origin file", "broken.safetensors, but they cannot be read"),
    ],
)
def test_bad_input_is_refused_before_heavy_libraries_are_loaded(words: str, said: str, place: Path) -> None:
    origin = {"kind": "file", "epoch": 3, "source": "s", "pickle": False, "allow_partial": False, "prefix": None, "input": None}
    for name, weights in (("file", "none.safetensors"), ("pickle", "w.pth"), ("broken", "broken.safetensors")):
        (place / f"{name}.yaml").write_text(yaml.safe_dump({"pretrain": {"origins": {"file": {**origin, "weights": weights}}}}))
        (place / weights).write_bytes(b"x") if name != "file" else None
    code = (
        "import sys, medtransfer.cli as cli\n"
        "try: cli.main()\n"
        "finally: print(sorted({'torch', 'mlflow', 'pandas', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *shlex.split(words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
    assert is_one_sentence(done.stderr) and said in done.stderr


@pytest.mark.parametrize("words", ["finetune --decoder nope", "score --distance nope", "demo --params wrong.yaml"])
def test_a_wrong_name_is_refused_before_samples_are_made(words: str, workplace: Path, call: Call) -> None:
    shutil.copy(ROOT / "params.yaml", workplace)
    (workplace / "wrong.yaml").write_text("score: {indicators: [nope]}")
    before = listing(workplace)
    code, _, err = call(*shlex.split(words))
    assert code == 2 and is_one_sentence(err) and "'nope', known are" in err and listing(workplace) == before


def test_a_store_that_does_not_answer_is_bad_input(place: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in ("finetune", "report"):
        code, out, err = call(command)
        assert (code, out) == (2, "") and is_one_sentence(err) and "expected a tracking store at http://127.0.0.1:9" in err


def test_after_the_fault_is_mended_the_same_command_runs(place: Path, call: Call) -> None:
    weights = place / "checkpoints/unet-simple/epoch-001.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    assert call("finetune")[0] == 2
    weights.write_bytes(content)
    assert call("finetune")[0] == 0
    assert (place / "models" / "sample" / "unet-simple" / "e001-full-s123124" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (InputError("two\nlines"), 2, "medtransfer: two lines\n"),
        (StageError("it broke"), 1, "medtransfer: it broke\n"),
        (
            PermissionError(errno.EPERM, "Operation not permitted", "rank/logs"),
            2,
            "medtransfer: expected access to "
            "rank/logs, but the system does not allow it (Operation not permitted); correct its permissions, or name another "
            "path\n",
        ),
        (ZeroDivisionError("by\nzero"), 1, "medtransfer: ZeroDivisionError: by zero; --debug shows the traceback\n"),
        (KeyboardInterrupt(), 130, "medtransfer: interrupted; what is finished is kept: run the same command again to resume\n"),
    ],
)
def test_faults_have_their_exit_codes(
    fault: BaseException, code: int, said: str, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(study, "report", fail)
    found, out, err = call("report")
    assert (found, out, err.lstrip("\n")) == (code, "", said)
    if isinstance(fault, Exception):
        with pytest.raises(type(fault)):
            call("report", "--debug")


def test_a_removed_working_folder_is_named(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (removed := tmp_path / "removed").mkdir()
    monkeypatch.chdir(removed)
    removed.rmdir()
    sentence = "expected a working folder, but this one was removed; change to one that exists, and run the same command there"
    assert call("report") == (2, "", f"medtransfer: {sentence}\n")


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["medtransfer", "score"]
from medtransfer.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("module", "said"),
    [("medtransfer.cli", False), ("click", False), ("pydantic", False), ("medtransfer.score.stage", True)],
)
def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(module: str, said: bool, workplace: Path) -> None:
    inputs = {"samples": {"patients": 4, "lungs": 5, "retinas": 3, "pictures": 6}, "pretrain": {"epochs": 1, "checkpoints": [1]}}
    (workplace / "params.yaml").write_text(yaml.safe_dump(inputs))  # what the command makes before it imports its stage
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module)], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, "medtransfer: interrupted; " in done.stderr) == (130, said)
    assert "Traceback" not in done.stderr

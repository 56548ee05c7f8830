"""Every stage is killed at random moments and run again: what it leaves is what an undisturbed run leaves, bit for bit."""

import hashlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.grid import local

pytestmark = pytest.mark.slow
SOURCES = Path(__file__).parents[2] / "src"
SCRIPT = Path(__file__).with_name("killed.py")
RELEASED = Path(__file__).parents[1] / "papers" / "hidy2024" / "conftest.py"  # makes files like the paper's
PRELOADED = [*local.PRELOADED, "optuna", "medtransfer.cli", "medtransfer.study", "medtransfer.prepare.samples.heart", *(
    f"medtransfer.{room}.stage" for room in ("predict", "search", "report", "papers.hidy2024")
)]  # fmt: skip
VOLATILE = {"seconds", "git_revision"}
KILLS: dict[str, int] = {}  # delivered, by stage
WANTED_KILLS = 20


@dataclass(frozen=True)
class Stage:
    """A command, what it finds in its folder, and what it makes.

    Attributes:
        words: of the command line.
        inputs: folders of the finished study that it finds.
        results: folders that it makes.
        stored: whether it finds the finished study's store, too.
        loose: ends of names of results that name runs, which have other ids each time.
    """

    words: tuple[str, ...]
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    stored: bool = False
    loose: tuple[str, ...] = ()


IMPORTED = {"kind": "file", "weights": "weights.safetensors", "epoch": 300, "source": "imagenet", "pickle": False,
            "allow_partial": False, "prefix": None, "input": None}  # fmt: skip
STAGES = {
    "samples": Stage(("samples", "--out", "made"), (), ("made",)),
    "prepare": Stage(("prepare",), (), ("data",)),
    "pretrain": Stage(("pretrain",), (), ("checkpoints",)),
    "pretext": Stage(("pretrain", "--origin", "conrec", "--epochs", "2", "--checkpoints", "1"), (), ("checkpoints",)),
    "import": Stage(("pretrain", "--origin", "imported"), ("weights.safetensors",), ("checkpoints",)),
    "score": Stage(("score",), ("data", "checkpoints"), ("scores",)),
    "finetune": Stage(("finetune", "--epoch", "3", "--mode", "decoder,full"), ("data", "checkpoints"), ("models",)),
    "predict": Stage(
        ("predict", "--model", "models/sample/unet-simple/e003-full-s7", "--images", "testing", "--masks", "testing",
         "--mask-suffix", "_gt", "--probabilities", "true"),
        ("checkpoints", "models", "testing"), ("predictions",),
    ),
    "search": Stage(("search",), (), ("search",), True, (".png",)),
    "report": Stage(("report",), ("scores", "models", "data"), ("reports",), False, (".html", ".md", "finished.json")),
    "replay": Stage(
        ("replay", "--downstream", "released/downstream_scores.csv", "--robustness", "released/robustness_scores.csv"),
        ("released",), ("replay",), False, (".html", ".md", "finished.json"),
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """How one run of a command ended."""

    killed: bool
    code: int | None
    seconds: float
    said: str = field(repr=False, default="")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_params: Callable[..., Params], empty_store: Path, sample_data: Path
) -> Iterator[Path]:  # fmt: skip
    """Make a whole tiny study, whose folders the stages find."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = {"finetune.train_epochs": 3, "finetune.overlays": 1, "search.levels": [-1, -2], "report.draws": 100,
                 "report.least": 0, "pretrain.origins.imported": IMPORTED, "study.seeds": [7, 8],
                 "search.margins": {"low": 0.0, "high": 1.0, "step": 0.25}}  # fmt: skip
    params = tiny_params(overrides)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    shutil.copy(empty_store, folder / "empty.db")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        study.study(params)
        shutil.copytree(sample_data / "heart/testing", folder / "testing")
        (folder / "released").mkdir()
        made = runpy.run_path(str(RELEASED))["Results"]
        made(("unet",), lengths=(0, 1), seeds=(1, 2), margins=(0.5,), levels=2).write(folder / "released")
        _write_weights(folder / "weights.safetensors", folder / "checkpoints/unet-simple/epoch-003.safetensors")
        yield folder


def _write_weights(path: Path, checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint)
    save_file({name.removeprefix("encoder."): value for name, value in tensors.items() if name.startswith("encoder.")}, path)


def lay_out(stage: Stage, finished: Path, folder: Path) -> Path:
    """Return a folder with what the stage finds and a store without what it makes."""
    folder.mkdir()
    shutil.copy(finished / "params.yaml", folder)
    for name in stage.inputs:
        source = finished / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder)
    shutil.copy(finished / ("mlflow.db" if stage.stored else "empty.db"), folder / "mlflow.db")
    return folder


def run(stage: Stage, folder: Path, seconds: float | None = None, call: int | None = None) -> Outcome:
    """Run the command; kill it after some seconds, or let it kill itself before a call."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    job = {
        "folder": str(folder), "words": list(stage.words), "call": call,
        "environment": {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "OMP_NUM_THREADS": "1"},
    }  # fmt: skip
    arguments = {"init_globals": {"JOB": job}, "run_name": "killed"}
    process = context.Process(target=runpy.run_path, args=(str(SCRIPT),), kwargs=arguments)
    begin = time.monotonic()
    process.start()
    process.join(seconds if seconds is not None else 1200)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    said = (folder / "said.txt").read_text() if (folder / "said.txt").exists() else ""
    return Outcome(alive or process.exitcode == -signal.SIGKILL, process.exitcode, time.monotonic() - begin, said)


def fingerprint(path: Path) -> str:
    """Return a digest of a file's content, without times and revisions."""
    content = path.read_bytes()
    if path.suffix == ".json":
        value = json.loads(content)
        if isinstance(value, dict):
            content = json.dumps({key: one for key, one in value.items() if key not in VOLATILE}).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def left_on_disk(stage: Stage, folder: Path) -> dict[str, str]:
    """Return every file of the results, hidden ones too, which must not be there; what names runs counts by its name."""
    files = [path for name in stage.results for path in sorted((folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): "" if path.name.endswith(stage.loose) else fingerprint(path) for path in files}


def left_in_store(stage: Stage, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Return every run of the command's stage, by cell: params, curves and artifacts of those that are finished."""
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    client, found = tracking.connect(), {}
    name = stage.words[0]
    if name in {"samples", "prepare"}:
        return {}
    assert tracking.read_runs(name, status="RUNNING") == []
    runs = tracking.read_runs(name)
    assert len({run.tags[tracking.CELL] for run in runs}) == len(runs)
    for run in runs:
        curves = {metric: str(tracking.read_curve(run.id, metric)) for metric in run.metrics}
        nothing = nullcontext(folder / "nothing")  # a folder that does not exist
        with tracking.artifact_folder(run.id, "") if client.list_artifacts(run.id) else nothing as files:
            artifacts = {
                str(path.relative_to(files)): "" if path.name.endswith(stage.loose) else fingerprint(path)
                for path in sorted(files.rglob("*")) if path.is_file()
            }  # fmt: skip
        key = name if name == "report" else run.tags[tracking.CELL]
        found[key] = [run.params, curves, artifacts]
    return found


@pytest.fixture(scope="module")
def undisturbed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Outcome]]:
    """Function that runs a stage once without a kill; returns its folder and how it ended."""

    @cache
    def once(name: str) -> tuple[Path, Outcome]:
        folder = lay_out(STAGES[name], finished, tmp_path_factory.mktemp("undisturbed") / name)
        outcome = run(STAGES[name], folder)
        assert outcome.code == 0, outcome.said
        assert [str(path) for result in STAGES[name].results for path in (folder / result).rglob(".*")] == []
        return folder, outcome

    return once


def assert_same(stage: Stage, folder: Path, alone: Path, moment: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert left_on_disk(stage, folder) == left_on_disk(stage, alone), moment
        assert left_in_store(stage, folder, patch) == left_in_store(stage, alone, patch), moment


@pytest.mark.parametrize("name", STAGES)
def test_a_killed_stage_ends_like_an_undisturbed_one(name: str, finished: Path, undisturbed: Callable, tmp_path: Path) -> None:
    stage, chance = STAGES[name], random.Random(f"kill {name}")
    alone, usual = undisturbed(name)
    calls = int((alone / "calls.txt").read_text())
    moments: list[dict[str, Any]] = [
        {"seconds": usual.seconds * chance.uniform(0.3, 0.9)},
        {"call": 1 + int(calls * chance.uniform(0, 0.5))},
        {"call": calls - int(calls * chance.uniform(0, 0.4))},
    ]
    for number, moment in enumerate(moments):
        folder = lay_out(stage, finished, tmp_path / f"killed-{number}")
        KILLS[name] = KILLS.get(name, 0) + run(stage, folder, **moment).killed
        last = run(stage, folder)
        assert last.code == 0, f"{moment}: {last.said}"
        assert_same(stage, folder, alone, moment)


def test_a_real_command_is_killed_and_resumed(finished: Path, undisturbed: Callable, tmp_path: Path) -> None:
    stage = STAGES["finetune"]
    folder = lay_out(stage, finished, tmp_path / "killed")
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, "-m", "medtransfer", *stage.words]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 1200
    while not list(folder.glob("models/*/*/*/metrics.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert run(stage, folder).code == 0
    assert_same(stage, folder, undisturbed("finetune")[0], "the first cell is done")


def test_enough_kills_came_in_the_middle_of_the_work() -> None:
    if set(KILLS) != set(STAGES):
        pytest.skip("only some of the stages were killed")
    print(f"kills by stage: {KILLS}, {sum(KILLS.values())} in all")
    assert min(KILLS.values()) >= 2 and sum(KILLS.values()) >= WANTED_KILLS, KILLS

"""The real command is stopped, or its disk is full: it exits within seconds with a remedy, and can be resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.records import CellName, Result
from medtransfer.records.state import read_progress

pytestmark = pytest.mark.slow
SOURCES = Path(__file__).parents[2] / "src"
CELL = Path("models/sample/unet-simple/e003-full-s123124")
STATES_AT_ONCE = """
from medtransfer.cli import main
from medtransfer.finetune import trainer
trainer.SECONDS_BETWEEN_STATES = 0.0
main()
"""


@pytest.fixture(scope="module")
def pretrained(shared_workplace: Path, tiny_params: Callable[..., Params]) -> tuple[Path, Params]:
    """Prepare and pretrain once; return the folder, with params of a fine-tuning that takes a while."""
    params = tiny_params({"finetune.train_epochs": 400, "finetune.seed": 123124, "pretrain.checkpoints": []})
    study.prepare(params)
    study.pretrain(params)
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return shared_workplace, params


@pytest.fixture
def params(pretrained: tuple[Path, Params], workplace: Path) -> Params:
    """Work in a copy of the folder and its store."""
    shutil.copytree(pretrained[0], workplace, dirs_exist_ok=True)
    return pretrained[1]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "stopped"), (signal.SIGINT, 130, "interrupted")], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_stopped_command_says_so_and_is_resumed(
    params: Params, number: int, code: int, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    epochs = 50  # more than end before the third is seen
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    command = [sys.executable, "-c", STATES_AT_ONCE, "finetune", "--mode", "full", "--train-epochs", str(epochs)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    state = CELL / ".resume.safetensors"
    deadline = time.monotonic() + 1200
    while (read_progress(state) or {"epoch": 0})["epoch"] < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    start = time.monotonic()
    output, _ = process.communicate(timeout=1200)
    assert time.monotonic() - start < 60
    assert process.returncode == code, output
    assert output.splitlines()[-1] == f"medtransfer: {word}; what is finished is kept: run the same command again to resume"
    assert "Traceback" not in output
    assert [len(tracking.read_runs("finetune", status=status)) for status in ("RUNNING", "KILLED", "FINISHED")] == [0, 1, 0]
    assert not list(Path("models").rglob("[!.]*.*")) and not list(Path("models").rglob(".*.lock"))

    reached = (read_progress(state) or {})["epoch"]
    again = params.model_copy(update={"finetune": params.finetune.model_copy(update={"train_epochs": epochs})})
    with caplog.at_level("INFO", logger="medtransfer"):
        study.finetune(again, [CellName("sample", "unet", "simple", 3, "full", 123124)])
    assert f"resumes after epoch {reached}" in caplog.text
    (run,) = tracking.read_runs("finetune")
    assert sorted(tracking.read_curve(run.id, "lr")) == [*range(1, epochs + 1)]


# Runs a command twice, each time in a copy of a process that has imported the libraries.
SCRIPT = """
import atexit, importlib, os, runpy, subprocess, sys, traceback
size, words = sys.argv[1], sys.argv[2:]
from medtransfer.grid.local import PRELOADED
for name in [*PRELOADED, "medtransfer.cli", "medtransfer.study"]:
    importlib.import_module(name)
os.dup2(1, 2)

def run():
    if not (process := os.fork()):
        sys.argv = ["medtransfer", *words]
        try:
            runpy.run_module("medtransfer", run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            code = traceback.print_exc() or 99
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)
    print("code", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)

def shell(*words):
    subprocess.run(words, check=True)

shell("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "full")
run()
shell("find", "full", "-type", "f", "-not", "-name", ".*", "-printf", "left %P\\\\n")
shell("mount", "-o", "remount,size=200m", "full")
run()
shell("cp", "-r", "full", "kept")
"""


def on_a_small_disk(words: str, size: str) -> str:
    """Run a command twice in a folder that is a disk of its own: first a small one, then a large one."""
    Path("full").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    probe = subprocess.run(["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "full"], capture_output=True)
    if probe.returncode:
        pytest.skip("this system lets no one mount a small disk")
    script = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", SCRIPT, size, *words.split()]
    done = subprocess.run(script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout
    return done.stdout + "\n"


@pytest.mark.parametrize(
    ("words", "size", "result"),
    [
        ("finetune --mode full --train-epochs 2 --out full/models", "16k", "models/sample/unet-simple/e003-full-s123124"),
        ("pretrain --out full/checkpoints --encoder resnet50", "64k", "checkpoints/resnet50-simple"),
        ("prepare --out full/prepared", "24k", "prepared/sample"),
    ],
    ids=["finetune", "pretrain", "prepare"],
)
def test_a_stage_resumes_after_a_full_disk(params: Params, words: str, size: str, result: str) -> None:
    output = on_a_small_disk(words, size)
    first, second = output.split("code 1\n", 1)
    assert "Traceback" not in output
    sentence = first.strip().splitlines()[-1]
    assert sentence.startswith("medtransfer: the disk") and sentence.endswith(
        "is full; what is finished is kept: free some space and run the same command again"
    )
    assert not [line for line in second.splitlines() if line.startswith("left") and "metrics.json" in line]
    assert "code 0" in second
    folder = Path("kept") / result
    assert not list(folder.rglob("*.partial"))
    stage = words.split()[0]
    if stage == "finetune":
        assert Result.read(folder / "metrics.json").metrics["dice"] >= 0
    if stage != "prepare":
        shutil.rmtree("full")
        counts = [len(tracking.read_runs(stage, status=status)) for status in ("RUNNING", "FINISHED")]
        assert counts == [0, 1 + (stage == "pretrain")]


def test_a_full_disk_of_the_store_is_named(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'full' / 'mlflow.db'}")
    output = on_a_small_disk("finetune --mode full --train-epochs 2", "900k")
    first, second = output.split("code ", 1)
    assert "Traceback" not in output and "full" in first.strip().splitlines()[-1]
    assert second.startswith(("1\n", "2\n")) and "code 0" in second

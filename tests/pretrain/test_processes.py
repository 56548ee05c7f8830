"""The real command: killed and run again, and on two processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.records import list_checkpoints
from medtransfer.training.state import read_progress

pytestmark = pytest.mark.slow
SOURCES = Path(__file__).parents[2] / "src"


def start(*options: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    command = [sys.executable, "-m", "medtransfer", "pretrain", *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def succeed(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights(folder: Path) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


@pytest.fixture
def write_params(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a maker of params that also writes them to the folder of work."""

    def write(overrides: dict[str, Any]) -> Params:
        params = tiny_params(overrides)
        Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
        return params

    return write


def test_a_killed_pretraining_goes_on_to_the_same_bits(write_params: Callable[..., Params]):
    params = write_params({"pretrain.epochs": 30, "pretrain.checkpoints": [5, 20]})
    folder, state = Path("checkpoints/unet-simple"), Path("checkpoints/unet-simple/.resume.safetensors")
    process = start()
    deadline = time.monotonic() + 240
    while (read_progress(state) or {"epoch": 0})["epoch"] < 6:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = read_progress(state)
    assert reached is not None
    assert 6 <= reached["epoch"] < 30
    assert tracking.read_runs("pretrain") == []
    assert len(tracking.read_runs("pretrain", status="RUNNING")) == 1
    output = succeed(start())
    assert f"unet-simple resumes after epoch {reached['epoch']}" in output
    (run,) = tracking.read_runs("pretrain")
    assert sorted(tracking.read_curve(run.id, "train_loss")) == list(range(1, 31))
    assert tracking.read_runs("pretrain", status="RUNNING") == []
    killed = weights(folder)
    study.pretrain(params, force=True)
    assert weights(folder) == killed


def test_two_processes_train_as_one_does(write_params: Callable[..., Params]):
    """Swin without stochastic depth and batch norm: the mean of two processes' gradients is the batch's."""
    arguments = {"embed": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 4], "window": 2, "stochastic_depth": 0.0, "size": 32}
    chosen = {"pretrain.encoder": "swin", "pretrain.encoders.swin": arguments}
    write_params({**chosen, "pretrain.micro_batch": 8})
    succeed(start("--devices", "2"))
    (run,) = tracking.read_runs("pretrain")
    assert (run.params["devices"], run.params["accumulation"]) == ("2", "1")
    assert set(weights(Path("checkpoints/swin-simple"))) == {0, 1, 2, 3}
    study.pretrain(write_params({**chosen, "pretrain.micro_batch": 16, "pretrain.out": "alone"}))
    two, one = (json.loads(Path(out, "swin-simple/curves.json").read_text()) for out in ("checkpoints", "alone"))
    for a, b in zip(two, one, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_two_processes_stop_by_the_rule_and_go_on_without_it(write_params: Callable[..., Params]):
    """The encoder has batch norm, and 10 validation pictures in batches of 4 are shared unevenly."""
    study.prepare(write_params({"pretrain.devices": 2, "pretrain.micro_batch": 4}))
    assert "online rule keeps" in succeed(start("--stop-on", "sample"))
    folder = Path("checkpoints/unet-simple")
    before = weights(folder)
    succeed(start())
    assert set(weights(folder)) == {0, 1, 2, 3}
    assert weights(folder).items() >= before.items()
    assert len(tracking.read_runs("pretrain")) == 2


def second_rank(process: subprocess.Popen) -> int:
    """Return the process that a command on two devices started as its second rank."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            parent = int(path.with_name("stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and b"LOCAL_RANK=1" in path.read_bytes():
                return int(path.parent.name)
    raise AssertionError("no second rank")


def test_a_killed_rank_ends_the_job_and_it_goes_on(write_params: Callable[..., Params]):
    chosen = {"pretrain.epochs": 12, "pretrain.checkpoints": [5], "pretrain.micro_batch": 8, "pretrain.devices": 2}
    write_params(chosen)
    folder, state = Path("checkpoints/unet-simple"), Path("checkpoints/unet-simple/.resume.safetensors")
    process = start()
    deadline = time.monotonic() + 240
    while (read_progress(state) or {"epoch": 0})["epoch"] < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(second_rank(process), signal.SIGKILL)
    begin = time.monotonic()
    said, _ = process.communicate(timeout=240)
    assert time.monotonic() - begin < 120
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "another process of this pretraining ended" in said.splitlines()[-1]
    reached = read_progress(state)
    assert reached is not None and 3 <= reached["epoch"] < 12
    assert [len(tracking.read_runs("pretrain", status=status)) for status in ("FINISHED", "RUNNING", "FAILED")] == [0, 0, 1]
    assert f"unet-simple resumes after epoch {reached['epoch']}" in succeed(start())
    assert len(tracking.read_runs("pretrain")) == 1
    killed = weights(folder)
    succeed(start("--force"))
    assert weights(folder) == killed

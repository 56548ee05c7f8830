"""Fixtures: a tiny study in a temporary folder, the real command, and a check of the store afterwards."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.grid import slurm

FAKE = Path(__file__).with_name("fake_slurm.py")
SOURCES = Path(__file__).parents[2] / "src"
CELLS = 8  # four checkpoints, one mode, two seeds


@pytest.fixture
def study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_params: Callable[..., Params], empty_store: Path
) -> Callable[..., Params]:  # fmt: skip
    """Function that returns a study's params and writes them to the working folder, which has an empty tracking store."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    def write(overrides: dict[str, Any] | None = None) -> Params:
        params = tiny_params({"study.modes": ["full"], "finetune.overlays": 0, "grid.workers": 2, **(overrides or {})})
        Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
        return params

    return write


class Command:
    """The real command `medtransfer grid` in the working folder."""

    def __init__(self, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        command = [sys.executable, "-m", "medtransfer", "grid", *words]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_for_cells(self, number: int) -> None:
        """Wait until some fine-tunings are done, but not all."""
        deadline = time.monotonic() + 1200
        while (done := len(list(Path("models").glob("*/*/*/metrics.json")))) < number:
            assert self.process.poll() is None, self.process.communicate(timeout=60)[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert done < CELLS

    def end(self, code: int = 0) -> str:
        """Wait until it ends with the code; return its output."""
        output, _ = self.process.communicate(timeout=1200)
        assert self.process.returncode == code, output
        return output

    def workers(self) -> list[int]:
        """Return the process ids of its workers: the children of the fork server."""
        (server,) = [pid for pid in _children(self.process.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return _children(server)


def _children(parent: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                children.append(int(path.parent.name))
    return sorted(children)


@pytest.fixture
def command() -> type[Command]:
    """Class that starts the real command."""
    return Command


@pytest.fixture
def assert_each_once() -> Callable[[int], None]:
    """Check that every cell has one complete finished run, and that nothing is left open or half-written."""

    def check(grids: int = 1) -> None:
        client = tracking.connect()
        runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        assert [run.info.run_name for run in runs if run.info.status == "RUNNING"] == []
        finished = [run for run in runs if run.info.status == "FINISHED"]
        by_cell = Counter((run.data.tags[tracking.STAGE], run.data.tags[tracking.CELL]) for run in finished)
        assert set(by_cell.values()) == {1}
        assert Counter(stage for stage, _ in by_cell) == {"pretrain": 1, "score": 1, "finetune": CELLS, "grid": grids}
        assert _without_results(client, finished) == []
        assert [str(path) for path in Path("models").rglob(".*")] == []

    return check


def _without_results(client: MlflowClient, finished: list[Any]) -> list[str]:
    tuned = [run for run in finished if run.data.tags[tracking.STAGE] == "finetune"]
    whole = [run for run in tuned if "dice" in run.data.metrics and client.list_artifacts(run.info.run_id, "model")]
    return [run.info.run_name for run in tuned if run not in whole]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put fake commands on the PATH; yield the folder of their state."""
    commands, state = tmp_path / "bin", tmp_path / "slurm"
    commands.mkdir()
    state.mkdir()
    for name in ("sbatch", "squeue"):
        (commands / name).write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setattr(slurm, "SECONDS_TO_APPEAR", 1.0)
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.2)
    yield state
    (tmp_path / "end").touch()  # of scripts that wait for it

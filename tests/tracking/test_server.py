"""A real tracking server that passes artifacts on: what is written to it comes back, and is the same in its tables."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.tracking import query

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the address of a server on this machine and the database behind it."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts",
        "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "kept"),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}", folder / "server.db"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server does not answer: {log.read_text()[-2000:]}")


@pytest.fixture
def server(served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with the server's store; give its database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served[0])
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return served[1]


def record(cell: str, folder: Path, metrics: int = 10) -> tracking.RunRecord:
    (folder / "model" / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "weights").write_bytes(b"\x00\x01")
    (folder / "model" / "deep" / "note").write_text("a note")
    return tracking.RunRecord(
        cell, cell, {"lr": 1e-3, "long": "x" * 7000}, {"dice": 0.5, **{f"m{number}": number / 7 for number in range(metrics)}},
        {"loss": {1: 2.0, 2: float("nan")}}, artifacts={"model": folder / "model", "weights": folder / "model" / "weights"},
        datasets=[("heart", "0123456789ab", folder, "training")],
    )  # fmt: skip


def test_what_is_written_to_a_server_comes_back(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = [record("c0", tmp_path, 1100), record("c1", tmp_path), record("c2", tmp_path)]
    assert tracking.write_runs("score", records, "runs") == 3
    assert tracking.write_runs("score", records, "runs") == 0
    found = tracking.read_runs("score")
    curves = tracking.read_curves([run.id for run in found], "m7")
    assert {run.tags[tracking.CELL] for run in found} == {"c0", "c1", "c2"}
    assert curves == {run.id: {0: 1.0} for run in found}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{server}")  # the same store, from its tables
    assert query.tables(tracking.connect()) is not None
    again = tracking.read_runs("score")
    assert [(one.id, one.params, one.tags, one.started) for one in again] == [
        (one.id, one.params, one.tags, one.started) for one in found
    ]
    assert [{name: str(value) for name, value in one.metrics.items()} for one in again] == [  # NaN is not itself
        {name: str(value) for name, value in one.metrics.items()} for one in found
    ]
    assert tracking.read_curves([run.id for run in found], "m7") == curves


def test_a_servers_artifacts_are_fetched_and_removed_afterwards(server: Path, tmp_path: Path):
    tracking.write_runs("finetune", [record("c0", tmp_path), tracking.RunRecord("c1", "c1", {})], "runs")
    runs = {run.tags[tracking.CELL]: run for run in tracking.read_runs("finetune")}
    with tracking.artifact_folder(runs["c0"].id, "model") as folder:
        assert server.parent not in folder.parents
        assert (folder / "weights").read_bytes() == b"\x00\x01"
        assert (folder / "deep" / "note").read_text() == "a note"
    assert not folder.exists()
    with tracking.artifact_folder(runs["c0"].id, "") as folder:
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"weights", "model/weights", "model/deep/note"}
    for run in runs.values():  # another folder is there, and no artifacts at all
        message = f"expected the artifacts 'scores' of the run {run.id}, .* --force"
        with pytest.raises(InputError, match=message), tracking.artifact_folder(run.id, "scores"):
            pytest.fail("the block must not begin")

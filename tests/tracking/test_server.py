"""A real tracking server that passes artifacts on: what is written to it comes back, and its faults lose nothing."""

import http.client
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from medtransfer import tracking
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError
from medtransfer.tracking import StoreLost, query, retry

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


class Proxy:
    """Stands before the server, counts what is asked of it, and answers some requests with an error instead.

    Attributes:
        asked: number of requests by method and path.
        status: the error.
        failing: how the path of those begins that it answers.
        times: how often it answers each of them so; None for always.
    """

    def __init__(self, server: str) -> None:
        self.asked, self.status, self.failing, self.times = Counter[str](), 503, "", None
        self._address, self._lock = urlsplit(server).netloc, threading.Lock()
        self._failed = Counter[str]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = outer._pass_on(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._http.server_port}"

    def _pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        plain = urlsplit(path).path
        with self._lock:
            self.asked[f"{method} {plain.rpartition('/2.0/')[2]}"] += 1
            fails = bool(self.failing) and plain.rpartition("/2.0/")[2].startswith(self.failing)
            if fails and self.times is not None:
                self._failed[path] += 1
                fails = self._failed[path] <= self.times
        if fails:
            return self.status, [("Content-Type", "text/html")], b"<html>a proxy</html>"
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request(method, path, body, {**headers, "Host": self._address, "Connection": "close"})
        answer = connection.getresponse()
        content = answer.read()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() in {"content-type", "content-disposition"}]
        connection.close()
        return answer.status, kept, content

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def proxy(served: tuple[str, Path], server: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Work with the server behind a proxy; wait for moments, not for half a minute."""
    monkeypatch.setattr(retry, "PATIENCE", 1.0)
    proxy = Proxy(served[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    yield proxy
    proxy.close()


def write_and_find(cell: str, folder: Path, stage: str = "score") -> str:
    """Write a run with curves of `loss` and others of one point; return its id."""
    tracking.write_runs(stage, [record(cell, folder)], "runs")
    return next(run.id for run in tracking.read_runs(stage, cell))


@pytest.mark.parametrize(
    ("name", "inside"), [("model/deep", "note"), ("model/deep/note", ""), ("model/weights", ""), ("weights", "")]
)
def test_an_artifact_within_folders_is_fetched(name: str, inside: str, server: Path, tmp_path: Path):
    run = write_and_find("nested", tmp_path)
    assert tracking.fetch_artifacts(run, name, tmp_path / "fetched") == tmp_path / "fetched" / name
    with tracking.artifact_folder(run, name) as path:
        content = (path / inside).read_bytes()
        assert content == (b"\x00\x01" if name.endswith("weights") else b"a note") and path.name == Path(name).name


@pytest.mark.parametrize(("status", "reason"), [(503, "answers with the error 503 now"), (401, "it refuses the login (401)")])
def test_a_result_on_disk_outlives_a_server_that_fails(
    status: int, reason: str, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
):  # fmt: skip
    caplog.set_level(logging.WARNING, logger="medtransfer")
    cell = f"outage-{status}"
    with tracking.open_run("finetune", cell, cell, {"lr": 1e-3}, {}, on_disk=True) as run:
        run.log_metrics({"loss": 1.0}, 1)
        proxy.asked.clear()
        proxy.failing, proxy.status = "mlflow/", status
        run.log_metrics({"loss": 0.5}, 2)
        assert run.lost and 1 <= proxy.asked["POST mlflow/runs/log-batch"] <= 6  # MLflow's own would be sent eight times each
    assert any(reason in message and "work continues" in message for message in caplog.messages)
    assert [missed.cell for missed in tracking.missed_runs()] == [cell]
    proxy.failing = ""
    result = tracking.RunRecord(cell, cell, {"lr": 1e-3}, {"loss": 0.5}, {"loss": {1: 1.0, 2: 0.5}})
    assert tracking.write_runs("finetune", [result], "runs") == 1 and not tracking.missed_runs()
    (found,) = tracking.read_runs("finetune", cell)
    assert tracking.read_curve(found.id, "loss") == {1: 1.0, 2: 0.5}
    assert not tracking.read_runs("finetune", cell, status="RUNNING")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(503, "but it answers with the error 503; start or mend it"), (500, "but it answers with the error 500; start or mend it"),
     (401, r"but it refuses the login \(401\); set MLFLOW_TRACKING_USERNAME and"), (403, r"it refuses the login \(403\)")],
)  # fmt: skip
def test_a_server_that_fails_at_once_is_told_by_what_it_answers(
    status: int, sentence: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.setenv(retry.RETRIES, "0")  # those of the connection are tested by their time alone
    proxy.failing, proxy.status = "mlflow/", status
    with pytest.raises(InputError, match=f"expected a tracking store at {proxy.uri}, .*{sentence}"):
        tracking.connect()


def test_a_login_that_opens_no_run_is_refused_before_any_work(
    proxy: Proxy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.setenv(retry.RETRIES, "0")
    tracking.connect()
    proxy.failing, proxy.status = "mlflow/", 401
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        assert tracking.find_finished("finetune", "refused") is None
    assert "it refuses the login (401); set MLFLOW_TRACKING_USERNAME" in caplog.text
    with pytest.raises(StoreLost, match=r"it refuses the login \(401\)"):
        tracking.connect()
    proxy.failing = ""
    tracking.connect()
    proxy.failing, proxy.status = "mlflow/runs/create", 403
    with (
        pytest.raises(StoreLost, match=r"to take this login, but it refuses the login \(403\); set MLFLOW_TRACKING_USERNAME"),
        tracking.open_run("finetune", "refused", "refused", {}, {}, on_disk=True),
    ):
        pytest.fail("the block must not begin")
    assert not tracking.missed_runs()


def test_curves_are_asked_for_where_a_run_has_them_and_again_after_a_fault(proxy: Proxy, tmp_path: Path):
    runs = [write_and_find(f"curves-{number}", tmp_path) for number in range(2)]
    names = ["loss", "m1", *(f"absent{number}" for number in range(30))]
    proxy.asked.clear()
    proxy.failing, proxy.times = "mlflow/metrics/get-history", 1  # each once
    curves = tracking.read_all_curves(runs, names)
    assert {name: [len(curves[name][run]) for run in runs] for name in names} == {
        "loss": [2, 2], "m1": [1, 1], **{f"absent{number}": [0, 0] for number in range(30)},
    }  # fmt: skip
    assert curves["m1"] == dict.fromkeys(runs, {0: 1 / 7}) and curves["loss"][runs[0]][1] == 2.0
    assert proxy.asked["GET mlflow/metrics/get-history"] == 2 * 4


def test_artifacts_of_a_server_that_fails_are_not_missing_ones(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_and_find("away", tmp_path)
    for failing, status, reason in (
        ("mlflow-artifacts/", 503, "answers with the error 503 now"),
        ("mlflow-artifacts/artifacts/", 503, "does not answer any more"),  # the files alone, not their lists
        ("mlflow-artifacts/", 403, r"it refuses the login \(403\)"),
    ):
        proxy.failing, proxy.status = failing, status
        with pytest.raises(StoreLost, match=reason):
            tracking.fetch_artifacts(run, "model", tmp_path / "fetched")
    monkeypatch.setattr(retry, "PATIENCE", 60.0)
    proxy.failing, proxy.status, proxy.times = "mlflow-artifacts/artifacts/", 503, 2
    assert (tracking.fetch_artifacts(run, "model", tmp_path / "fetched") / "weights").read_bytes() == b"\x00\x01"
    with pytest.raises(InputError, match="expected the artifacts 'scores' of the run"):
        tracking.fetch_artifacts(run, "scores", tmp_path / "none")


def test_an_artifact_of_many_runs_is_read_by_three_requests_each(proxy: Proxy, tmp_path: Path):
    records = []
    for number in range(12):
        file = tmp_path / f"{number}" / "per_image.csv"
        file.parent.mkdir()
        file.write_text(f"number\n{number}\n")
        records.append(tracking.RunRecord(f"of-{number}", f"of-{number}", {}, artifacts={"model/per_image.csv": file}))
    tracking.write_runs("guard", records, "runs")
    runs = {run.id: run.tags[tracking.CELL] for run in tracking.read_runs("guard")}
    proxy.asked.clear()
    read = tracking.read_artifacts(list(runs), "model/per_image.csv", Path.read_text)
    assert [f"of-{text.split()[1]}" for text in read] == list(runs.values())
    assert sum(count for name, count in proxy.asked.items() if not name.endswith("server-info")) == 3 * 12, proxy.asked
    with pytest.raises(InputError, match=f"expected the artifacts 'model/none' of the run {next(iter(runs))}"):
        tracking.read_artifacts(list(runs), "model/none", Path.read_text)


def test_many_runs_are_written_at_once(proxy: Proxy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    quiet_libraries()
    records = [tracking.RunRecord(f"many-{n}", f"many-{n}", {"n": n}, {"dice": n / 30}, {"loss": {1: float(n)}}) for n in range(30)]
    assert tracking.write_runs("cka", records, "runs") == 30
    found = {run.tags[tracking.CELL]: run for run in tracking.read_runs("cka")}
    assert {cell: (run.params["n"], run.metrics["dice"]) for cell, run in found.items()} == {
        f"many-{n}": (str(n), n / 30) for n in range(30)
    }
    assert proxy.asked["POST mlflow/runs/create"] == 30 and proxy.asked["GET mlflow/runs/get"] == 0
    assert "View run" not in capfd.readouterr().out


def test_a_run_that_cannot_be_written_among_many_leaves_none_half_written(proxy: Proxy):
    tracking.connect()
    records = [tracking.RunRecord(f"some-{n}", f"some-{n}", {}, {"dice": n / 30}) for n in range(30)]
    proxy.failing = "mlflow/runs/log-batch"
    with pytest.raises(StoreLost):
        tracking.write_runs("rank", records, "runs")
    created = proxy.asked["POST mlflow/runs/create"]
    assert created < 30  # those that had not begun were not sent
    proxy.failing = ""
    assert tracking.write_runs("rank", records, "runs") == 30
    assert sorted(run.metrics["dice"] for run in tracking.read_runs("rank")) == [n / 30 for n in range(30)]
    assert not tracking.read_runs("rank", status="RUNNING")


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

"""One connection per process and address; it follows the address, survives a loss, and is not shared with forked processes."""

import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
from mlflow import MlflowClient

from medtransfer import study, tracking
from medtransfer.environment import git_revision
from medtransfer.errors import InputError
from medtransfer.tracking import store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count new clients and git processes."""
    counts: Counter[str] = Counter()

    def through(name: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(MlflowClient, "__init__", through("connect", MlflowClient.__init__))
    monkeypatch.setattr(subprocess, "run", through("git", subprocess.run))
    return counts


def test_five_runs_take_one_connection_and_one_git_process(counted: Counter[str]) -> None:
    git_revision.cache_clear()
    for number in range(5):
        with tracking.once("score", "x", f"c{number}", {"lr": 1}) as run:
            assert run is not None
            run.log_metrics({"dice": 0.5})
        with tracking.once("score", "x", f"c{number}", {"lr": 1}) as run:
            assert run is None
    tracking.write_runs("finetune", [tracking.RunRecord("x", "c0", {})], "runs")
    assert len(tracking.read_runs("score")) == 5
    assert counted == {"connect": 1, "git": 1}


class _Proxy(BaseHTTPRequestHandler):
    """Answers every request as an empty store."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_server_that_only_a_proxy_knows_is_reached(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere.invalid:5000")
    monkeypatch.setattr(store, "_reached", {})
    with pytest.raises(InputError, match="expected a tracking store at http://nowhere.invalid:5000, but it does not answer"):
        tracking.connect()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as proxy:
        thread = Thread(target=proxy.serve_forever)
        thread.start()
        try:
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.server_address[1]}")
            assert tracking.connect().tracking_uri == "http://nowhere.invalid:5000"
            monkeypatch.setattr(store, "_reached", {})
            monkeypatch.setenv("no_proxy", "nowhere.invalid")
            with pytest.raises(InputError, match="does not answer"):
                tracking.connect()
        finally:
            proxy.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["at once", "in a job", "by MLflow's setting"])
def test_who_waits_for_a_server_that_is_started(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(store, "_reached", {})
    if how == "by MLflow's setting":
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    started: list[ThreadingHTTPServer] = []

    def start() -> None:
        sleep(1)
        started.append(ThreadingHTTPServer(("127.0.0.1", port), _Proxy))
        started[0].serve_forever()

    thread = Thread(target=start)
    thread.start()
    try:
        with tracking.patient() if how == "in a job" else nullcontext():
            if how == "at once":
                with pytest.raises(InputError, match="does not answer .*Connection refused"):
                    tracking.connect()
            else:
                assert tracking.connect().tracking_uri.endswith(str(port))
    finally:
        while not started:
            sleep(0.05)
        started[0].shutdown()
        thread.join()
        started[0].server_close()


def test_a_server_that_does_not_answer_soon_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(address: tuple[str, int], timeout: float) -> None:
        raise TimeoutError(f"{address} {timeout}")

    monkeypatch.setattr(store.socket, "create_connection", wait)
    assert store._check_server("http://127.0.0.1:9") is None  # type: ignore[func-returns-value]


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_the_store_leaves_none_half_made(tmp_path: Path) -> None:
    code = """
import os
from mlflow.store.db import utils
from medtransfer import tracking
real = utils._initialize_tables
utils._initialize_tables = lambda engine: (real(engine), os._exit(9))
from mlflow.store.tracking import sqlalchemy_store
tracking.make_store()
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(ROOT / "src")
    folder = tmp_path / "fresh"
    folder.mkdir()
    killed = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    file = folder / "mlflow.db"
    assert not file.exists() or not file.stat().st_size
    again = "from medtransfer import tracking; tracking.make_store(); print(tracking.read_runs('score'))"
    made = subprocess.run([sys.executable, "-c", again], cwd=folder, env=environment, capture_output=True, text=True)
    assert (made.returncode, made.stdout) == (0, "[]\n"), made.stderr
    assert file.stat().st_size and sorted(path.name for path in folder.glob("mlflow.db*")) == ["mlflow.db"]


def test_the_connection_follows_the_address(
    counted: Counter[str], workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, workplace / "other.db")
    with tracking.open_run("score", "x", "c1", {}, {}):
        pass
    first = tracking.connect()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
        assert tracking.read_runs("score") == []
        assert tracking.connect() is not first
    assert tracking.connect() is first and len(tracking.read_runs("score")) == 1
    assert counted["connect"] == 2


def test_without_an_address_the_connection_follows_the_working_folder(
    workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.open_run("score", "x", "c1", {}, {}):
        pass
    (workplace / "deep").mkdir()
    shutil.copy(empty_store, workplace / "deep" / "mlflow.db")
    monkeypatch.chdir(workplace / "deep")
    assert tracking.read_runs("score") == []
    monkeypatch.chdir(workplace)
    assert len(tracking.read_runs("score")) == 1


def work_in_a_fork(parent: MlflowClient, answer: Any) -> None:
    with tracking.open_run("score", "x", "child", {}, {}) as run:
        answer.send((run.client is parent, run.client is None))


def test_a_forked_process_opens_its_own_connection() -> None:
    client = tracking.connect()
    with tracking.open_run("score", "x", "parent", {}, {}) as run:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        child = context.Process(target=work_in_a_fork, args=(client, there))
        child.start()
        assert here.recv() == (False, False)
        child.join(60)
        run.log_metrics({"dice": 0.5})
    assert child.exitcode == 0 and tracking.connect() is client
    assert {found.tags[tracking.CELL] for found in tracking.read_runs("score")} == {"parent", "child"}


def test_a_fork_opens_no_store_that_mlflow_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    tracking.connect()
    asked: list[object] = []
    monkeypatch.setattr(TrackingServiceClient, "store", property(lambda self: asked.append(self)))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=lambda: there.send(len(asked)))
    child.start()
    assert here.recv() == 0
    child.join(60)


def test_a_finished_cell_is_reused_once_restored(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO", "medtransfer")
    client = tracking.connect()
    with tracking.once("score", "the name", "c1", {}) as run:
        assert run is not None
        made = run.id
    opened = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)

    def fails(finished: tracking.StoredRun) -> None:
        raise OSError("no artifacts")

    with pytest.raises(OSError, match="no artifacts"):
        tracking.reused("score", "the name", "c1", fails)
    assert "medtransfer.reuses" not in client.get_run(opened).data.tags
    restored: list[str] = []
    assert tracking.reused("score", "the name", "c1", lambda finished: restored.append(finished.id))
    assert restored == [made]
    assert f"score: the name is finished (run {made}): reused; --force does it again" in caplog.text
    assert client.get_run(opened).data.tags["medtransfer.reuses"] == made


def test_force_does_a_finished_cell_again() -> None:
    for force in (False, True):
        with tracking.once("score", "x", "c1", {}, force=force) as run:
            assert run is not None
    assert len(tracking.read_runs("score")) == 1 and len(tracking.read_runs("score", status="KILLED")) == 1


def test_a_run_that_is_not_adopted_is_named_in_the_run_of_mlflow_run(monkeypatch: pytest.MonkeyPatch) -> None:
    client = tracking.connect()
    opened = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    with tracking.once("search", "x", "c1", {}, adopt=False) as run:
        assert run is not None and run.id != opened
    assert client.get_run(opened).data.tags["medtransfer.reuses"] == run.id


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tiny_params: Callable[..., Any]) -> None:
    client = tracking.connect()
    with tracking.open_run("score", "x", "c1", {}, {}):
        pass
    experiment = client.get_experiment_by_name("medtransfer/score").experiment_id
    client.delete_experiment(experiment)
    message = rf"the experiment medtransfer/score .* was deleted; .*mlflow experiments restore --experiment-id {experiment}`"
    with pytest.raises(InputError, match=message):
        study.score(tiny_params())
    assert not Path("data").exists()  # refused before the missing sample target is made
    with pytest.raises(InputError, match=message), tracking.open_run("score", "x", "c2", {}, {}):
        pass
    tracking.require_experiments(["finetune"])  # other stages run
    client.restore_experiment(experiment)
    tracking.require_experiments(["score"])
    assert len(tracking.read_runs("score")) == 1


def test_experiments_say_what_to_look_at_and_keep_the_users_words() -> None:
    client, note = tracking.connect(), "mlflow.note.content"

    def describe(stage: str) -> str:
        with tracking.open_run(stage, "x", "c1", {}, {}):
            pass
        return client.get_experiment_by_name(f"medtransfer/{stage}").tags[note]

    client.create_experiment("medtransfer/score")
    assert "robustness_pooled" in describe("score") and "`dice`" in describe("finetune")
    client.set_experiment_tag(client.get_experiment_by_name("medtransfer/score").experiment_id, note, "mine")
    assert describe("score") == "mine"


def test_every_experiment_of_the_reference_has_a_description() -> None:
    from medtransfer.tracking.descriptions import DESCRIPTIONS

    named = re.findall(r"`medtransfer/([a-z]+)`", (ROOT / "docs" / "reference" / "store.md").read_text("utf-8"))
    assert set(named) == DESCRIPTIONS.keys()


def test_a_terminal_sees_that_mlflow_is_imported(terminal: Callable[[], str]) -> None:
    tracking.connect()
    assert "tracking store: loading libraries …" in terminal()


@pytest.mark.parametrize("mask", [0o002, 0o022])
def test_a_group_may_write_a_new_store_if_its_maker_lets_it(mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself makes files that none but their owner may write."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    before = os.umask(mask)
    try:
        tracking.make_store()
    finally:
        os.umask(before)
    assert (tmp_path / "shared.db").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("locked", ["mlflow.db", ""])
def test_a_store_that_may_not_be_written_is_refused_before_work(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking.make_store()
    folder = Path.cwd()
    monkeypatch.setattr(store.os, "access", lambda path, mode: Path(path) != folder / locked)
    with pytest.raises(InputError, match=rf"that this user may write, but {re.escape(str(folder / locked))} is not; let its owner"):
        tracking.require_experiments(["finetune"])
    tracking.require_experiments(())  # it is only read

"""A store that is locked, slow, lost or full: what was logged is asked for again, kept, or told, and never doubled."""

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from requests.exceptions import ConnectionError as NoConnection
from sqlalchemy.exc import OperationalError

from medtransfer import tracking
from medtransfer.errors import InputError, is_full_disk
from medtransfer.tracking import retry, store
from medtransfer.tracking.retry import StoreLost, is_away, patiently

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for moments, not for half a minute."""
    monkeypatch.setattr(retry, "PATIENCE", 0.3)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)


class Wire:
    """Cuts the connection to the store and mends it again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.down, self.calls = False, 0
        for name in (
            "log_batch",
            "set_terminated",
            "create_run",
            "search_experiments",
            "log_artifacts",
            "log_artifact",
            "log_inputs",
        ):
            monkeypatch.setattr(MlflowClient, name, self._through(getattr(MlflowClient, name)))

    def _through(self, method: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            self.calls += 1
            if self.down:
                raise NoConnection("connection refused")
            return method(*arguments, **options)

        return call


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    tracking.connect()
    return Wire(monkeypatch)


def unsent() -> list[Path]:
    return sorted(Path(".medtransfer/unsent").glob("*.json"))


def work(wire: Wire, cell: str, down_at: int) -> None:
    """Log as a stage does; the store goes down before the step `down_at`."""
    Path("model").mkdir(exist_ok=True)
    Path("model/weights").write_bytes(b"\x00\x01")
    Path("picture").write_text("a picture")
    wire.down = down_at == 0
    with tracking.open_run("finetune", f"run {cell}", cell, {"lr": 1e-3, "mode": "full"}, {"mine": "yes"}) as run:
        steps: list[Callable[[], None]] = [
            lambda: run.log_metrics({"loss": 2.0, "lr": 0.1}, 1),
            lambda: run.log_metrics({"loss": float("nan")}, 2),
            lambda: run.log_dataset("heart", "0123456789ab", Path.cwd(), "training"),
            lambda: run.log_artifact(Path("model"), "model"),
            lambda: run.log_artifact(Path("picture")),
            lambda: run.log_metrics({"dice": 0.5}),
        ]
        for number, step in enumerate(steps, start=1):
            wire.down = wire.down or number == down_at
            step()
        wire.down = wire.down or down_at == len(steps) + 1


@pytest.mark.parametrize("down_at", range(8))
def test_a_store_that_is_lost_gets_the_same_run_later(wire: Wire, down_at: int) -> None:
    work(wire, "c0", 99)
    assert unsent() == []
    work(wire, "c1", down_at)
    assert [path.name for path in unsent()] == ["finetune-c1.json"]
    with pytest.raises(StoreLost, match="does not answer any more"):
        tracking.begin()
    wire.down = False
    tracking.begin()
    assert unsent() == []
    runs = {run.tags[tracking.CELL]: run for run in tracking.read_runs("finetune")}
    assert sorted(runs) == ["c0", "c1"]
    assert tracking.read_runs("finetune", status="RUNNING") == []
    usual, late = runs["c0"], runs["c1"]
    assert (usual.params, {**usual.tags, "mlflow.runName": "", tracking.CELL: ""}) == (
        late.params, {**late.tags, "mlflow.runName": "", tracking.CELL: ""},
    )  # fmt: skip
    assert str(usual.metrics) == str(late.metrics)
    for metric in ("loss", "lr", "dice"):
        assert str(tracking.read_curve(usual.id, metric)) == str(tracking.read_curve(late.id, metric))
    with tracking.artifact_folder(late.id, "") as folder:
        assert (folder / "model" / "weights").read_bytes() == b"\x00\x01"
        assert (folder / "picture").read_text() == "a picture"
    inputs = [tracking.connect().get_run(run.id).inputs.dataset_inputs[0].dataset.digest for run in (usual, late)]
    assert inputs == ["0123456789ab"] * 2
    tracking.begin()
    assert len(tracking.read_runs("finetune")) == 2


def test_nothing_is_looked_up_in_a_lost_store(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.down = True
    assert tracking.find_finished("finetune", "c1") is None
    assert "work goes on without it" in caplog.text


def test_a_store_that_never_answered_is_no_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_reached", set())
    wire = Wire(monkeypatch)
    wire.down = True
    for ask in (tracking.connect, tracking.begin, lambda: tracking.find_finished("score", "c1")):
        with pytest.raises(InputError, match="expected a tracking store at .*mlflow.db, but it does not answer"):
            ask()
    with pytest.raises(InputError), tracking.open_run("score", "x", "c1", {}, {}):
        pytest.fail("the block must not begin")


def test_a_kept_run_whose_files_have_changed_is_not_sent(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    work(wire, "c1", 1)
    Path("model/weights").write_bytes(b"others")
    wire.down = False
    tracking.begin()
    assert unsent() == [] and tracking.read_runs("finetune") == []
    assert "have changed since: it is not sent; run finetune again" in caplog.text


def test_a_kept_run_waits_for_its_own_store(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work(wire, "c1", 1)
    wire.down = False
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
        tracking.begin()
        assert tracking.read_runs("finetune") == []
    assert len(unsent()) == 1
    tracking.begin()
    assert len(tracking.read_runs("finetune")) == 1


def test_a_run_that_breaks_off_while_the_store_is_away_is_not_kept(wire: Wire) -> None:
    with pytest.raises(ZeroDivisionError), tracking.open_run("score", "x", "c1", {}, {}) as run:
        wire.down = True
        run.log_metrics({"loss": 1.0})
        raise ZeroDivisionError
    assert unsent() == []


def test_no_secret_of_the_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:geheim@127.0.0.1:1/mlflow")
    with pytest.raises(InputError) as found:
        tracking.connect()
    assert "geheim" not in str(found.value) and "me:***@127.0.0.1:1" in str(found.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:a@b:geheim@h/d", "postgresql://me:***@h/d"),
        ("postgresql://h/d?user=me&password=geheim&x=1", "postgresql://h/d?user=me&password=***&x=1"),
        ("http://me:geheim@[bad", "http://me:***@[bad"),
        ("sqlite:////a:b/c@d.db", "sqlite:////a:b/c@d.db"),
        ("http://server:5000", "http://server:5000"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert tracking.shown(address) == shown


def failing(times: int, fault: Exception) -> Iterator[Callable[[], str]]:
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise fault
        return "answer"

    yield call


LOCKED = OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


@pytest.mark.parametrize("fault", [LOCKED, NoConnection("refused"), TimeoutError(), ConnectionResetError()], ids=str)
def test_a_store_that_is_away_for_a_moment_is_asked_again(fault: Exception) -> None:
    (call,) = failing(3, fault)
    assert patiently(call, "there", patience=60) == "answer"
    (call,) = failing(10**6, fault)
    with pytest.raises(StoreLost, match="the tracking store at there does not answer any more"):
        patiently(call, "there")


def test_an_answer_that_says_no_is_not_asked_for_again() -> None:
    (call,) = failing(1, MlflowException("Invalid parameter"))
    with pytest.raises(MlflowException, match="Invalid parameter"):
        patiently(call, "there")
    assert call() == "answer"


def test_what_counts_as_away() -> None:
    chained = MlflowException("wrapped")
    chained.__cause__ = LOCKED
    full = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert is_away(chained) and not is_away(ValueError("no"))
    assert is_full_disk(full) and not is_away(full)
    answers = {503: True, 429: True, 400: False, 404: False}
    for status, away in answers.items():
        code = {503: "TEMPORARILY_UNAVAILABLE", 429: "REQUEST_LIMIT_EXCEEDED", 400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST"}[
            status
        ]
        assert is_away(RestException({"error_code": code, "message": "m"})) == away, status


def test_a_locked_database_is_waited_for(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 60.0)
    monkeypatch.setattr(store, "BUSY", "PRAGMA busy_timeout = 50")
    tracking.connect()
    other = sqlite3.connect(workplace / "mlflow.db", check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(1.5, other.rollback).start()
    refusals: list[BaseException] = []
    monkeypatch.setattr(retry, "is_away", lambda fault: refusals.append(fault) or is_away(fault))
    with tracking.open_run("score", "x", "c1", {"lr": 1}, {}) as run:
        run.log_metrics({"loss": 1.0})
    assert len(refusals) >= 2 and "database is locked" in str(refusals[0])
    assert tracking.read_curve(run.id, "loss") == {0: 1.0} and unsent() == []


def test_a_stop_is_heard_while_the_database_is_locked(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 600.0)
    monkeypatch.setattr(store, "BUSY", "PRAGMA busy_timeout = 50")
    other = sqlite3.connect(workplace / "mlflow.db", check_same_thread=False)
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt), tracking.open_run("score", "x", "c1", {"lr": 1}, {}) as run:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(2.0, other.rollback).start()
        run.log_metrics({"loss": 1.0})
    assert tracking.read_runs("score", status="RUNNING") == [] and len(tracking.read_runs("score", status="KILLED")) == 1


def test_a_kept_run_takes_the_place_of_an_older_one(wire: Wire) -> None:
    for dice in (0.5, 0.7):
        with tracking.open_run("finetune", "again", "c1", {}, {}) as run:
            run.log_metrics({"loss": 1.0})
            wire.down = dice == 0.7
            run.log_metrics({"dice": dice})
    wire.down = False
    tracking.begin()
    (newest,) = tracking.read_runs("finetune")
    assert newest.metrics["dice"] == 0.7 and unsent() == [] and tracking.read_runs("finetune", status="RUNNING") == []
    killed = tracking.read_runs("finetune", status="KILLED")
    assert newest.id in {run.tags.get("medtransfer.superseded_by") for run in killed} and len(killed) == 2


def test_a_kept_run_does_not_take_the_place_of_a_newer_one(wire: Wire) -> None:
    work(wire, "c1", 1)
    kept = unsent()[0].rename("kept.json")
    wire.down = False
    work(wire, "c1", 99)
    (newer,) = tracking.read_runs("finetune")
    kept.rename(".medtransfer/unsent/finetune-c1.json")
    tracking.begin()
    assert [run.id for run in tracking.read_runs("finetune")] == [newer.id] and unsent() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store": "x"}', b"\xff\xfe", b"[" * 9999], ids=repr)
def test_a_damaged_kept_run_stops_no_command(content: bytes, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    work(wire, "c1", 1)
    wire.down = False
    Path(".medtransfer/unsent/broken.json").write_bytes(content)
    tracking.begin()
    assert unsent() == [] and Path(".medtransfer/unsent/broken.refused").read_bytes() == content
    assert "cannot be sent" in caplog.text and len(tracking.read_runs("finetune")) == 1


def test_the_run_of_a_project_is_taken_by_the_second_try(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tracking.connect()
    opened = client.create_run(client.create_experiment("mine")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    get_run, faults = MlflowClient.get_run, [NoConnection("refused")]

    def first_fails(*arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return get_run(*arguments)

    monkeypatch.setattr(MlflowClient, "get_run", first_fails)
    with tracking.open_run("score", "x", "c1", {}, {}) as run:
        assert run.id == opened


def test_the_file_of_a_kept_run_is_readable_by_people(wire: Wire) -> None:
    work(wire, "c1", 1)
    found = json.loads(unsent()[0].read_text())
    assert (found["stage"], found["name"], found["cell"], found["curves"]["loss"]) == (
        "finetune", "run c1", "c1", {"1": "2.0", "2": "nan"},
    )  # fmt: skip

"""A store that is locked, slow, lost or full: requests are retried, results are published later, and nothing is doubled."""

import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from requests import Response
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import HTTPError, RetryError
from sqlalchemy.exc import OperationalError

from medtransfer import tracking
from medtransfer.errors import InputError, is_full_disk
from medtransfer.tracking import bulk, query, retry, sql, store
from medtransfer.tracking.retry import StoreLost, http_status, is_away, login_refused, with_retries

pytestmark = [pytest.mark.usefixtures("workplace"), pytest.mark.long]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for moments, not for half a minute."""
    monkeypatch.setattr(retry, "PATIENCE", 0.3)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)


class Wire:
    """Cuts the connection to the store and mends it again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.down, self.calls = False, 0
        writes = "log_batch set_terminated create_run search_experiments log_artifacts log_artifact log_inputs"
        for name in writes.split():
            monkeypatch.setattr(MlflowClient, name, self._through(getattr(MlflowClient, name)))
        for module, name in ((query, "tables"), (sql, "open_tables")):  # what is read without the client
            monkeypatch.setattr(module, name, self._through(getattr(module, name)))

    def _through(self, method: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            self.calls += 1
            if self.down:
                raise OperationalError("connect", {}, NoConnection("connection refused"))
            return method(*arguments, **options)

        return call


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    tracking.connect()
    return Wire(monkeypatch)


def missed() -> list[tuple[str, str]]:
    return [(run.stage, run.cell) for run in tracking.missed_runs()]


def record(cell: str) -> tracking.RunRecord:
    """Read the result that `work` leaves on disk, as the sync of a stage does."""
    return tracking.RunRecord(
        f"run {cell}", cell, {"lr": 1e-3, "mode": "full"}, {"dice": 0.5}, {"loss": {1: 2.0, 2: float("nan")}, "lr": {1: 0.1}},
        {"mine": "yes"}, {"model": Path("model"), "picture": Path("picture")}, [("heart", "0123456789ab", Path.cwd(), "training")],
    )  # fmt: skip


def next_command(*cells: str) -> None:
    """Reach the store and publish the results on disk, as every command does."""
    tracking.connect()
    tracking.write_runs("finetune", [record(cell) for cell in cells], "runs")


def work(wire: Wire, cell: str, down_at: int) -> None:
    """Log as a stage does; the store goes down before the step `down_at`."""
    Path("model").mkdir(exist_ok=True)
    Path("model/weights").write_bytes(b"\x00\x01")
    Path("picture").write_text("a picture")
    wire.down = down_at == 0
    with tracking.open_run("finetune", f"run {cell}", cell, {"lr": 1e-3, "mode": "full"}, {"mine": "yes"}, on_disk=True) as run:
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


@pytest.mark.parametrize("down_at", [0, 1, 3, 5, 6, 7])
def test_a_lost_store_gets_the_same_run_from_the_next_command(wire: Wire, down_at: int) -> None:
    work(wire, "c0", 99)
    assert missed() == []
    work(wire, "c1", down_at)
    assert missed() == [("finetune", "c1")]
    with pytest.raises(StoreLost, match="does not answer any more"):
        next_command("c0", "c1")
    wire.down = False
    next_command("c0", "c1")
    assert missed() == []
    runs = {run.tags[tracking.CELL]: run for run in tracking.read_runs("finetune")}
    assert sorted(runs) == ["c0", "c1"]
    assert tracking.read_runs("finetune", status="RUNNING") == []
    usual, late = runs["c0"], runs["c1"]
    assert (usual.params, {**usual.tags, "mlflow.runName": "", tracking.CELL: ""}) == (
        late.params, {**late.tags, "mlflow.runName": "", tracking.CELL: ""},
    )  # fmt: skip
    assert sorted(map(str, usual.metrics.items())) == sorted(map(str, late.metrics.items()))
    for metric in ("loss", "lr", "dice"):
        assert str(tracking.read_curve(usual.id, metric)) == str(tracking.read_curve(late.id, metric))
    with tracking.artifact_folder(late.id, "") as folder:
        assert (folder / "model" / "weights").read_bytes() == b"\x00\x01"
        assert (folder / "picture").read_text() == "a picture"
    inputs = [tracking.connect().get_run(run.id).inputs.dataset_inputs[0].dataset.digest for run in (usual, late)]
    assert inputs == ["0123456789ab"] * 2
    next_command("c0", "c1")
    assert len(tracking.read_runs("finetune")) == 2


def test_nothing_is_looked_up_in_a_lost_store(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.down = True
    assert tracking.find_finished("finetune", "c1") is None
    (line,) = caplog.messages
    assert re.fullmatch(
        "the tracking store at .* does not answer any more .*; nothing is looked up in it, and work continues .*", line
    )


@pytest.mark.parametrize(
    ("named", "remedy"),
    [
        (True, "; start or mend it, or unset MLFLOW_TRACKING_URI"),
        (False, "; mend it, or the permissions of its folder, or set MLFLOW_TRACKING_URI to a store elsewhere"),
    ],
)
def test_what_to_do_about_a_store_depends_on_who_named_it(
    named: bool, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    (folder / "mlflow.db").mkdir(parents=True)
    monkeypatch.setattr(store, "_reached", {})
    monkeypatch.setattr(store, "workspace", lambda: folder)
    if named:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match="expected a tracking store at sqlite:.*mlflow.db, but it does not answer") as refused:
        tracking.connect()
    assert str(refused.value).endswith(remedy)


def test_a_store_that_never_answered_is_no_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_reached", {})
    wire = Wire(monkeypatch)
    wire.down = True
    for ask in (tracking.connect, lambda: next_command("c1"), lambda: tracking.find_finished("score", "c1")):
        with pytest.raises(InputError, match="expected a tracking store at .*mlflow.db, but it does not answer"):
            ask()
    with pytest.raises(InputError), tracking.open_run("score", "x", "c1", {}, {}):
        pytest.fail("the block must not begin")


def test_a_missed_result_waits_for_its_own_store(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work(wire, "c1", 1)
    wire.down = False
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
        assert missed() == []
    assert missed() == [("finetune", "c1")]
    next_command("c1")
    assert missed() == [] and len(tracking.read_runs("finetune")) == 1


def test_a_run_that_breaks_off_while_the_store_is_away_is_not_missed(wire: Wire) -> None:
    with pytest.raises(ZeroDivisionError), tracking.open_run("score", "x", "c1", {}, {}, on_disk=True) as run:
        wire.down = True
        run.log_metrics({"loss": 1.0})
        raise ZeroDivisionError
    assert missed() == []


def test_work_whose_result_is_only_in_the_store_ends_when_it_is_lost(wire: Wire) -> None:
    with pytest.raises(StoreLost, match="run the same command again when the store is back"):
        with tracking.open_run("report", "report", "c1", {}, {}) as run:
            wire.down = True
            run.log_metrics({"tis": 1.0})
            pytest.fail("the block must not continue")
    wire.down = False
    assert missed() == [] and tracking.read_runs("report") == []


def test_secrets_of_the_address_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert store.shown(address) == shown


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
def test_a_request_is_retried_while_the_store_is_away_for_a_moment(fault: Exception) -> None:
    (call,) = failing(3, fault)
    assert with_retries(call, "there", patience=60) == "answer"
    (call,) = failing(10**6, fault)
    with pytest.raises(StoreLost, match="the tracking store at there does not answer any more"):
        with_retries(call, "there")


def test_a_permanent_error_is_not_retried() -> None:
    (call,) = failing(1, MlflowException("Invalid parameter"))
    with pytest.raises(MlflowException, match="Invalid parameter"):
        with_retries(call, "there")
    assert call() == "answer"


def test_what_counts_as_away() -> None:
    chained = MlflowException("wrapped")
    chained.__cause__ = LOCKED
    full = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert is_away(chained) and not is_away(ValueError("no"))
    assert is_full_disk(full) and not is_away(full)
    answers = {
        "TEMPORARILY_UNAVAILABLE": True, "REQUEST_LIMIT_EXCEEDED": True, "BAD_REQUEST": False, "RESOURCE_DOES_NOT_EXIST": False,
    }  # fmt: skip
    assert {code: is_away(RestException({"error_code": code, "message": "m"})) for code in answers} == answers
    lost = StoreLost("retried already")
    lost.__cause__ = TimeoutError()
    assert is_away(lost.__cause__) and not is_away(lost)


def test_what_was_retried_in_a_call_is_not_retried_again(wire: Wire) -> None:
    client, calls = tracking.connect(), 0

    def request() -> None:
        nonlocal calls
        calls += 1
        raise TimeoutError

    with pytest.raises(StoreLost, match="does not answer any more [(]TimeoutError[)]; what is finished is kept: run"):
        store.ask(client, lambda client: store.each(client, request))
    inner, calls = calls, 0
    with pytest.raises(StoreLost):
        store.each(client, request)
    assert inner <= 2 * calls


def test_a_gateways_answer_without_a_code_is_told_as_it_is() -> None:
    forbidden = RestException({"message": "Forbidden"})  # MLflow takes it for its own error 500
    assert http_status(forbidden) is None and not is_away(forbidden) and login_refused("there", forbidden) is None
    assert retry.describe(forbidden) == ("it does not answer (INTERNAL_ERROR: Forbidden)", "")


@pytest.mark.parametrize("ends", ["block", "call"])
def test_threads_do_not_go_on_when_one_fails_or_the_block_ends(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is heard at once though the store is away, and no further request is begun."""
    monkeypatch.delenv(retry.RETRIES, raising=False)
    monkeypatch.setattr(retry, "FIRST_WAIT", 2.0)
    begun, sent, waiting = list[int](), list[int](), threading.Barrier(retry.AT_ONCE + 1)

    def call(item: int) -> int:
        begun.append(item)
        if item >= retry.AT_ONCE:
            return item
        waiting.wait(60)
        if ends == "call" and item == 3:
            raise InputError("of item 3")

        def request() -> int:
            sent.append(item)
            raise TimeoutError

        return with_retries(request, "there", patience=6)

    error = KeyboardInterrupt if ends == "block" else StoreLost  # of item 0, which stopped since item 3 failed
    with pytest.raises(error), retry.several_requests() as send:
        results = send(call, range(100))
        assert os.environ[retry.RETRIES] == "0"
        waiting.wait(60)
        if ends == "block":
            raise KeyboardInterrupt
        list(results)
    assert sorted(begun) == list(range(retry.AT_ONCE)) and retry.RETRIES not in os.environ
    assert sorted(sent) == [item for item in range(retry.AT_ONCE) if ends == "block" or item != 3]  # each once


def test_results_of_several_requests_are_in_order() -> None:
    with retry.several_requests() as send:
        assert list(send(lambda item: item**2, range(100))) == [item**2 for item in range(100)]


def test_no_run_is_written_after_the_lock_of_writing_is_left(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server, whose runs several threads write."""
    monkeypatch.setattr(store, "engine", lambda client: None)
    forgotten, held = list[str](), []

    def forget(stage: str, cells: list[str]) -> None:
        forgotten.extend(cells)
        if len(forgotten) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(tracking.missed, "forget", forget)
    written = bulk.store.one_writer

    @contextmanager
    def one_writer(client: MlflowClient) -> Iterator[None]:
        with written(client):
            try:
                yield
            finally:
                held.append(threading.active_count())

    monkeypatch.setattr(store, "one_writer", one_writer)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        tracking.write_runs("rank", [tracking.RunRecord(f"r{n}", f"r{n}", {}, {"x": 1.0}) for n in range(60)], "runs")
    assert held == [before]  # no thread is left
    monkeypatch.undo()
    assert len(tracking.read_runs("rank")) < 60


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_a_status_is_found_however_mlflow_tells_it(status: int) -> None:
    response = Response()
    response.status_code = status
    wrapped = MlflowException("API request to http://there failed with exception HTTPConnectionPool: Max retries exceeded")
    wrapped.__cause__ = RetryError(f"(Caused by ResponseError('too many {status} error responses'))")
    by_proxy = MlflowException(f"API request to endpoint /api/2.0 failed with error code {status} != 200. Response body: '<html>'")
    for error in (HTTPError("no", response=response), wrapped, by_proxy):
        assert http_status(error) == status
        assert is_away(error) == (status in (429, 500, 502, 503, 504))
        assert (login_refused("there", error) is None) == (status not in (401, 403))
    assert http_status(MlflowException("Run 503 not found")) is None and http_status(NoConnection("refused")) is None


def test_the_log_says_once_that_the_store_is_away(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="medtransfer")
    (call,) = failing(3, TimeoutError("read timed out"))
    assert with_retries(call, "there", patience=60) == "answer" and not caplog.messages
    monkeypatch.setattr(retry, "SILENCE", 0.0)
    monkeypatch.setattr(retry, "_said_until", {})
    for _ in range(2):  # of several threads, one
        (call,) = failing(3, TimeoutError("read timed out"))
        assert with_retries(call, "there", patience=60) == "answer"
    (line,) = caplog.messages
    assert re.fullmatch(
        r"the tracking store at there is away: it does not answer \(read timed out\); trying for (60|59) s more", line
    )


def test_mlflow_sends_nothing_again_by_itself_within_any_of_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(retry.RETRIES, raising=False)
    first, second = retry.own_retries(), retry.own_retries()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ[retry.RETRIES] == "0"
    second.__exit__(None, None, None)
    assert retry.RETRIES not in os.environ
    monkeypatch.setenv(retry.RETRIES, "5")
    with retry.own_retries():
        assert os.environ[retry.RETRIES] == "5"
    assert os.environ[retry.RETRIES] == "5"


def test_a_locked_database_is_waited_for(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 60.0)
    monkeypatch.setattr(store, "SECONDS_BUSY", 0.05)
    tracking.connect()
    other = sqlite3.connect(workplace / "mlflow.db", check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    refusals: list[BaseException] = []

    def refuse(fault: BaseException) -> bool:
        refusals.append(fault)
        if len(refusals) == 2:
            other.rollback()
        return is_away(fault)

    monkeypatch.setattr(retry, "is_away", refuse)
    with tracking.open_run("score", "x", "c1", {"lr": 1}, {}) as run:
        run.log_metrics({"loss": 1.0})
    assert len(refusals) == 2 and "database is locked" in str(refusals[0])
    assert tracking.read_curve(run.id, "loss") == {0: 1.0} and missed() == []


def test_a_stop_is_heard_while_the_database_is_locked(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 600.0)
    monkeypatch.setattr(store, "SECONDS_BUSY", 0.05)
    other = sqlite3.connect(workplace / "mlflow.db", check_same_thread=False)
    refused, heard = threading.Event(), threading.Event()

    def refuse(fault: BaseException) -> bool:
        refused.set()
        if heard.is_set():
            other.rollback()
        return is_away(fault)

    def stop() -> None:
        refused.wait()
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), tracking.open_run("score", "x", "c1", {"lr": 1}, {}) as run:
        monkeypatch.setattr(retry, "is_away", refuse)
        other.execute("BEGIN EXCLUSIVE")
        try:
            run.log_metrics({"loss": 1.0})
        except KeyboardInterrupt:
            heard.set()
            raise
    assert tracking.read_runs("score", status="RUNNING") == [] and len(tracking.read_runs("score", status="KILLED")) == 1


def test_of_a_stored_and_a_missed_result_the_newer_one_counts(wire: Wire) -> None:
    work(wire, "c1", 99)
    (older,) = tracking.read_runs("finetune")
    time.sleep(0.01)
    work(wire, "c1", 3)
    (mark,) = Path(".medtransfer/missed").iterdir()
    kept = mark.read_bytes()
    wire.down = False
    next_command("c1")
    (missed_one,) = tracking.read_runs("finetune")
    assert missed_one.id != older.id and missed() == [] and tracking.read_runs("finetune", status="RUNNING") == []
    killed = {run.id: run for run in tracking.read_runs("finetune", status="KILLED")}
    assert len(killed) == 2 and killed[older.id].tags["medtransfer.superseded_by"] == missed_one.id
    time.sleep(0.01)
    work(wire, "c1", 99)
    (newest,) = tracking.read_runs("finetune")
    mark.write_bytes(kept)
    next_command("c1")
    assert [run.id for run in tracking.read_runs("finetune")] == [newest.id] != [missed_one.id] and missed() == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"stage": "x"}', b"\xff\xfe", b"[" * 9999], ids=repr)
def test_a_damaged_mark_stops_no_command(content: bytes, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    work(wire, "c1", 1)
    wire.down = False
    Path(".medtransfer/missed/broken.json").write_bytes(content)
    next_command("c1")
    assert missed() == [] and not list(Path(".medtransfer/missed").iterdir())
    assert "broken.json" in caplog.text and len(tracking.read_runs("finetune")) == 1


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

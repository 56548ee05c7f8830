"""Runs that are written as rows equal those that MLflow's client writes, and a transaction is all or nothing."""

import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from medtransfer import tracking
from medtransfer.tracking import bulk, rows
from medtransfer.tracking.rows import Plain

pytestmark = pytest.mark.usefixtures("workplace")
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")
OWN = {"run_uuid", "start_time", "end_time", "timestamp", "artifact_uri"}  # columns in which any two runs differ


def records(prefix: str, count: int = 1) -> list[tracking.RunRecord]:
    """Return records with everything that rows can hold, and values that SQL does not have."""
    metrics = {"dice": 0.5, "undefined": math.nan, "most": math.inf, "least": -math.inf}
    curves = {"loss": {3: 0.25, 1: 1.0, 2: math.nan}, "none": {}, "whole": {0: 1}}
    params = {"lr": 1e-3, "stop_on": None, "long": "x" * 10_000, **{f"p{number}": number for number in range(150)}}
    tags = {"mine": "yes"}
    return [tracking.RunRecord(f"{prefix} {n}", f"{prefix}{n}", params, metrics, curves, tags) for n in range(count)]


def stored(prefix: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of the runs of these names by table, without what any two runs differ in."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with sqlite3.connect("mlflow.db") as store:
        for table in TABLES:
            columns = [line[1] for line in store.execute(f"PRAGMA table_info({table})") if line[1] not in OWN]
            chosen = ", ".join(f"t.{name}" for name in columns)
            query = f"SELECT {chosen} FROM {table} t JOIN runs r USING (run_uuid) WHERE r.name LIKE ?"
            found[table] = sorted(
                tuple(str(value).replace(prefix, "") for value in row) for row in store.execute(query, [f"{prefix} %"])
            )
    return found


def test_rows_are_those_of_mlflows_client(monkeypatch: pytest.MonkeyPatch):
    assert tracking.write_runs("score", records("rows"), "runs") == 1
    with monkeypatch.context() as patch:
        patch.setattr(bulk.Plain, "of", lambda record: None)
        assert tracking.write_runs("score", records("client"), "runs") == 1
    assert stored("rows") == stored("client")
    assert {table: len(found) for table, found in stored("rows").items() if table != "tags"} == {
        "runs": 1, "params": 153, "metrics": 8, "latest_metrics": 6,
    }  # fmt: skip
    client = tracking.connect()
    first, second = (client.get_run(run.id) for run in tracking.read_runs("score"))
    assert (first.data.params, first.data.metrics["loss"]) == (second.data.params, 0.25)
    for run in (first, second):
        assert run.info.artifact_uri == (Path.cwd() / "mlartifacts" / "score" / run.info.run_id / "artifacts").as_uri()


def test_what_needs_the_client_is_written_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "note").write_text("x")
    with_file = tracking.RunRecord("file", "file", {}, artifacts={"note": tmp_path / "note"})
    assert Plain.of(with_file) is None
    assert Plain.of(tracking.RunRecord("refused", "refused", {"no\nname": 1})) is None
    created: list[str] = []
    create = MlflowClient.create_run
    monkeypatch.setattr(
        MlflowClient, "create_run", lambda self, *a, **named: created.append(named["run_name"]) or create(self, *a, **named)
    )
    assert tracking.write_runs("score", [with_file, *records("rows", 3)], "runs") == 4
    assert created == ["file"]
    assert {run.tags[tracking.CELL] for run in tracking.read_runs("score")} == {"file", "rows0", "rows1", "rows2"}


def test_runs_start_in_the_order_of_the_records(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "AT_ONCE", 2)
    tracking.write_runs("score", records("rows", 5), "runs")
    newest_first = tracking.read_runs("score")
    assert [run.tags[tracking.CELL] for run in newest_first] == [f"rows{n}" for n in (4, 3, 2, 1, 0)]
    assert len({run.started for run in newest_first}) == 5


def test_a_transaction_whose_answer_is_lost_is_not_written_twice(monkeypatch: pytest.MonkeyPatch):
    insert, calls = rows._insert, []

    def lose_first(*given: Any) -> None:
        insert(*given)
        calls.append(given)
        if len(calls) == 1:
            raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(rows, "_insert", lose_first)
    assert tracking.write_runs("score", records("rows", 3), "runs") == 3
    assert (len(calls), len(tracking.read_runs("score"))) == (2, 3)


def test_an_interrupted_write_leaves_whole_transactions(monkeypatch: pytest.MonkeyPatch):
    make, calls = rows._rows, []

    def stop(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return make(*given)

    monkeypatch.setattr(rows, "AT_ONCE", 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rows, "_rows", stop)
        tracking.write_runs("score", records("rows", 5), "runs")
    assert {run.tags[tracking.CELL] for run in tracking.read_runs("score")} == {"rows0", "rows1"}
    assert not tracking.read_runs("score", status="RUNNING")
    assert tracking.write_runs("score", records("rows", 5), "runs") == 3


def test_nothing_to_write_needs_no_client(monkeypatch: pytest.MonkeyPatch):
    tracking.write_runs("score", records("rows", 2), "runs")

    def refuse() -> None:
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr(bulk.store, "connect", refuse)
    assert tracking.write_runs("score", [], "runs") == tracking.write_runs("score", records("rows", 2), "runs") == 0


def test_into_tables_of_another_revision_the_client_writes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "REVISION", "of the future")
    monkeypatch.setattr(rows, "write_plain", lambda *_: pytest.fail("rows were written"))
    assert tracking.write_runs("score", records("client"), "runs") == 1
    assert [run.params["lr"] for run in tracking.read_runs("score")] == ["0.001"]

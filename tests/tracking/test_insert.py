"""Runs that are inserted directly are, column by column, those that MLflow's client would have written."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtransfer import tracking
from medtransfer.tracking import insert

VOLATILE = {"run_uuid", "start_time", "end_time", "timestamp"}
PLAIN = tracking.RunRecord(
    "the name", "c1", {"lr": 1e-3, "stop_on": None, "a-b.c d": "x"}, {"dice": 0.5, "both": 1.0},
    {"loss": {3: 1.0, 1: np.float64(2.0)}, "both": {2: 0.25}, "none": {}}, {"mine": "yes", "mlflow.user": "ann"},
)  # fmt: skip


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Read every table of runs, without ids and times."""
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        tables = {name: connection.execute(f"SELECT * FROM {name}").fetchall()
                  for name in ("runs", "tags", "params", "metrics", "latest_metrics")}  # fmt: skip
    return {
        name: sorted(str([(key, str(row[key]).replace(row["run_uuid"], "ID")) for key in row.keys() if key not in VOLATILE])  # noqa: SIM118
                     for row in some)
        for name, some in tables.items()
    }  # fmt: skip


def test_an_inserted_run_is_as_the_client_writes_it(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, written = workplace / "mlflow.db", []
    for inserted in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(insert, "is_plain", lambda record, inserted=inserted: inserted)
            assert tracking.write_runs("score", [PLAIN], "runs") == 1
        written.append(rows(path))
        run = tracking.find_finished("score", "c1")
        assert run is not None and tracking.read_curve(run.id, "loss") == {1: 2.0, 3: 1.0}
        tracking.connect().delete_run(run.id)
        with sqlite3.connect(path) as connection:
            connection.executescript("".join(f"DELETE FROM {name};" for name in (*list(written[0])[1:], "runs")))
    assert written[0] == written[1]
    assert [len(some) for some in written[0].values()][0] == 1


def test_a_chunk_is_written_once_and_whole(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [tracking.RunRecord(f"run {n}", f"cell{n}", {"n": n}) for n in range(5)]
    original: Callable[..., None] = insert.insert_runs
    calls: list[object] = []

    def twice_then_stop(*arguments: Any) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)
        original(*arguments)  # as after a commit whose answer was lost
        calls.append(arguments)

    monkeypatch.setattr(insert, "CHUNK", 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(insert, "insert_runs", twice_then_stop)
        tracking.write_runs("score", records, "runs")
    assert len(tracking.read_runs("score")) == 4
    assert tracking.write_runs("score", records, "runs") == 1


@pytest.mark.parametrize(
    "changed",
    [{"name": "x" * 251}, {"params": {"a/b": 1}}, {"params": {"a": "x" * 501}}, {"metrics": {"a\nb": 1.0}},
     {"curves": {"a": {1: float("nan")}}}, {"tags": {"": "x"}}, {"artifacts": {"tests": Path(__file__).parent}},
     {"datasets": [("heart", "d", Path(), "testing")]}],
    ids=str,
)  # fmt: skip
def test_what_the_client_checks_or_changes_is_left_to_it(changed: dict[str, Any]) -> None:
    assert insert.is_plain(PLAIN)
    assert not insert.is_plain(tracking.RunRecord(**{"name": "x", "cell": "c", "params": {}, **changed}))

"""Everything that is read from a store is the same from its tables and through MLflow's own client."""

import logging
import math
import multiprocessing
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from sqlalchemy import event, make_url
from sqlalchemy.pool import NullPool

from medtransfer import tracking
from medtransfer.tracking import query
from medtransfer.tracking import sql as tracking_sql

pytestmark = pytest.mark.long


@pytest.fixture(params=["tables", "client"])
def way(request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read an empty store in the one way or the other."""
    if request.param == "client":
        monkeypatch.setattr(query, "tables", lambda client: None)
    else:
        monkeypatch.setattr("mlflow.MlflowClient.search_runs", None)
        monkeypatch.setattr("mlflow.MlflowClient.get_metric_history", None)
    return str(request.param)


def finish(cell: str, *points: Metric, stage: str = "score", **params: object) -> str:
    with tracking.open_run(stage, cell, cell, params, {"mine": cell.upper()}) as run:
        run.client.log_batch(run.id, metrics=list(points))  # type: ignore[union-attr]
    time.sleep(0.002)
    return run.id


def point(name: str, value: float, step: int = 0, timestamp: int = 1000) -> Metric:
    return Metric(name, value, timestamp, step)


def test_params_metrics_tags_and_start(way: str):
    before = int(time.time() * 1000)
    run_id = finish("c1", point("dice", 0.5), point("loss", 2.0), lr=1e-3, source="imagenet", empty="")
    (found,) = tracking.read_runs("score")
    assert (found.id, found.params, found.metrics) == (
        run_id, {"lr": "0.001", "source": "imagenet", "empty": ""}, {"dice": 0.5, "loss": 2.0},
    )  # fmt: skip
    assert {"mine": "C1", tracking.CELL: "c1", tracking.STAGE: "score", "mlflow.runName": "c1"}.items() <= found.tags.items()
    assert before <= found.started <= time.time() * 1000


def test_both_ways_give_the_same_of_everything(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        finish(f"c{number}", point("dice", number / 7), point("dice", 1 / 3, 4), point("hd95", math.inf), lr=number)
    tables = tracking.read_runs("score"), tracking.read_curves([one.id for one in tracking.read_runs("score")], "dice")
    monkeypatch.setattr(query, "tables", lambda client: None)
    client = tracking.read_runs("score"), tracking.read_curves([one.id for one in tracking.read_runs("score")], "dice")
    assert tables == client
    assert [one.params["lr"] for one in client[0]] == list("43210")


def test_only_what_is_asked_for_is_given(way: str):
    finish("c1", point("dice", 0.5), point("loss", 2.0), lr=1e-3, seed=5)
    kept = {tracking.CELL: "c1", tracking.STAGE: "score"}
    (found,) = tracking.read_runs("score", only=("dice", "seed", "mine", "unheard_of"))
    assert (found.params, found.metrics, found.tags) == ({"seed": "5"}, {"dice": 0.5}, {**kept, "mine": "C1"})
    (found,) = tracking.read_runs("score", only=())
    assert (found.params, found.metrics, found.tags) == ({}, {}, kept)


def test_names_that_no_run_has_are_not_sought_in_each(workplace: Path):
    finish("c1", point("dice", 0.5), lr=1e-3)
    engine = tracking_sql.open_tables(tracking.store_uri())
    assert engine is not None
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: sent.append(statement))
    assert tracking_sql.read_run_rows(engine, {tracking.STAGE: "finetune"}, "FINISHED", None) == []
    assert len(sent) == 1  # there are no runs to read anything of
    sent.clear()
    (row,) = tracking_sql.read_run_rows(engine, {tracking.STAGE: "score"}, "FINISHED", {"lr", "unheard_of"})
    assert (row["params"], row["tags"], row["metrics"]) == ({"lr": "0.001"}, {tracking.STAGE: "score"}, {})
    assert sum("JOIN" in statement for statement in sent) == 2  # the runs, and their params


def test_runs_are_read_by_cell_stage_and_status(way: str):
    ids = {cell: finish(cell) for cell in ("c1", "c2", "c3")}
    finish("c1", stage="finetune")
    tracking.connect().create_run("0")  # somebody else's
    open_one = tracking.connect().create_run("0", tags={tracking.STAGE: "score", tracking.CELL: "c1"}).info.run_id
    assert [one.id for one in tracking.read_runs("score")] == [ids["c3"], ids["c2"], ids["c1"]]
    assert [one.id for one in tracking.read_runs("score", "c2")] == [ids["c2"]]
    assert [one.id for one in tracking.read_runs("score", status="RUNNING")] == [open_one]
    assert tracking.read_runs("search") == []


def test_deleted_runs_and_experiments_are_gone_until_they_are_restored(way: str):
    client = tracking.connect()
    kept, deleted = finish("c1"), finish("c2")
    client.delete_run(deleted)
    assert tracking.find_finished("score", "c2") is None
    elsewhere = client.create_experiment("elsewhere")
    other = client.create_run(elsewhere, tags={tracking.STAGE: "score", tracking.CELL: "c3"}).info.run_id
    client.set_terminated(other, "FINISHED")
    assert {one.id for one in tracking.read_runs("score")} == {kept, other}
    client.delete_experiment(elsewhere)
    assert [one.id for one in tracking.read_runs("score")] == [kept]
    client.restore_run(deleted)
    assert {one.id for one in tracking.read_runs("score")} == {kept, deleted}


def test_runs_are_found_by_their_state(way: str):
    client = tracking.connect()
    ids = {}
    for one in ("FINISHED", "FAILED", "KILLED", "RUNNING"):
        ids[one] = client.create_run("0", tags={tracking.STAGE: "score", tracking.CELL: "c1"}).info.run_id
        if one != "RUNNING":
            client.set_terminated(ids[one], one)
    assert {status: [run.id for run in tracking.read_runs("score", status=status)] for status in ids} == {
        status: [run_id] for status, run_id in ids.items()
    }


def test_runs_of_one_instant_have_an_order(way: str):
    client = tracking.connect()
    ids: dict[int, list[str]] = {}
    for started in (2000, 1000, 3000, 2000, 1000, 2000, 3000):
        tags = {tracking.STAGE: "score", tracking.CELL: "c1"}
        ids.setdefault(started, []).append(client.create_run("0", start_time=started, tags=tags).info.run_id)
        client.set_terminated(ids[started][-1], "FINISHED")
    expected = [run_id for started in (3000, 2000, 1000) for run_id in sorted(ids[started])]
    assert [run.id for run in tracking.read_runs("score")] == expected


def test_runs_beyond_a_page_are_read(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        tracking.connect().create_experiment(f"elsewhere {number}")
    expected = [finish(f"c{number}") for number in range(5)][::-1]
    monkeypatch.setattr(query, "tables", lambda client: None)
    for name in ("search_runs", "search_experiments"):
        original = getattr(MlflowClient, name)

        def small(self: MlflowClient, *given: Any, original: Any = original, **named: Any) -> Any:
            return original(self, *given, **{**named, "max_results": 2})

        monkeypatch.setattr(MlflowClient, name, small)
    assert [run.id for run in tracking.read_runs("score")] == expected


def test_a_cell_may_hold_any_character(way: str):
    cells = [
        "it's",
        "o'neill's \"own\" ; --",
        'say "it"',
        """say "it's\"""",
        "back\\slash",
        "per%cent",
        "under_score",
        "underXscore",
        "ü",
    ]
    ids = {cell: finish(cell, source=cell) for cell in cells}
    for cell in cells:
        (found,) = tracking.read_runs("score", cell)
        assert (found.id, found.tags[tracking.CELL], found.params) == (ids[cell], cell, {"source": cell})


def test_metrics_and_curves(way: str, monkeypatch: pytest.MonkeyPatch):
    """MLflow keeps no infinity in a database, but the largest number that it can hold; the last step is a run's value."""
    monkeypatch.setattr(tracking_sql, "CHUNK", 2)
    largest = sys.float_info.max
    curves = {
        "hd95": [point("hd95", math.inf)],
        "fall": [point("fall", -math.inf), point("fall", 1.0, 1)],
        "late": [point("late", 0.1, 5, 1000), point("late", 0.9, 3, 2000)],
        "many": [point("many", step / 10, step) for step in (300, 1, 20, 5)],  # of one time, in any order
        "nan": [point("nan", 1.0, 1), point("nan", math.nan, 2)],
    }
    run_id, ids = finish("c1", *sum(curves.values(), [])), [finish(f"d{n}", point("fall", n / 10, n)) for n in range(5)]
    values = tracking.read_runs("score", "c1")[0].metrics
    assert math.isnan(values.pop("nan"))
    assert values == {"hd95": largest, "fall": 1.0, "late": 0.1, "many": 30.0}
    assert tracking.read_curve(run_id, "hd95") == {0: largest}
    assert list(tracking.read_curve(run_id, "many").items()) == [(1, 0.1), (5, 0.5), (20, 2.0), (300, 30.0)]
    nan = tracking.read_curve(run_id, "nan")
    assert nan[1] == 1.0 and math.isnan(nan[2]) and set(nan) == {1, 2}
    expected = {run_id: {0: -largest, 1: 1.0}, **{run: {n: n / 10} for n, run in enumerate(ids)}}
    assert tracking.read_curves([run_id, *ids], "fall") == expected
    assert tracking.read_curves(ids[:2], "unheard_of") == {ids[0]: {}, ids[1]: {}}
    assert tracking.read_curves([], "fall") == {}
    metrics = ["fall", "unheard_of", "dice"]
    assert tracking.read_all_curves(ids, metrics) == {metric: tracking.read_curves(ids, metric) for metric in metrics}


@pytest.mark.parametrize("backwards", [False, True])
def test_the_latest_then_the_largest_value_of_a_step_counts(way: str, backwards: bool):
    points = [
        point("dice", 0.9, 1, 1000), point("dice", 0.2, 1, 2000),  # the latest is not the largest
        point("dice", 0.3, 2, 1000), point("dice", 0.7, 2, 1000),  # equally late
        point("dice", -0.5, 3, 1000), point("dice", math.nan, 3, 1000),  # NaN stands where MLflow puts it, at zero
    ]  # fmt: skip
    run_id = finish("c1", *(points[::-1] if backwards else points))
    curve = tracking.read_curve(run_id, "dice")
    assert (curve[1], curve[2]) == (0.2, 0.7)
    assert math.isnan(curve[3])


def test_more_runs_than_a_query_takes(way: str):
    others = 2 * tracking_sql.CHUNK if way == "tables" else 20  # the client asks for each of them
    ids = [finish("c0", point("dice", 0.25, 3)), *(f"{number:032x}" for number in range(others))]
    ids += [finish("c1", point("dice", 0.75, 4)), ids[0]]  # one of them twice
    found = tracking.read_curves(ids, "dice")
    assert {run: curve for run, curve in found.items() if curve} == {ids[0]: {3: 0.25}, ids[-2]: {4: 0.75}}
    assert found.keys() == set(ids)


def test_artifacts_of_many_runs_are_located_at_once(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking_sql, "CHUNK", 2)
    runs = [finish(f"c{number}") for number in range(3)]
    for run in runs:
        (workplace / "mlartifacts" / "score" / run / "artifacts" / "scores").mkdir(parents=True)
    tracking.locate_artifacts([*runs, "no run"])
    monkeypatch.setattr("medtransfer.tracking.sql.Engine.connect", None)
    for run in runs:
        with tracking.artifact_folder(run, "scores") as folder:
            assert folder.parts[-3:] == (run, "artifacts", "scores")


@pytest.mark.parametrize("how", ["overwritten", "another file in its place", "deleted and put back"])
def test_tables_of_a_replaced_file_are_read_again(workplace: Path, empty_store: Path, how: str):
    """The cached engine keeps no connection, so it reads what lies at the address now."""
    store, other = workplace / "mlflow.db", workplace / "other.db"
    finish("c1")
    shutil.copy(store, other)
    finish("c2")
    engine = tracking_sql.open_tables(f"sqlite:///{store}")
    assert engine is not None
    tags = {tracking.STAGE: "score"}
    assert len(tracking_sql.read_run_rows(engine, tags, "FINISHED", None)) == 2
    if how == "overwritten":
        shutil.copy(other, store)
    else:
        if how == "deleted and put back":
            store.unlink()
        other.rename(store)
    assert tracking_sql.open_tables(f"sqlite:///{store}") is engine
    assert [row["tags"][tracking.CELL] for row in tracking_sql.read_run_rows(engine, tags, "FINISHED", None)] == ["c1"]


def test_a_forked_process_reads_too(workplace: Path):
    """A connection to SQLite must not be carried across a fork; there is none to carry."""
    finish("c1", point("dice", 0.5))
    engine = tracking_sql.open_tables(f"sqlite:///{workplace / 'mlflow.db'}")
    assert engine is not None and isinstance(engine.pool, NullPool)

    def read() -> None:
        rows = tracking_sql.read_run_rows(engine, {tracking.STAGE: "score"}, "FINISHED", None)
        assert [row["metrics"] for row in rows] == [{"dice": 0.5}]

    read()
    child = multiprocessing.get_context("fork").Process(target=read)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    read()


@pytest.fixture
def unknown_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Expect a column that this MLflow does not have, as a future one may lack one of ours."""
    monkeypatch.setattr(tracking_sql, "COLUMNS", {**tracking_sql.COLUMNS, "runs": {"run_uuid", "of_the_future"}})
    tracking_sql.open_tables.cache_clear()
    yield
    tracking_sql.open_tables.cache_clear()


def test_unknown_tables_are_read_through_the_client(workplace: Path, unknown_tables: None, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "medtransfer")
    run_id = finish("c1", point("dice", 0.5))
    assert [one.metrics for one in tracking.read_runs("score")] == [{"dice": 0.5}]
    assert tracking.read_curve(run_id, "dice") == {0: 0.5}
    warnings = [line for line in caplog.messages if "other tables than expected" in line]
    assert len(warnings) == 1 and "mlflow.db" in warnings[0]


def test_a_server_is_read_through_the_client():
    assert query.tables(SimpleNamespace(tracking_uri="http://127.0.0.1:5000")) is None  # type: ignore[arg-type]


def test_passwords_are_not_logged(unknown_tables: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking_sql, "inspect", lambda engine: type("Nothing", (), {"get_table_names": lambda self: ["others"]})())
    monkeypatch.setattr(tracking_sql, "create_engine", lambda uri, **_: type("Engine", (), {"url": make_url(uri)})())
    assert tracking_sql.open_tables("postgresql://me:secret@127.0.0.1/mlflow") is None
    assert "postgresql://me:***@127.0.0.1/mlflow" in caplog.text and "secret" not in caplog.text

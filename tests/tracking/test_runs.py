"""Runs in a real store: opened once, closed with the right status, found again; what is wrong with a store is told."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as StoredByMlflow
from sqlalchemy import Engine, event

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.signals import Stopped, stop_on_sigterm
from medtransfer.tracking import RunRecord

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def store(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work beside an empty embedded store, as a user does who names none."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return workplace / "mlflow.db"


def finish(cell: str, stage: str = "score", **params: object) -> str:
    """Make one finished run and give its id."""
    with tracking.open_run(stage, f"run of {cell}", cell, params, {}) as run:
        return run.id


def all_runs() -> list[StoredByMlflow]:
    client = tracking.connect()
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))


@pytest.fixture
def told_to_stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Return a switch: SIGTERM comes while the database works on the statement of that number."""
    left = [0]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGTERM)

    def switch(number: int) -> None:
        left[0] = number
        stop_on_sigterm()

    before = signal.getsignal(signal.SIGTERM)
    event.listen(Engine, "after_cursor_execute", count)
    yield switch
    event.remove(Engine, "after_cursor_execute", count)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def project_run(monkeypatch: pytest.MonkeyPatch) -> str:
    """Open a run as `mlflow run -e score -P lr=0.001 --experiment-name mine` does before it starts the command."""
    client = tracking.connect()
    run_id = client.create_run(client.create_experiment("mine")).info.run_id
    client.log_param(run_id, "lr", "0.001")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


def test_a_run_is_one_run_with_its_params_tags_and_name() -> None:
    Path("dvc.lock").write_text("stages: {}")
    with tracking.open_run("score", "the name", "c1", {"lr": 1e-3, "stop_on": None}, {"mine": "yes"}) as run:
        assert tracking.connect().get_run(run.id).info.status == "RUNNING"
    (found,) = all_runs()
    assert (found.info.run_id, found.info.status, found.info.run_name) == (run.id, "FINISHED", "the name")
    assert found.data.params == {"lr": "0.001", "stop_on": "None"}
    tags = found.data.tags
    assert (tags["medtransfer.stage"], tags["medtransfer.cell"], tags["mine"]) == ("score", "c1", "yes")
    assert tags["git_revision"] == "none" and "version.torch" in tags
    assert tags["dvc_revision"] == file_sha256(Path("dvc.lock"))[:12]


def log_one(number: int) -> None:
    with tracking.open_run("score", "the name", f"c{number}", {"lr": 1}, {}) as run:
        run.log_metrics({"dice": 0.5})


def write_three(number: int) -> None:
    tracking.write_runs("score", [RunRecord(f"run {n}", f"w{n}", {"lr": "1"}, {"dice": 0.5}) for n in range(3)], "runs")


@pytest.mark.parametrize(("work", "statements"), [(log_one, 30), (write_three, 3)])
def test_a_stop_in_the_middle_of_any_request_leaves_no_run_open(
    work: Callable[[int], None], statements: int, told_to_stop: Callable[[int], None]
) -> None:
    finish("first")
    for number in itertools.count(1, 4):
        told_to_stop(number)
        try:
            work(number)
        except Stopped:
            assert tracking.read_runs("score", status="RUNNING") == []
        else:
            break
    told_to_stop(0)
    assert number > statements
    done = {run.tags["medtransfer.cell"] for run in tracking.read_runs("score")}
    assert done >= ({"first", f"c{number}"} if work is log_one else {"first", "w0", "w1", "w2"})
    assert work is write_three or len(tracking.read_runs("score", status="KILLED")) > 6


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED"), (ValueError, "FAILED"), (InputError, "FAILED")],
)
def test_a_run_that_breaks_off_is_not_finished(error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.open_run("score", "x", "c1", {}, {}):
        raise error
    assert [run.info.status for run in all_runs()] == [status]
    assert tracking.find_finished("score", "c1") is None


def test_a_run_whose_params_the_store_refuses_does_not_stay_open() -> None:
    with pytest.raises(Exception, match="Invalid value"), tracking.open_run("score", "x", "c1", {"no\nname": 1}, {}):
        pytest.fail("the block must not begin")
    assert [run.info.status for run in all_runs()] == ["FAILED"]


def test_the_run_of_mlflow_run_is_resumed_once_and_keeps_its_params(project_run: str) -> None:
    with tracking.open_run("score", "the name", "c1", {"lr": 1e-3, "seed": 5}, {}) as run:
        assert run.id == project_run
        assert "MLFLOW_RUN_ID" not in os.environ
    (found,) = all_runs()
    assert found.data.params == {"lr": "0.001", "seed": "5"}
    assert (found.info.status, found.info.run_name) == ("FINISHED", "the name")
    with tracking.open_run("score", "another", "c2", {}, {}) as second:
        assert second.id != project_run
    assert tracking.find_finished("score", "c1").id == project_run  # type: ignore[union-attr]  # in the user's experiment


def test_the_run_of_mlflow_run_that_holds_another_result_is_left_as_it_is(
    project_run: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two commands of one entry point get the same MLFLOW_RUN_ID."""
    client = tracking.connect()
    assert finish("first") == project_run
    before = client.get_run(project_run).to_dictionary()
    for cell in ("second", "first"):  # another result, and the same one again
        monkeypatch.setenv("MLFLOW_RUN_ID", project_run)
        assert finish(cell) != project_run and "MLFLOW_RUN_ID" not in os.environ
        if cell == "second":
            assert client.get_run(project_run).to_dictionary() == before
    assert [text.split(", since ")[1].split(", which ")[1] for text in caplog.messages if "a run of its own" in text] == [
        "MLFLOW_RUN_ID names, holds another result", "MLFLOW_RUN_ID names, has ended (FINISHED)",
    ]  # fmt: skip
    assert {run.tags["medtransfer.cell"] for run in tracking.read_runs("score")} == {"first", "second"}
    monkeypatch.setenv("MLFLOW_RUN_ID", project_run)
    tracking.note_reuse("another run")
    assert "medtransfer.reuses" not in client.get_run(project_run).data.tags and "MLFLOW_RUN_ID" not in os.environ


@pytest.mark.parametrize(
    ("params", "adopted"),
    [
        ({"epoch": 5}, True), ({"epoch": 6}, False), ({"encoder": "unet"}, True), ({"encoder": "resnet"}, False),
        ({"seed": 7}, True), ({"target": "sample", "mode": "full"}, True), ({"lr": 0.002, "images": "scans", "workers": 4}, True),
    ],
)  # fmt: skip
def test_the_run_of_mlflow_run_is_not_that_of_other_params(project_run: str, params: dict[str, object], adopted: bool) -> None:
    client = tracking.connect()
    for name, value in {
        "encoder": "unet",
        "epoch": "5.0",
        "seed": "7,8",
        "target": "null",
        "mode": "[full]",
        "images": "./scans",
        "workers": "8",
    }.items():
        client.log_param(project_run, name, value)
    with tracking.open_run("score", "the name", "c1", params, {}) as run:
        assert (run.id == project_run) == adopted
    if not adopted:
        assert client.get_run(project_run).info.status == "RUNNING"


def test_a_run_that_has_ended_is_not_opened_again_but_that_of_a_cell_that_was_interrupted(
    project_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tracking.connect()
    client.set_terminated(project_run, "FAILED")
    assert finish("c1") != project_run and client.get_run(project_run).info.status == "FAILED"
    client.set_tag(project_run, "medtransfer.cell", "c2")
    monkeypatch.setenv("MLFLOW_RUN_ID", project_run)
    assert finish("c2") == project_run and client.get_run(project_run).info.status == "FINISHED"


def test_the_run_of_mlflow_run_is_kept_for_what_comes_after(project_run: str) -> None:
    with tracking.project_run_set_aside():
        with tracking.project_run_set_aside():
            assert finish("first", "prepare") != project_run
        assert finish("second", "prepare") != project_run
    with pytest.raises(ValueError), tracking.project_run_set_aside():
        raise ValueError
    assert finish("last") == project_run
    with tracking.project_run_set_aside():  # nothing is left to set aside
        pass
    assert "MLFLOW_RUN_ID" not in os.environ


def test_a_run_that_the_store_does_not_have_cannot_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "feed" * 8)
    with pytest.raises(InputError, match="expected MLFLOW_RUN_ID to name a run of sqlite:.*; unset it"):
        finish("c1")
    assert all_runs() == []


def test_a_reused_result_is_noted_in_the_run_of_mlflow_run(project_run: str) -> None:
    with tracking.project_run_set_aside():
        finished = finish("c1")
    tracking.note_reuse(finished)
    tags = tracking.connect().get_run(project_run).data.tags
    assert tags["medtransfer.reuses"] == finished and finished in tags["mlflow.note.content"]
    assert "MLFLOW_RUN_ID" not in os.environ
    assert [run.id for run in tracking.read_runs("score")] == [finished]  # the note makes no result
    tracking.note_reuse(finished)  # and without a run of MLflow's there is none
    assert tracking.connect().get_run(finished).data.tags.keys().isdisjoint({"medtransfer.reuses"})


def test_what_an_interrupted_process_left_open_is_closed() -> None:
    client = tracking.connect()
    left = {}
    for stage, cell in (("score", "c1"), ("score", "c2"), ("finetune", "c1")):
        left[stage, cell] = client.create_run("0", tags={tracking.STAGE: stage, tracking.CELL: cell}).info.run_id
    again = finish("c1")
    status = {run.info.run_id: run.info.status for run in all_runs()}
    assert status == {
        again: "FINISHED", left["score", "c1"]: "KILLED", left["score", "c2"]: "RUNNING", left["finetune", "c1"]: "RUNNING",
    }  # fmt: skip


def test_the_newest_finished_run_of_a_cell_is_found() -> None:
    assert tracking.find_finished("score", "c1") is None
    finish("c1", lr=1)
    time.sleep(0.01)
    newer = finish("c1", lr=2)
    finish("c2")
    finish("c1", stage="finetune")
    found = tracking.find_finished("score", "c1")
    assert found is not None
    assert (found.id, found.params, found.tags[tracking.CELL]) == (newer, {"lr": "2"}, "c1")


def test_what_is_logged_comes_back(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"\x00\x01")
    curve = {step: step / 7 for step in range(2345)}  # more than the store takes at once
    with tracking.open_run("finetune", "x", "c1", {}, {}) as run:
        run.log_metrics({"dice": 0.5, "loss": 2.0}, step=10)
        run.log_metrics({"dice": 0.75}, step=300)
        run.log_metrics({"final": 1.0})
        run.log_curves({"long": curve, "none": {}})
        run.log_artifact(tmp_path / "model", "model")
        run.log_dataset("heart", "0123456789ab", tmp_path / "model", "training")
    expected = {"dice": {10: 0.5, 300: 0.75}, "final": {0: 1.0}, "unheard_of": {}, "long": curve}
    assert {name: tracking.read_curve(run.id, name) for name in expected} == expected
    tracking.fetch_artifacts(run.id, "model", tmp_path / "far" / "away")
    assert [path.read_bytes() for path in (tmp_path / "far" / "away" / "model").iterdir()] == [b"\x00\x01"]
    with pytest.raises(InputError, match=f"expected the artifacts 'none' of the run {run.id}, .* --force"):
        tracking.fetch_artifacts(run.id, "none", tmp_path / "away")
    (given,) = tracking.connect().get_run(run.id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("heart", "0123456789ab")
    assert str(tmp_path / "model") in given.dataset.source
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}


def test_the_embedded_store_is_in_the_working_folder(store: Path) -> None:
    run_id = finish("c1")
    client = tracking.connect()
    assert client.tracking_uri == f"sqlite:///{store}"
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == "medtransfer/score"
    assert run.info.artifact_uri == f"{(store.parent / 'mlartifacts' / 'score').as_uri()}/{run_id}/artifacts"


def test_artifacts_are_next_to_the_database_in_any_working_folder(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = store.parent / "a store"  # a blank must not hurt
    home.mkdir()
    store.rename(home / "mine.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mine.db'}")
    Path("note").write_text("x")
    with tracking.open_run("score", "x", "c1", {}, {}) as run:
        run.log_artifact(Path("note"))
    assert (home / "mlartifacts" / "score" / run.id / "artifacts" / "note").is_file()
    assert sorted(path.name for path in store.parent.iterdir()) == ["a store", "note"]


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db"])
def test_a_queued_experiment_uses_the_projects_store(store: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = store.parent / ".dvc" / "tmp" / "exps" / "tmp12"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.connect().tracking_uri == f"sqlite:///{store}"
    finish("c1")
    assert list(copy.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_is_down_is_reported_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    begin = time.monotonic()
    with pytest.raises(InputError, match="expected a tracking store at http://127.0.0.1:9, .*; start or mend it") as error:
        tracking.connect()
    assert time.monotonic() - begin < 60
    assert "\n" not in str(error.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ  # a server that goes down later is waited for
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError):
        tracking.connect()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"  # the user's own number is kept


@pytest.mark.parametrize("uri", ["/some/folder", "file:///some/folder", "nonsense://x", "mssql+pymssql://u@127.0.0.1:9/d"])
def test_a_store_of_another_kind_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match=f"expected a tracking store at {uri.replace('+', '.')}, but it does not answer"):
        tracking.connect()


@pytest.mark.slow
def test_two_processes_may_make_the_store_at_once(store: Path) -> None:
    folder = store.parent / "fresh"
    folder.mkdir()
    code = "import sys\nfrom medtransfer import tracking\nwith tracking.open_run('score', 'x', sys.argv[1], {}, {}): pass"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    environment |= {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", code, cell], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        for cell in ("c1", "c2")
    ]
    outputs = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("medtransfer/score")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])].count("FINISHED") == 2

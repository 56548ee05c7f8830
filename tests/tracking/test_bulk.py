"""Finished runs are written in bulk, each once and whole, whatever interrupts it; and a run's artifacts lie at hand."""

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact import artifact_repository_registry

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.tracking import query

SRC = Path(__file__).parents[2] / "src"
pytestmark = [pytest.mark.usefixtures("workplace"), pytest.mark.long]


def records(count: int, **changed: Any) -> list[tracking.RunRecord]:
    return [tracking.RunRecord(f"run {n}", f"cell{n}", {"n": n}, {"dice": n / 10}, **changed) for n in range(count)]


def write(count: int, **changed: Any) -> int:
    return tracking.write_runs("score", records(count, **changed), "runs")


def states() -> Counter[tuple[str, str]]:
    """Count the runs of the store by cell and state."""
    client = tracking.connect()
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return Counter((run.data.tags.get(tracking.CELL, ""), run.info.status) for run in runs)


def once(count: int) -> dict[tuple[str, str], int]:
    return {(f"cell{n}", "FINISHED"): 1 for n in range(count)}


def test_everything_of_a_record_is_in_its_run(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"\x00\x01")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "heart").mkdir()
    curve = {step: step / 7 for step in range(2345)}
    record = tracking.RunRecord(
        "the name", "c1", {"lr": 1e-3, "stop_on": None}, {"dice": 0.5}, {"loss": curve, "none": {}}, {"mine": "yes"},
        {"model": tmp_path / "model", "note.txt": tmp_path / "note.txt", "deep/down/note.txt": tmp_path / "note.txt"},
        [("heart", "0123456789ab", tmp_path / "heart", "testing")],
    )  # fmt: skip
    assert tracking.write_runs("finetune", [record], "runs") == 1
    found = tracking.find_finished("finetune", "c1")
    assert found is not None
    assert (found.params, found.metrics) == ({"lr": "0.001", "stop_on": "None"}, {"dice": 0.5, "loss": 2344 / 7})
    assert tracking.read_curve(found.id, "loss") == curve
    run = tracking.connect().get_run(found.id)
    assert run.info.run_name == "the name"
    assert tracking.connect().get_experiment(run.info.experiment_id).name == "medtransfer/finetune"
    assert {(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs} == {("heart", "0123456789ab")}
    with tracking.artifact_folder(found.id, "") as folder:
        there = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == {"model/weights": b"\x00\x01", "note.txt": b"a note", "deep/down/note.txt": b"a note"}


def test_of_many_unreadable_folders_the_first_few_are_named(caplog: pytest.LogCaptureFixture):
    tracking.warn_of_unreadable("fine-tunings", {Path(f"m/e{n:04d}"): InputError("older") for n in range(2003)})
    assert caplog.messages == [
        "2,003 folders of fine-tunings on disk cannot be read; only what the tracking store already has is used: "
        "m/e0000 (older); m/e0001 (older); m/e0002 (older); and 2,000 more"
    ]


def test_an_artifact_is_not_renamed_unsaid(tmp_path: Path):
    (tmp_path / "note.txt").write_text("a note")
    with pytest.raises(ValueError, match="expected an artifact's name that ends in 'note.txt', its file's, but got 'deep/other'"):
        tracking.RunRecord("x", "c1", {}, artifacts={"deep/other": tmp_path / "note.txt"})
    tracking.RunRecord("x", "c1", {}, artifacts={"deep/other": tmp_path})


def test_a_written_run_has_the_tags_of_one_that_was_opened():
    write(1)
    with tracking.open_run("score", "x", "other", {}, {}):
        pass
    bulk, opened = ({*found.tags} for found in tracking.read_runs("score"))
    assert bulk == opened


def test_only_what_the_store_lacks_is_written():
    assert write(3) == 3
    assert write(3) == 0
    assert write(5) == 2
    assert states() == once(5)
    tracking.connect().delete_run(tracking.read_runs("score", "cell1")[0].id)
    assert tracking.write_runs("score", records(5) + records(5), "runs") == 1  # a deleted run again; a cell named twice, once
    assert states() == once(5)
    assert tracking.write_runs("finetune", records(5), "runs") == 5  # another stage has its own cells
    assert tracking.write_runs("score", [], "runs") == 0
    with tracking.open_run("score", "x", "other", {}, {}), tracking.open_run("score", "x", "cell0", {}, {}):
        write(5)
        assert (states()["other", "RUNNING"], states()["cell0", "RUNNING"]) == (1, 1)  # somebody else is at work on them


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated"])
def test_an_interrupted_write_is_completed_the_next_time(call: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As after SIGKILL, nothing is tidied up: the run stays open."""
    (tmp_path / "note").write_text("x")
    whole = {"artifacts": {"note": tmp_path / "note"}, "datasets": [("heart", "d", tmp_path, "testing")]}
    original, calls = getattr(MlflowClient, call), []

    def stop(self: MlflowClient, *given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) < 3:
            return original(self, *given, **named)
        if after:
            original(self, *given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, call, stop)
        write(5, **whole)
    assert ("cell2", "FINISHED") not in states() or (call, after) == ("set_terminated", True)
    write(5, **whole)
    found = states()
    assert {key: count for key, count in found.items() if key[1] == "FINISHED"} == once(5)
    assert {key for key in found if key[1] != "FINISHED"} <= {("cell2", "KILLED")}
    for run in tracking.read_runs("score"):
        assert run.metrics.keys() == {"dice"} and run.params.keys() == {"n"}
        assert len(tracking.connect().get_run(run.id).inputs.dataset_inputs) == 1
        with tracking.artifact_folder(run.id, "") as folder:
            assert (folder / "note").read_text() == "x"


@pytest.mark.parametrize(("fault", "status"), [(OSError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")])
def test_a_fault_in_the_third_run_closes_it_and_leaves_no_half_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException], status: str
):
    (tmp_path / "note").write_text("x")
    original, calls = MlflowClient.log_artifact, []

    def stop(self: MlflowClient, *given: Any) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise fault
        original(self, *given)

    with monkeypatch.context() as patch, pytest.raises(fault):
        patch.setattr(MlflowClient, "log_artifact", stop)
        write(5, artifacts={"note": tmp_path / "note"})
    assert states() == {**once(2), ("cell2", status): 1}
    assert write(5, artifacts={"note": tmp_path / "note"}) == 3
    assert states() == {**once(5), ("cell2", status): 1}


def test_what_a_killed_process_left_open_is_closed_and_written_again():
    tags = {tracking.STAGE: "score", tracking.CELL: "cell1"}
    left = tracking.connect().create_run("0", tags=tags).info.run_id
    assert write(2) == 2
    assert states() == {**once(2), ("cell1", "KILLED"): 1}
    assert tracking.connect().get_run(left).info.status == "KILLED"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"params": {"no\nname": 1}}, "Invalid value"),
        ({"params": {"long" * 100: 1}}, "maximum length"),
        ({"metrics": {"no\nname": 1.0}}, "Invalid value"),
    ],
    ids=["param", "long name", "metric"],
)
def test_a_refused_name_is_reported_and_leaves_no_finished_run(changed: dict[str, Any], words: str):
    given = {"params": {}, **changed}
    with pytest.raises(Exception, match=words):
        tracking.write_runs("score", [tracking.RunRecord("x", "cell0", **given)], "runs")
    assert states() == {("cell0", "FAILED"): 1}


def test_many_and_long_params_are_taken_up_to_the_stores_limit():
    params = {"long": "x" * 10_000, **{f"p{number}": number for number in range(250)}}
    tracking.write_runs("score", [tracking.RunRecord("x", "cell0", params, {f"m{number}": 0.5 for number in range(1200)})], "runs")
    (run,) = tracking.read_runs("score")
    assert run.params == {**{name: str(value) for name, value in params.items()}, "long": "x" * 6000}
    assert len(run.metrics) == 1200


@pytest.mark.slow
def test_two_processes_write_each_cell_once(workplace: Path):
    code = (
        "from medtransfer import tracking as t\n"
        "t.write_runs('score', [t.RunRecord(f'run {n}', f'cell{n}', {'n': n}, {'dice': 0.5}) for n in range(60)], 'runs')"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=workplace, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert states() == once(60)


def test_local_artifacts_are_read_where_they_lie(tmp_path: Path):
    (tmp_path / "note").write_text("x")
    write(1, artifacts={"scores/note": tmp_path / "note"})
    (run,) = tracking.read_runs("score")
    with tracking.artifact_folder(run.id, "scores") as folder:
        assert folder == Path.cwd() / "mlartifacts" / "score" / run.id / "artifacts" / "scores"
    assert (folder / "note").read_text() == "x"  # it is the store's own, and stays


@pytest.mark.parametrize(("number", "lists"), [(errno.ENOSPC, 0), (errno.EACCES, 1)])
def test_what_fails_here_is_not_asked_for_again(number: int, lists: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whether a server is away is asked only where that may be why; nothing is listed there."""
    asked = list[str]()

    def fail(*_: object) -> str:
        raise OSError(number, os.strerror(number))

    kept = SimpleNamespace(download_artifacts=fail)
    monkeypatch.setattr(artifact_repository_registry, "get_artifact_repository", lambda uri, tracking_uri: kept)
    monkeypatch.setattr(MlflowClient, "list_artifacts", lambda self, run_id, path: asked.append(path) or [])
    with pytest.raises(InputError, match=f"expected the artifacts 'scores/a' of the run r1, .*{os.strerror(number)}"):
        tracking.fetch_artifacts("r1", "scores/a", tmp_path / "fetched", "s3://bucket/run/artifacts")
    assert asked == ["scores"] * lists


def test_remote_artifacts_are_fetched_and_removed_afterwards(monkeypatch: pytest.MonkeyPatch):
    def fetch(run_id: str, folder: str, destination: Path, uri: str) -> Path:
        assert uri == remote.info.artifact_uri
        (destination / folder).mkdir()
        (destination / folder / "note").write_text(run_id)
        return destination / folder

    remote = SimpleNamespace(info=SimpleNamespace(artifact_uri="s3://bucket/run/artifacts"))
    monkeypatch.setattr(MlflowClient, "get_run", lambda self, run_id: remote)
    monkeypatch.setattr(query, "fetch_artifacts", fetch)
    with tracking.artifact_folder("r1", "scores") as folder:
        assert (folder / "note").read_text() == "r1"
    assert not folder.exists()

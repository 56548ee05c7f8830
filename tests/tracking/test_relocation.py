"""Artifacts stay beside an embedded store's database, whatever its folder is called and after it was moved or copied."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path, path_to_local_sqlite_uri
from mlflow.utils.uri import is_local_uri

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.tracking import store
from medtransfer.tracking.relocation import local_artifacts

Enter = Callable[[str], Path]


@pytest.fixture
def enter(workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Return a function that enters a project folder of a given name, with the embedded store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (workplace / "mlflow.db").unlink()

    def move(name: str) -> Path:
        project = workplace / name
        if not project.exists():
            project.mkdir()
            shutil.copy(empty_store, project / "mlflow.db")
        monkeypatch.chdir(project)
        return project

    return move


def log(cell: str) -> None:
    """Write a run with one artifact."""
    Path("scores.txt").write_text(cell)
    with tracking.open_run("score", cell, cell, {}, {}) as run:
        run.log_artifact(Path("scores.txt"), "scores")


def stored(project: Path) -> dict[str, str]:
    """Return the content of each cell's artifact, which must be below the project's folder."""
    contents = {}
    for run in tracking.read_runs("score"):
        with tracking.artifact_folder(run.id, "scores") as folder:
            assert folder.is_relative_to(project / "mlartifacts")
            contents[run.tags[tracking.CELL]] = (folder / "scores.txt").read_text()
    return contents


@pytest.mark.parametrize("handed_down", [False, True], ids=["embedded", "handed down by MLflow"])
@pytest.mark.parametrize("name", ["first time", "étude", "50%25x", "a#b?c"])
def test_nothing_is_written_beside_a_folder_of_any_name(
    name: str, handed_down: bool, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = enter(name)
    if handed_down:
        address = path_to_local_sqlite_uri(str(project / "mlflow.db"))
        Path(address.removeprefix("sqlite:///")).parent.mkdir(exist_ok=True)  # as `mlflow run` makes it
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    log("c1")
    assert stored(project) == {"c1": "c1"}
    assert list(project.parent.iterdir()) == [project]
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlartifacts", "scores.txt"}


@pytest.mark.parametrize("old", ["old", "old%20name"])
def test_a_moved_project_keeps_its_artifacts_and_writes_nothing_to_its_old_folder(
    old: str, enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "medtransfer")
    before = enter(old)
    log("c1")
    before.rename(before.with_name("new place"))
    project = enter("new place")
    assert stored(project) == {"c1": "c1"}
    log("c2")
    assert stored(project) == {"c1": "c1", "c2": "c2"} and not before.exists()
    places = f"{before / 'mlartifacts'} are expected in {project / 'mlartifacts'}"
    assert f"the tracking store was moved: artifacts that were in {places}" in caplog.messages


def test_a_copied_project_is_independent(enter: Enter) -> None:
    original = enter("original")
    log("c1")
    shutil.copytree(original, original.with_name("copy"))
    copy = enter("copy")
    log("c2")
    assert stored(copy) == {"c1": "c1", "c2": "c2"}
    assert stored(enter("original")) == {"c1": "c1"}


def test_artifacts_that_a_copied_database_left_behind_are_still_found(enter: Enter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "medtransfer")
    original = enter("original")
    log("c1")
    (original.parent / "copy").mkdir()
    shutil.copy("mlflow.db", original.parent / "copy")
    copy = enter("copy")
    (run,) = tracking.read_runs("score")
    with tracking.artifact_folder(run.id, "scores") as folder:
        assert folder.is_relative_to(original)
    places = f"{original / 'mlartifacts'}, new ones in {copy / 'mlartifacts'}"
    assert f"the tracking store was copied: earlier runs have their artifacts in {places}" in caplog.messages
    log("c2")
    assert len(list((copy / "mlartifacts" / "score").iterdir())) == 1


def test_a_location_of_the_users_choice_is_left_alone(enter: Enter, tmp_path: Path) -> None:
    enter("project")
    chosen = (tmp_path / "elsewhere").as_uri()
    tracking.connect().create_experiment("medtransfer/score", chosen)
    enter("project").rename(tmp_path / "renamed")
    enter("renamed")
    log("c1")
    assert tracking.connect().get_experiment_by_name("medtransfer/score").artifact_location == chosen


def test_runs_that_mlflow_run_opened_move_with_the_project(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    before = enter("before")
    client = MlflowClient(f"sqlite:///{before / 'mlflow.db'}")
    opened = client.create_run(client.create_experiment("mine", (before / "mlruns" / "1").as_uri())).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    log("c1")
    assert list((before / "mlruns").rglob("scores.txt"))
    before.rename(before.with_name("after"))
    project = enter("after")
    with tracking.artifact_folder(opened, "scores") as folder:
        assert folder.is_relative_to(project / "mlruns")


def test_a_copy_that_only_mlflow_wrote_to_is_its_own_and_stays_so_elsewhere(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run of our experiments, and opened from another project first."""
    from mlflow import MlflowClient

    original = enter("original")
    client = MlflowClient(f"sqlite:///{original / 'mlflow.db'}")
    experiment = client.create_experiment("mine", (original / "mlruns" / "1").as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "text", "file.txt")
    copy = original.with_name("copy")
    shutil.copytree(original, copy)
    other = original.with_name("other")
    other.mkdir()
    enter("other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy / 'mlflow.db'}")
    tracking.connect()
    client = MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    assert client.get_experiment(experiment).artifact_location == (copy / "mlruns" / "1").as_uri()
    (run,) = client.search_runs([experiment])
    assert run.info.artifact_uri.startswith((copy / "mlruns" / "1").as_uri())
    client = MlflowClient(f"sqlite:///{original / 'mlflow.db'}")
    assert client.get_experiment(experiment).artifact_location == (original / "mlruns" / "1").as_uri()


@pytest.mark.parametrize(("whole", "ours"), [(True, True), (True, False), (False, True)])
def test_a_store_that_was_moved_is_followed_also_from_another_project(
    whole: bool, ours: bool, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved with its project, also where only MLflow wrote to it, or without what else is in it, so that the old folder stays."""
    from mlflow import MlflowClient

    before = enter("before")
    client = MlflowClient(f"sqlite:///{before / 'mlflow.db'}")
    experiment = client.create_experiment("mine", (before / "mlruns" / "1").as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "text", "file.txt")
    if ours:
        log("c1")
    after = before.with_name("after")
    if whole:
        before.rename(after)
    else:
        after.mkdir()
        for name in ("mlflow.db", "mlartifacts", "mlruns"):
            (before / name).rename(after / name)
    before.with_name("other").mkdir()
    enter("other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{after / 'mlflow.db'}")
    assert tracking.connect().get_experiment(experiment).artifact_location == (after / "mlruns" / "1").as_uri()
    (run,) = tracking.connect().search_runs([experiment])
    assert run.info.artifact_uri.startswith((after / "mlruns" / "1").as_uri())


def test_a_project_beside_an_unmoved_store_keeps_its_own_folder(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that two projects use: what MLflow made in the first is not the second's."""
    first = enter("first")
    log("c1")
    tracking.connect().create_experiment("mine", (first / "mlruns" / "1").as_uri())
    (first.parent / "second").mkdir()
    enter("second")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{first / 'mlflow.db'}")
    assert tracking.connect().get_experiment_by_name("mine").artifact_location == (first / "mlruns" / "1").as_uri()


@pytest.mark.parametrize("with_artifacts", [True, False])
def test_runs_that_mlflow_run_opened_are_the_copys_own(
    with_artifacts: bool, enter: Enter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier ones are read where they are; new ones are written beside the copy, but where the user chose another folder."""
    from mlflow import MlflowClient

    original, chosen = enter("original"), tmp_path / "elsewhere/mlruns/7"
    chosen.mkdir(parents=True)
    client = MlflowClient(f"sqlite:///{original / 'mlflow.db'}")
    experiment = client.create_experiment("mine", (original / "mlruns" / "1").as_uri())
    client.create_experiment("chosen", chosen.as_uri())
    opened = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    log("c1")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    log("c2")
    copy = original.with_name("copy")
    shutil.copytree(original, copy, ignore=None if with_artifacts else shutil.ignore_patterns("mlruns"))
    assert enter("copy") == copy
    with tracking.artifact_folder(opened, "scores") as folder:
        assert folder.is_relative_to(copy if with_artifacts else original)
    client = MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    assert client.get_experiment(experiment).artifact_location == (copy / "mlruns" / "1").as_uri()
    assert client.get_experiment_by_name("chosen").artifact_location == chosen.as_uri()
    assert client.create_run(experiment).info.artifact_uri.startswith((copy / "mlruns").as_uri())


@pytest.mark.parametrize("address", [
    "/data/mlartifacts/score", "file:///data/mlartifacts/score", "file:///data/été 1/a+b&c=d", "file:///data/a%20b", "/data/50%25x",
    "file:///data/50%2525x", "file:///data/a#b", "/data/a?b", "file:/data", "file://localhost/data", "//host/data",
    "data/mlartifacts", "/", "file:///", "s3://bucket/data", "mlflow-artifacts:/data", "https://host/data",
])  # fmt: skip
def test_an_address_names_the_folder_that_mlflow_takes_it_for(address: str) -> None:
    expected = Path(local_file_uri_to_path(address)) if is_local_uri(address) else None
    assert local_artifacts(address) == expected


def test_artifacts_of_a_store_in_its_place_are_found_without_mlflow(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow takes seconds to load; only of a moved store the locations are to be corrected first."""
    before = enter("before")
    log("c1")
    connected, connect = list[str](), store.connect
    monkeypatch.setattr(store, "connect", lambda: connected.append("connected") or connect())
    assert stored(before) == {"c1": "c1"} and not connected
    before.rename(before.with_name("after"))
    assert stored(enter("after")) == {"c1": "c1"} and connected


def test_a_copy_of_a_project_that_one_may_not_look_into_is_independent(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    original = enter("original")
    tracking.connect().create_experiment("mine", (original / "mlruns" / "1").as_uri())
    log("c1")
    shutil.copytree(original, original.with_name("copy"))
    exists = Path.exists

    def refuse(path: Path) -> bool:
        if path.is_relative_to(original):
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refuse)
    copy = enter("copy")
    assert stored(copy) == {"c1": "c1"}
    assert tracking.connect().get_experiment_by_name("mine").artifact_location == (copy / "mlruns" / "1").as_uri()


def test_a_missed_run_is_remembered_after_a_move(enter: Enter) -> None:
    from medtransfer.tracking import missed

    before = enter("before")
    missed.mark("score", "x", "c1", 1)
    before.rename(before.with_name("after"))
    enter("after")
    assert [run.cell for run in tracking.missed_runs()] == ["c1"]


@pytest.mark.parametrize(
    ("address", "words"),
    [("sqlite:///mlflow.db", "two stores are in play.*relative address sqlite:///mlflow.db"), (None, "; unset it$")],
)
def test_a_run_of_another_store_is_refused_before_any_work(
    address: str | None, words: str, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter("project")
    if address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(InputError, match=words):
        tracking.require_project_run()

"""Runs with params, metrics and artifacts go in; finished runs come back out: the only file that knows MLflow."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.errors import InputError
from medtransfer.runtime import git_revision, versions, workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGE, CELL = "medtransfer.stage", "medtransfer.cell"
_OPENED_BY_PROJECT = "MLFLOW_RUN_ID"


@dataclass(frozen=True)
class StoredRun:
    """A finished run as the store gives it back."""

    id: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: int


class Run:
    """A run that is open for writing."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.client, self.id = client, run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; those that the run already has (from `mlflow run -P`) stay as they are."""
        from mlflow.entities import Param

        there = self.client.get_run(self.id).data.params
        self.client.log_batch(self.id, params=[Param(k, str(v)) for k, v in params.items() if k not in there])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at one step."""
        self.log_curves({name: {step: value} for name, value in metrics.items()})

    def log_curves(self, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Log whole curves, by metric and step, in batches that the store accepts."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, step) for name, curve in curves.items() for step, value in curve.items()]
        for begin in range(0, len(points), 1000):
            self.client.log_batch(self.id, metrics=points[begin : begin + 1000])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder's content to the artifact store."""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), folder)
        else:
            self.client.log_artifact(self.id, str(path), folder)

    def log_dataset(self, name: str, digest: str, folder: Path, context: str) -> None:
        """Log a dataset as an input of the run.

        Args:
            name: of the dataset.
            digest: its fingerprint.
            folder: where it lies.
            context: what it is used for, `training` or `testing`.
        """
        import warnings

        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two sources can read a folder; either is right
            source = resolve_dataset_source(str(folder))
        dataset = MetaDataset(source, name=name, digest=digest)
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.id, [DatasetInput(dataset._to_mlflow_entity(), tags)])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])


def connect(folder: Path | None = None) -> "MlflowClient":
    """Give a client of the tracking store: MLFLOW_TRACKING_URI, else an embedded SQLite file in the working tree.

    Raises:
        InputError: the store does not answer.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    home = workspace(folder)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
    try:
        with _one_at_a_time(home if uri.startswith("sqlite") else None):
            mlflow.set_tracking_uri(uri)
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except (MlflowException, OSError) as fault:
        reason = " ".join(str(fault).split())[:300]
        raise InputError(
            f"expected a tracking store at {uri}, but it does not answer ({reason}); start it or unset MLFLOW_TRACKING_URI"
        ) from None
    return client


@contextmanager
def _one_at_a_time(folder: Path | None) -> Iterator[None]:
    """Hold a lock while SQLite may be created: of several processes that create it at once, all but one would fail."""
    if folder is None:
        yield
        return
    with (folder / "mlflow.db.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def open_run(stage: str, name: str, cell: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run; it is FINISHED only when the block ends well, FAILED or KILLED otherwise.

    A run that `mlflow run` opened for this process is resumed. Runs of the same cell that an interrupted process left
    open are closed as KILLED.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        name: of the run.
        cell: digest of what makes the result; `find_finished` looks for it.
        params: of the cell and its recipe.
        tags: further tags.
    """
    client = connect()
    resumed = os.environ.pop(_OPENED_BY_PROJECT, None)
    _close_interrupted(client, stage, cell)
    run_id = resumed or client.create_run(_experiment(client, stage), run_name=name).info.run_id
    run = Run(client, run_id)
    run.set_tags(
        {
            STAGE: stage, CELL: cell, "mlflow.runName": name, "mlflow.source.name": f"medtransfer {stage}",
            "git_revision": git_revision(Path.cwd()), "dvc_revision": _dvc_revision(), **versions(), **tags,
        }
    )  # fmt: skip
    run.log_params(params)
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):
        client.set_terminated(run_id, "KILLED")
        raise
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


@contextmanager
def project_run_set_aside() -> Iterator[None]:
    """Keep the run that `mlflow run` opened for what comes after the block."""
    held = os.environ.pop(_OPENED_BY_PROJECT, None)
    try:
        yield
    finally:
        if held is not None:
            os.environ[_OPENED_BY_PROJECT] = held


def note_reuse(stage: str, finished: str) -> None:
    """Tell the run that `mlflow run` opened, if any, that a finished run already holds its result."""
    if resumed := os.environ.pop(_OPENED_BY_PROJECT, None):
        text = f"The result was there already: run {finished}."
        Run(connect(), resumed).set_tags({"medtransfer.reuses": finished, "mlflow.note.content": text})


def find_finished(stage: str, cell: str) -> StoredRun | None:
    """Give the finished run of a cell, None when there is none."""
    found = read_runs(stage, cell)
    return found[0] if found else None


def read_runs(stage: str, cell: str | None = None, status: str = "FINISHED") -> list[StoredRun]:
    """Give the runs of a stage, the newest first, from all experiments.

    Runs that `mlflow run` opened lie in the experiment that the user named, so the tag decides, not the experiment.
    """
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.`{STAGE}` = '{stage}' and attributes.status = '{status}'"
    if cell is not None:
        query += f" and tags.`{CELL}` = '{cell}'"
    runs: list[StoredRun] = []
    token = None
    while True:
        page = client.search_runs(experiments, query, max_results=5000, page_token=token)
        runs += [StoredRun(r.info.run_id, r.data.params, r.data.metrics, r.data.tags, r.info.start_time) for r in page]
        token = page.token
        if not token:
            return runs


def read_curve(run_id: str, metric: str) -> dict[int, float]:
    """Give a metric's values by step; the last value of a step counts."""
    history = connect().get_metric_history(run_id, metric)
    return {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}


def fetch_artifacts(run_id: str, folder: str, destination: Path) -> None:
    """Copy an artifact folder of a run to a local folder."""
    from mlflow.artifacts import download_artifacts

    connect()
    download_artifacts(run_id=run_id, artifact_path=folder, dst_path=str(destination))


def _experiment(client: "MlflowClient", stage: str) -> str:
    from mlflow.exceptions import MlflowException

    name = f"medtransfer/{stage}"
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    location = None  # a server decides where artifacts go
    if client.tracking_uri.startswith("sqlite:///"):
        database = Path(client.tracking_uri.removeprefix("sqlite:///")).resolve()
        location = (database.parent / "mlartifacts" / stage).as_uri()
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another process was faster
            return found.experiment_id
        raise


def _close_interrupted(client: "MlflowClient", stage: str, cell: str) -> None:
    for run in read_runs(stage, cell, status="RUNNING"):
        client.set_terminated(run.id, "KILLED")


def _dvc_revision() -> str:
    """Give the hash of dvc.lock, which pins every versioned input, or `none`."""
    from medtransfer.runtime import file_sha256

    lock = Path("dvc.lock")
    return file_sha256(lock)[:12] if lock.exists() else "none"

"""Runs with params, metrics and artifacts go in; finished runs come back out: the only file that knows MLflow."""

import fcntl
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medtransfer.errors import InputError
from medtransfer.runtime import git_revision, versions, workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.store.entities import PagedList
    from sqlalchemy import Engine

STAGE, CELL = "medtransfer.stage", "medtransfer.cell"
PARENT = "mlflow.parentRunId"
_OPENED_BY_PROJECT = "MLFLOW_RUN_ID"
_SQLITE = "sqlite:///"
_DATABASES = ("sqlite:", "postgresql", "mysql")


@dataclass(frozen=True)
class StoredRun:
    """A finished run as the store gives it back."""

    id: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: int


@dataclass(frozen=True)
class Run:
    """A run that is open for writing."""

    client: "MlflowClient"
    id: str

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
        self.log_points([Metric(name, value, now, step) for name, curve in curves.items() for step, value in curve.items()])

    def log_points(self, points: "Sequence[Metric]") -> None:
        """Log single values of curves, in batches that the store accepts."""
        for begin in range(0, len(points), 1000):
            self.client.log_batch(self.id, metrics=points[begin : begin + 1000])

    def log_record(self, record: "Record", params: "Sequence[Param]" = ()) -> None:
        """Log what a record holds, its name, cell and tags aside; params only as given, since an open run has its own."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
        points += [Metric(name, value, now, step) for name, curve in record.curves.items() for step, value in curve.items()]
        self.client.log_batch(self.id, metrics=points[:900], params=params)
        self.log_points(points[900:])
        for dataset in record.datasets:
            self.log_dataset(*dataset)
        for name, path in record.artifacts.items():
            self.log_artifact(path, name if path.is_dir() else (str(Path(name).parent) if "/" in name else None))

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
        dataset = MetaDataset(source, name=name, digest=digest)  # type: ignore[abstract]  # `profile` is None unless overridden
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.id, [DatasetInput(dataset._to_mlflow_entity(), tags)])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])


def connect() -> "MlflowClient":
    """Give a client of the tracking store: MLFLOW_TRACKING_URI, else an embedded SQLite file in the working tree.

    Raises:
        InputError: the store does not answer.
    """
    import mlflow
    from mlflow import MlflowClient

    uri = _uri()
    try:
        with _one_at_a_time(_database(uri)), _little_patience():
            mlflow.set_tracking_uri(uri)
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as fault:  # MLflow, database drivers and the network each raise their own
        reason = " ".join(str(fault).split())[:300]
        raise InputError(
            f"expected a tracking store at {uri}, but it does not answer ({reason}); start or mend it, or unset MLFLOW_TRACKING_URI"
        ) from None
    return client


def _uri() -> str:
    """Give the store's address; a relative SQLite file lies in the working tree, wherever the process runs."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    return f"{_SQLITE}{workspace() / uri.removeprefix(_SQLITE)}" if uri.startswith(_SQLITE) else uri


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


@contextmanager
def _one_at_a_time(database: Path | None) -> Iterator[None]:
    """Hold a lock while SQLite may be created: of several processes that create it at once, all but one would fail."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _little_patience() -> Iterator[None]:
    """Ask a server that may be down only briefly; one that has answered keeps MLflow's own patience, or the user's."""
    brief = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    ours = {name: value for name, value in brief.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


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
    resumed = _take_project_run(client)
    _close_interrupted(client, stage, cell)
    run_id = resumed or client.create_run(_experiment(client, stage), run_name=name).info.run_id
    run = Run(client, run_id)
    with _closing(client, run_id):
        run.set_tags({**_common_tags(stage), CELL: cell, "mlflow.runName": name, **tags})
        run.log_params(params)
        yield run


@contextmanager
def _closing(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """Close a run after the block: FINISHED when it ended well, KILLED when it was interrupted, FAILED otherwise."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        client.set_terminated(run_id, "KILLED")
        raise
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _common_tags(stage: str) -> dict[str, str]:
    """Give the tags that every run of a stage has."""
    return {
        STAGE: stage, "mlflow.source.name": f"medtransfer {stage}", "git_revision": git_revision(Path.cwd()),
        "dvc_revision": _dvc_revision(), **versions(),
    }  # fmt: skip


@contextmanager
def project_run_set_aside() -> Iterator[None]:
    """Keep the run that `mlflow run` opened for what comes after the block."""
    held = os.environ.pop(_OPENED_BY_PROJECT, None)
    try:
        yield
    finally:
        if held is not None:
            os.environ[_OPENED_BY_PROJECT] = held


def note_reuse(stage: str, finished: str, words: str = "The result was there already") -> None:
    """Tell the run that `mlflow run` opened, if any, which finished run holds its result."""
    client = connect()
    if resumed := _take_project_run(client):
        text = f"{words}: run {finished}."
        Run(client, resumed).set_tags({"medtransfer.reuses": finished, "mlflow.note.content": text})


def _take_project_run(client: "MlflowClient") -> str | None:
    """Give the run that `mlflow run` opened for this process, once."""
    from mlflow.exceptions import MlflowException

    run_id = os.environ.pop(_OPENED_BY_PROJECT, None)
    if not run_id:
        return None
    try:
        return client.get_run(run_id).info.run_id
    except MlflowException:
        raise InputError(
            f"expected {_OPENED_BY_PROJECT} to name a run of {client.tracking_uri}, but it has no run {run_id!r}; unset it"
        ) from None


def find_finished(stage: str, cell: str) -> StoredRun | None:
    """Give the finished run of a cell, None when there is none."""
    found = read_runs(stage, cell)
    return found[0] if found else None


def read_runs(
    stage: str, cell: str | None = None, status: str = "FINISHED", only: Collection[str] | None = None
) -> list[StoredRun]:  # fmt: skip
    """Give the runs of a stage, the newest first, from all experiments.

    Runs that `mlflow run` opened lie in the experiment that the user named, so the tag decides, not the experiment.

    Args:
        stage: whose runs.
        cell: those of one cell only.
        status: of the runs.
        only: names of the params, metrics and tags to give, beside the tags of stage and cell; every one when None. Of
            thousands of runs, few are read in a fraction of the time.
    """
    client = connect()
    tags = {STAGE: stage} if cell is None else {STAGE: stage, CELL: cell}
    kept = None if only is None else {*only, STAGE, CELL}
    if tables := _tables(client):
        from medtransfer.tracking_sql import read_run_rows

        return [StoredRun(**row) for row in read_run_rows(tables, tags, status, kept)]
    experiments = [one.experiment_id for one in _all_pages(lambda token: client.search_experiments(page_token=token))]
    plain = {key: value for key, value in tags.items() if "'" not in value}  # MLflow's filters know no escape
    query = " and ".join([f"attributes.status = '{status}'", *(f"tags.`{key}` = '{value}'" for key, value in plain.items())])
    runs = _all_pages(lambda token: client.search_runs(experiments, query, max_results=5000, page_token=token))
    return [
        StoredRun(
            one.info.run_id, _pick(one.data.params, kept), _pick(one.data.metrics, kept), _pick(one.data.tags, kept),
            one.info.start_time,
        )
        for one in runs if tags.items() <= one.data.tags.items()
    ]  # fmt: skip


def _all_pages(ask: "Callable[[str | None], PagedList[Any]]") -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = ask(token)
        found += page
        token = page.token
        if not token:
            return found


def _pick(values: dict[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    return values if names is None else {name: value for name, value in values.items() if name in names}


def read_curve(run_id: str, metric: str) -> dict[int, float]:
    """Give a metric's values by step; see `read_curves`."""
    return read_curves([run_id], metric)[run_id]


def read_curves(run_ids: Sequence[str], metric: str) -> dict[str, dict[int, float]]:
    """Give a metric's values by run and step; a run without the metric has an empty curve.

    Of several values of a step the latest counts; of those logged in the same millisecond the largest, as in MLflow itself.
    """
    client = connect()
    if tables := _tables(client):
        from medtransfer.tracking_sql import read_metric_points

        return read_metric_points(tables, run_ids, metric)
    found = {}
    for run_id in run_ids:
        history = sorted(client.get_metric_history(run_id, metric), key=lambda point: (point.timestamp, *_stored(point.value)))
        found[run_id] = dict(sorted({point.step: point.value for point in history}.items()))
    return found


def _stored(value: float) -> tuple[float, bool]:
    """Give a metric's value as MLflow's tables hold it, where NaN is a marked zero."""
    return (0.0, True) if math.isnan(value) else (value, False)


def _tables(client: "MlflowClient") -> "Engine | None":
    """Give the store's database where this process can read it, None for a server."""
    if not client.tracking_uri.startswith(_DATABASES):
        return None
    from medtransfer.tracking_sql import open_tables

    return open_tables(client.tracking_uri)


@contextmanager
def artifact_folder(run_id: str, folder: str) -> Iterator[Path]:
    """Give a local folder with the run's artifacts below `folder`: the store's own where it is local, else a download.

    Raises:
        InputError: there are none, or they cannot be fetched.
    """
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    address = urlparse(connect().get_run(run_id).info.artifact_uri)
    own = Path(url2pathname(address.path)) / folder
    if address.scheme in {"", "file"} and own.is_dir():
        yield own
        return
    with TemporaryDirectory() as place:
        fetch_artifacts(run_id, folder, Path(place))
        yield Path(place) / folder


@dataclass(frozen=True)
class Record:
    """A finished run to write at once.

    Attributes:
        name: of the run.
        cell: digest of what makes the result.
        params: of the cell and its recipe.
        metrics: final values.
        curves: values by metric and step.
        tags: further tags.
        artifacts: local file or folder, by the name that it gets in the run; that of a file ends in the file's own.
        datasets: inputs, as the arguments of `Run.log_dataset`.
    """

    name: str
    cell: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    datasets: Sequence[tuple[str, str, Path, str]] = ()

    def __post_init__(self) -> None:
        for name, path in self.artifacts.items():
            if path.is_file() and Path(name).name != path.name:
                raise ValueError(f"expected an artifact's name that ends in {path.name!r}, its file's, but got {name!r}")


def write_runs(stage: str, records: Sequence[Record], label: str) -> int:
    """Write finished runs in bulk, those whose cell has none yet; each is FINISHED only when all of it is written.

    On an embedded store a lock keeps two processes from writing the same cell twice; on a server one process should write.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        records: what to write.
        label: of the progress.

    Returns:
        How many were written.
    """
    from medtransfer.progress import track

    client = connect()
    database = _database(client.tracking_uri)
    with _one_at_a_time(database.with_name(f"{database.name}.bulk") if database else None):
        finished = {run.tags[CELL] for run in read_runs(stage, only=())}
        missing = {record.cell: record for record in records if record.cell not in finished}
        for run in read_runs(stage, status="RUNNING", only=()):
            if run.tags[CELL] in missing:
                client.set_terminated(run.id, "KILLED")
        if missing:
            experiment, common = _experiment(client, stage), _common_tags(stage)
            for record in track(missing.values(), label, len(missing), "runs"):
                _write_run(client, experiment, common, record)
    return len(missing)


def _write_run(client: "MlflowClient", experiment: str, common: Mapping[str, str], record: Record) -> None:
    from mlflow.entities import Param

    tags = {**common, CELL: record.cell, "mlflow.runName": record.name, **record.tags}
    run = Run(client, client.create_run(experiment, tags=tags, run_name=record.name).info.run_id)
    with _closing(client, run.id):
        run.log_record(record, [Param(name, str(value)) for name, value in record.params.items()])


def fetch_artifacts(run_id: str, folder: str, destination: Path) -> None:
    """Copy an artifact folder of a run into a local folder; missing artifacts are an InputError."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    connect()
    try:
        download_artifacts(run_id=run_id, artifact_path=folder, dst_path=str(destination))
    except (MlflowException, OSError) as fault:
        reason = " ".join(str(fault).split())[:300]
        raise InputError(
            f"expected the artifacts {folder!r} of the run {run_id}, but they cannot be fetched ({reason}); put them back or "
            "make them again with --force"
        ) from None


def _experiment(client: "MlflowClient", stage: str) -> str:
    from mlflow.exceptions import MlflowException

    name = f"medtransfer/{stage}"
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    location = None  # a server decides where artifacts go
    if database := _database(client.tracking_uri):
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

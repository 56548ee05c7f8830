"""Open an MLflow run for a cell; it ends FINISHED, FAILED or KILLED.

If the connection to the store is lost while a stage works and the result is on disk, work continues: the next command that
reaches the store publishes the result (see missed.py).
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from medtransfer.tracking import missed, store
from medtransfer.tracking.artifacts import store_artifact
from medtransfer.tracking.mlflow_run import note_reuse, project_run_set_aside, take_project_run
from medtransfer.tracking.query import StoredRun, find_finished, read_runs
from medtransfer.tracking.retry import LoginRefused, StoreLost, short_http_timeouts
from medtransfer.tracking.run_record import RunRecord
from medtransfer.tracking.tags import CELL, STAGE, SUPERSEDED, common_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("medtransfer")
SECONDS_TO_CLOSE = 3.0  # for closing a run after an error or interruption, while the user waits
_FILTERS = Lock()  # of Python's warnings, which are those of the process
SAME_RESULT = "the tracking store has this result already (run {}); its files are written again"
BATCH = 900  # metrics, params and tags per request; the store accepts 1,000


@dataclass
class Run:
    """A run that is open for writing.

    Attributes:
        client: client of the store; None if the store was lost before the run was opened.
        id: id of the run, empty until the store has opened it.
        on_disk: whether the result is on disk, so that work continues when the store is lost; else StoreLost is raised.
        lost: whether the store was lost; nothing more is sent then.
        finished: whether the run is FINISHED in the store.
    """

    client: "MlflowClient | None"
    id: str = ""
    on_disk: bool = False
    lost: bool = False
    finished: bool = False
    _address: str = field(default="", init=False)  # of its artifacts, once it was asked for

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params, except those that the run already has (from `mlflow run -P`)."""
        from mlflow.entities import Param

        def send(client: "MlflowClient") -> None:
            existing = client.get_run(self.id).data.params
            client.log_batch(self.id, params=[Param(k, str(v)) for k, v in params.items() if k not in existing])

        self._send(send)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at one step."""
        self.log_curves({name: {step: value} for name, value in metrics.items()})

    def log_curves(self, curves: Mapping[str, Mapping[int, float]], params: Mapping[str, Any] | None = None) -> None:
        """Log curves by metric and step in batches that the store accepts; params are sent with the first batch."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)  # one timestamp, so that a retried request adds no second point
        points = [Metric(name, value, now, step) for name, curve in curves.items() for step, value in curve.items()]
        first = [Param(name, str(value)) for name, value in (params or {}).items()]
        for begin in range(0, max(len(points), 1), BATCH):
            batch, some = points[begin : begin + BATCH], [] if begin else first
            self._send(lambda client, batch=batch, some=some: client.log_batch(self.id, metrics=batch, params=some))  # type: ignore[misc]

    def log_record(self, record: RunRecord, params: Mapping[str, Any] | None = None) -> None:
        """Log metrics, curves, datasets and artifacts of a record, and the given params; an open run already has its own."""
        self.log_curves({**{name: {0: value} for name, value in record.metrics.items()}, **record.curves}, params)
        for dataset in record.datasets:
            self.log_dataset(*dataset)
        for name, path in record.artifacts.items():
            self.log_artifact(path, name if path.is_dir() else (str(Path(name).parent) if "/" in name else None))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy, or link, a file or the content of a folder to the artifact store."""

        def send(client: "MlflowClient") -> None:
            self._address = self._address or str(client.get_run(self.id).info.artifact_uri)  # once, as it never changes
            store_artifact(client, self.id, self._address, path, folder)

        self._send(send)

    def log_dataset(self, name: str, digest: str, folder: Path, context: str) -> None:
        """Log a dataset as an input of the run.

        Args:
            name: name of the dataset.
            digest: its fingerprint.
            folder: its folder.
            context: its use, `training` or `testing`.
        """
        import warnings

        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow has two sources that read folders; either is right
            source = resolve_dataset_source(str(folder))
        dataset = MetaDataset(source, name=name, digest=digest)  # type: ignore[abstract]  # `profile` is None unless overridden
        inputs = [DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])]

        def send(client: "MlflowClient") -> None:
            try:
                client.log_inputs(self.id, inputs)
            except MlflowException as error:
                if not re.search("(?i)unique|duplicate", str(error)):
                    raise
                client.log_inputs(self.id, inputs)  # another process was faster to store the dataset

        self._send(send)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self._send(lambda client: client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()]))

    def _send(self, request: "Callable[[MlflowClient], object]") -> None:
        if self.lost or self.client is None:
            return
        try:
            store.ask(self.client, request)
        except StoreLost as error:
            never_taken = isinstance(error, LoginRefused) and not self.id
            if not self.on_disk or never_taken:
                raise
            self.lost = True
            log.warning("%s; work continues, and its result is published later", error.fault)


@contextmanager
def once(
    stage: str, name: str, cell: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, *,
    force: bool | None = None, on_disk: bool = False, adopt: bool = True,
) -> Iterator[Run | None]:  # fmt: skip
    """Open a run for a cell, or yield None if the cell has a finished run, which is reused.

    A stage that works between the two, such as building a model whose weights may be invalid, calls `reused` and `open_run`.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        name: name of the run.
        cell: digest of everything that the result depends on.
        params: params of the cell and its recipe.
        tags: further tags.
        force: whether to do a finished cell again; None for a command without `--force`.
        on_disk: see `Run`.
        adopt: whether a run that `mlflow run` opened becomes this one; else that run only refers to this one.
    """
    if not force and reused(stage, name, cell, said=SAME_RESULT if force is None else ""):
        yield None
    elif adopt:
        with open_run(stage, name, cell, params, tags or {}, on_disk=on_disk) as run:
            yield run
    else:
        with project_run_set_aside(), open_run(stage, name, cell, params, tags or {}, on_disk=on_disk) as run:
            yield run
        note_reuse(run.id, f"The result is a run of its own, in medtransfer/{stage}")


def reused(
    stage: str, name: str, cell: str, restore: Callable[[StoredRun], None] | None = None, said: str = ""
) -> bool:  # fmt: skip
    """Return whether the cell has a finished run.

    If so, log that, and record it in the run that `mlflow run` opened.

    Args:
        stage: as in `once`.
        name: as in `once`.
        cell: as in `once`.
        restore: called with the finished run before it is reused, to fetch files that are missing on disk.
        said: what the log line says instead of that it is finished; `{}` stands for the run.
    """
    finished = find_finished(stage, cell)
    if finished is None:
        require_work_allowed()
        return False
    if restore:
        restore(finished)
    if is_looking_up():
        return True
    said = said.format(finished.id) if said else f"{name} is finished (run {finished.id}): reused; --force does it again"
    log.info("%s: %s", stage, said)
    note_reuse(finished.id)
    return True


class Unfinished(Exception):
    """A result that was only to be looked up is not finished."""


_looking_up: ContextVar[bool] = ContextVar("looking_up", default=False)


@contextmanager
def looking_up() -> Iterator[None]:
    """Let the stages in the block only look finished results up: one that is not raises Unfinished instead of being made."""
    token = _looking_up.set(True)
    try:
        yield
    finally:
        _looking_up.reset(token)


def is_looking_up() -> bool:
    """Return whether this is a block of `looking_up`."""
    return _looking_up.get()


def require_work_allowed() -> None:
    """Raise Unfinished in a block of `looking_up`; called where a result is about to be made."""
    if is_looking_up():
        raise Unfinished


@contextmanager
def open_run(
    stage: str, name: str, cell: str, params: Mapping[str, Any], tags: Mapping[str, str], *, on_disk: bool = False
) -> Iterator[Run]:  # fmt: skip
    """Open a run; it is FINISHED only if the block succeeds, FAILED or KILLED otherwise.

    A run that `mlflow run` opened for this process is resumed, unless it is of another result (`take_project_run`). Runs of the
    same cell that an interrupted process left open are closed as KILLED.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        name: name of the run.
        cell: digest of everything that the result depends on; `find_finished` searches for it.
        params: params of the cell and its recipe.
        tags: further tags.
        on_disk: see `Run`.

    Raises:
        StoreLost: the connection to the store is lost, and the result is not on disk.
    """
    require_work_allowed()
    started = int(time.time() * 1000)
    client = store.connect_if_there() if on_disk else store.connect()
    run = Run(client, on_disk=on_disk, lost=client is None)
    with closing_on_error(run):
        run._send(lambda client: _create(run, client, stage, name, cell, params))
        run.set_tags({**common_tags(stage), CELL: cell, "mlflow.runName": name, **tags})
        run.log_params(params)
        yield run
        run._send(lambda client: settle(client, run, stage, cell))
    if run.lost:
        missed.mark(stage, name, cell, started)
        log.warning("the tracking store lacks the run %s; the next command publishes its result", name)
    else:
        missed.forget(stage, [cell])


def _create(run: Run, client: "MlflowClient", stage: str, name: str, cell: str, params: Mapping[str, Any]) -> None:
    if resumed := take_project_run(client, f"{stage}: {name}", cell, params):
        run.id = resumed
        return
    close_others(client, stage, cell)
    tags = {STAGE: stage, CELL: cell}  # set on creation, so that a run that was left open is found by its cell
    run.id = client.create_run(store.experiment(client, stage), tags=tags, run_name=name).info.run_id


def close_others(client: "MlflowClient", stage: str, cell: str, but: str = "") -> None:
    """Close the runs of a cell that an interrupted process left open, except `but`."""
    for run in read_runs(stage, cell, status="RUNNING", only=()):
        if run.id != but:
            client.set_terminated(run.id, "KILLED")


@contextmanager
def closing_on_error(run: Run) -> Iterator[None]:
    """Close the run if the block fails: KILLED if it was interrupted, FAILED otherwise."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _close(run, "KILLED")
        raise
    except BaseException:
        _close(run, "FAILED")
        raise


def _close(run: Run, status: str) -> None:
    """Try briefly to close a run; if that fails, the next run of its cell closes it."""
    if run.client is None or not run.id or run.lost or run.finished:
        return
    try:
        with short_http_timeouts():
            store.ask(run.client, lambda client: client.set_terminated(run.id, status), SECONDS_TO_CLOSE)
    except Exception as error:  # must not hide the error that ended the block
        log.debug("the run %s could not be closed: %s", run.id, error)


def settle(client: "MlflowClient", run: Run, stage: str, cell: str) -> None:
    """Mark the run FINISHED and older finished runs of the cell as superseded."""
    close_others(client, stage, cell, but=run.id)
    client.set_terminated(run.id, "FINISHED")
    run.finished = True
    newest, *older = read_runs(stage, cell, only=())
    for superseded in older:
        client.set_tag(superseded.id, SUPERSEDED, newest.id)
        client.set_terminated(superseded.id, "KILLED", client.get_run(superseded.id).info.end_time)

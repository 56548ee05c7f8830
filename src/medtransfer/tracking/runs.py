"""A cell goes in; a run that is open for writing comes out, closed in the end as what became of it.

A store that answered at the start and is lost while a stage works does not stop it: everything that was logged is kept in
memory, then on disk (see unsent.py), and sent later.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.tracking import store
from medtransfer.tracking.mlflow_run import take_project_run
from medtransfer.tracking.outbox import Kept, keep
from medtransfer.tracking.query import read_runs
from medtransfer.tracking.retry import StoreLost, little_patience, patiently
from medtransfer.tracking.run_record import Record
from medtransfer.tracking.tags import CELL, STAGE, SUPERSEDED, common_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("medtransfer")
SECONDS_TO_CLOSE = 3.0  # that a run that ends badly may take to be closed: whoever stopped it waits
BATCH = 900  # metrics, params and tags a request: the store accepts 1,000


@dataclass
class Run:
    """A run that is open for writing.

    Attributes:
        client: of the store.
        id: of the run, empty until the store has opened it.
        address: of the store, without its password.
        goes_on: whether a store that is lost meanwhile leaves the work going, which then is only kept; else it is StoreLost.
        lost: whether that has happened.
        finished: whether the store has it as FINISHED.
        kept: what was logged, to be sent later.
    """

    client: "MlflowClient | None"
    id: str
    address: str
    goes_on: bool = True
    lost: bool = False
    finished: bool = False
    kept: Kept = field(default_factory=Kept)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; those that the run already has (from `mlflow run -P`) stay as they are."""
        from mlflow.entities import Param

        self.kept.params.update({key: str(value) for key, value in params.items()})

        def send(client: "MlflowClient") -> None:
            there = client.get_run(self.id).data.params
            client.log_batch(self.id, params=[Param(k, str(v)) for k, v in params.items() if k not in there])

        self._send(send)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at one step."""
        self.log_curves({name: {step: value} for name, value in metrics.items()})

    def log_curves(self, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Log whole curves, by metric and step, in batches that the store accepts."""
        for name, curve in curves.items():
            self.kept.curves.setdefault(name, {}).update(curve)
        self._log_points(curves, {})

    def log_record(self, record: Record, params: Mapping[str, Any] | None = None) -> None:
        """Log what a record holds, its name, cell and tags aside; params only as given, since an open run has its own."""
        curves: dict[str, Mapping[int, float]] = {name: {0: value} for name, value in record.metrics.items()}
        curves |= record.curves
        self.kept.curves.update({name: dict(curve) for name, curve in curves.items()})
        self._log_points(curves, params or {})
        for dataset in record.datasets:
            self.log_dataset(*dataset)
        for name, path in record.artifacts.items():
            self.log_artifact(path, name if path.is_dir() else (str(Path(name).parent) if "/" in name else None))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder's content to the artifact store."""
        self.kept.artifacts.append((str(path.resolve()), folder))
        if path.is_dir():
            self._send(lambda client: client.log_artifacts(self.id, str(path), folder))
        else:
            self._send(lambda client: client.log_artifact(self.id, str(path), folder))

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

        self.kept.datasets.append((name, digest, str(folder), context))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two sources can read a folder; either is right
            source = resolve_dataset_source(str(folder))
        dataset = MetaDataset(source, name=name, digest=digest)  # type: ignore[abstract]  # `profile` is None unless overridden
        tags = [InputTag("mlflow.data.context", context)]
        self._send(lambda client: client.log_inputs(self.id, [DatasetInput(dataset._to_mlflow_entity(), tags)]))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.kept.tags.update(tags)
        self._send(lambda client: client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()]))

    def _log_points(self, curves: Mapping[str, Mapping[int, float]], params: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)  # once: a request that is sent again brings no second point
        points = [Metric(name, value, now, step) for name, curve in curves.items() for step, value in curve.items()]
        first = [Param(name, str(value)) for name, value in params.items()]
        for begin in range(0, max(len(points), 1), BATCH):
            batch, with_params = points[begin : begin + BATCH], [] if begin else first
            self._send(lambda client, batch=batch, some=with_params: client.log_batch(self.id, metrics=batch, params=some))  # type: ignore[misc]

    def _send(self, request: "Callable[[MlflowClient], object]") -> None:
        client = self.client
        if self.lost or client is None:
            return
        try:
            patiently(lambda: request(client), self.address)
        except StoreLost as fault:
            if not self.goes_on:
                raise
            self.lost = True
            log.warning("%s; work goes on, and what is logged is kept until then", str(fault).split("; what is finished")[0])


@contextmanager
def open_run(stage: str, name: str, cell: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run; it is FINISHED only when the block ends well, FAILED or KILLED otherwise.

    A run that `mlflow run` opened for this process is resumed. Runs of the same cell that an interrupted process left
    open are closed as KILLED. A store that is lost meanwhile gets the run later.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        name: of the run.
        cell: digest of what makes the result; `find_finished` looks for it.
        params: of the cell and its recipe.
        tags: further tags.
    """
    client = store.connect_if_there()
    run = Run(client, "", store.shown(store.store_uri()), lost=client is None)
    with breaking_off(run):
        run._send(lambda client: _create(run, client, stage, name, cell))
        run.set_tags({**common_tags(stage), CELL: cell, "mlflow.runName": name, **tags})
        run.log_params(params)
        yield run
        _finish(run, stage, name, cell)


def _create(run: Run, client: "MlflowClient", stage: str, name: str, cell: str) -> None:
    if resumed := take_project_run(client):
        run.id = resumed
        return
    close_others(client, stage, cell)
    tags = {STAGE: stage, CELL: cell}  # from the first moment: a run that is left behind is found by its cell
    run.id = client.create_run(store.experiment(client, stage), tags=tags, run_name=name).info.run_id


def close_others(client: "MlflowClient", stage: str, cell: str, but: str = "") -> None:
    """Close the runs of a cell that an interrupted process left open, all but one."""
    for run in read_runs(stage, cell, status="RUNNING", only=()):
        if run.id != but:
            client.set_terminated(run.id, "KILLED")


@contextmanager
def breaking_off(run: Run) -> Iterator[None]:
    """Close a run whose block does not end well: KILLED when it was interrupted, FAILED otherwise."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _break_off(run, "KILLED")
        raise
    except BaseException:
        _break_off(run, "FAILED")
        raise


def _break_off(run: Run, status: str) -> None:
    """Close a run soon or not at all; the next of its cell closes it otherwise."""
    client = run.client
    if client is None or not run.id or run.lost or run.finished:
        return
    try:
        with little_patience():
            patiently(lambda: client.set_terminated(run.id, status), run.address, patience=SECONDS_TO_CLOSE)
    except Exception as fault:  # what broke the run off is what the user has to hear
        log.debug("the run %s could not be closed: %s", run.id, fault)


def _finish(run: Run, stage: str, name: str, cell: str) -> None:
    if not run.lost:
        run._send(lambda client: settle(client, run, stage, cell))
    if run.lost:
        keep(stage, name, cell, run.kept)


def settle(client: "MlflowClient", run: Run, stage: str, cell: str) -> None:
    """Finish a run and leave one finished run of its cell, the newest, whoever else worked on it."""
    close_others(client, stage, cell, but=run.id)
    client.set_terminated(run.id, "FINISHED")
    run.finished = True
    newest, *older = read_runs(stage, cell, only=())
    for one in older:
        client.set_tag(one.id, SUPERSEDED, newest.id)
        client.set_terminated(one.id, "KILLED", client.get_run(one.id).info.end_time)

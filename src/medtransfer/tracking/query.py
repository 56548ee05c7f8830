"""A stage, a cell or a run goes in; finished runs, their curves and their artifacts come out of the tracking store."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medtransfer.errors import InputError
from medtransfer.tracking import store
from medtransfer.tracking.retry import in_one_line, patiently
from medtransfer.tracking.tags import CELL, STAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.entities import PagedList

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class StoredRun:
    """A finished run as the store gives it back."""

    id: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: int


def find_finished(stage: str, cell: str) -> StoredRun | None:
    """Give the finished run of a cell, None when there is none, or when the store was lost while the process worked."""
    if store.connect_if_there() is None:
        log.warning("the tracking store does not answer any more: nothing is looked up in it, and work goes on without it")
        return None
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
    client = store.connect()
    tags = {STAGE: stage} if cell is None else {STAGE: stage, CELL: cell}
    kept = None if only is None else {*only, STAGE, CELL}
    return patiently(lambda: _read(client, tags, status, kept), store.shown(client.tracking_uri))


def _read(client: "MlflowClient", tags: dict[str, str], status: str, kept: set[str] | None) -> list[StoredRun]:
    if tables := store.tables(client):
        from medtransfer.tracking.sql import read_run_rows

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
    client = store.connect()
    return patiently(lambda: _read_curves(client, run_ids, metric), store.shown(client.tracking_uri))


def _read_curves(client: "MlflowClient", run_ids: Sequence[str], metric: str) -> dict[str, dict[int, float]]:
    if tables := store.tables(client):
        from medtransfer.tracking.sql import read_metric_points

        return read_metric_points(tables, run_ids, metric)
    found = {}
    for run_id in run_ids:
        history = sorted(client.get_metric_history(run_id, metric), key=lambda point: (point.timestamp, *_stored(point.value)))
        found[run_id] = dict(sorted({point.step: point.value for point in history}.items()))
    return found


def _stored(value: float) -> tuple[float, bool]:
    """Give a metric's value as MLflow's tables hold it, where NaN is a marked zero."""
    return (0.0, True) if math.isnan(value) else (value, False)


@contextmanager
def artifact_folder(run_id: str, folder: str) -> Iterator[Path]:
    """Give a local folder with the run's artifacts below `folder`: the store's own where it is local, else a download.

    Raises:
        InputError: there are none, or they cannot be fetched.
    """
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    client = store.connect()
    run = patiently(lambda: client.get_run(run_id), store.shown(client.tracking_uri))
    address = urlparse(run.info.artifact_uri)
    own = Path(url2pathname(address.path)) / folder
    if address.scheme in {"", "file"} and own.is_dir():
        yield own
        return
    with TemporaryDirectory() as place:
        fetch_artifacts(run_id, folder, Path(place))
        yield Path(place) / folder


def fetch_artifacts(run_id: str, folder: str, destination: Path) -> None:
    """Copy an artifact folder of a run into a local folder; missing artifacts are an InputError."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    store.connect()
    try:
        download_artifacts(run_id=run_id, artifact_path=folder, dst_path=str(destination))
    except (MlflowException, OSError) as fault:
        raise InputError(
            f"expected the artifacts {folder!r} of the run {run_id}, but they cannot be fetched ({in_one_line(fault)}); put them "
            "back or make them again with --force"
        ) from None

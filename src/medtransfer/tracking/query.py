"""Read runs, their curves and their artifacts from the tracking store."""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from medtransfer.errors import InputError, is_full_disk
from medtransfer.progress import track_within
from medtransfer.records import in_one_line
from medtransfer.tracking import store
from medtransfer.tracking.relocation import are_in_place, exists, local_artifacts
from medtransfer.tracking.retry import StoreLost, several_requests
from medtransfer.tracking.tags import CELL, DATABASES, STAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.entities import PagedList
    from sqlalchemy import Engine

log = logging.getLogger("medtransfer")
Read = TypeVar("Read")


@dataclass(frozen=True)
class StoredRun:
    """A finished run as read from the store."""

    id: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: int


@dataclass(eq=False)
class Seen:
    """What was read of the store.

    Attributes:
        stages: stages whose runs were read.
        unreadable: whether an artifact could not be read.
    """

    stages: set[str] = field(default_factory=set)
    unreadable: bool = False


_watching: list[Seen] = []


@contextmanager
def watching() -> Iterator[Seen]:
    """Record what is read of the store within the block, in all threads."""
    _watching.append(seen := Seen())
    try:
        yield seen
    finally:
        _watching.remove(seen)


def note(seen: Seen) -> None:
    """Note what another process has read for whoever watches this one."""
    for watcher in _watching:
        watcher.stages |= seen.stages
        watcher.unreadable |= seen.unreadable


def find_finished(stage: str, cell: str) -> StoredRun | None:
    """Return the newest finished run of a cell; None if there is none or the connection to the store is lost."""
    try:
        return next(iter(read_runs(stage, cell)), None)
    except StoreLost as error:
        log.warning("%s; nothing is looked up in it, and work continues without it", error.fault)
        return None


def read_runs(
    stage: str, cell: str | None = None, status: str = "FINISHED", only: Collection[str] | None = None
) -> list[StoredRun]:  # fmt: skip
    """Return the runs of a stage from all experiments, newest first; none, and no store is made, where there is none yet.

    Runs are found by the stage's tag, since those that `mlflow run` opened are in an experiment that the user named.

    Args:
        stage: value of the stage tag.
        cell: value of the cell tag; None for all cells.
        status: status of the runs.
        only: names of the params, metrics and tags to read, besides the tags of stage and cell; None for all. With thousands
            of runs, reading few of them is much faster.
    """
    for seen in _watching:
        seen.stages.add(stage)
    if store.is_unmade():
        return []
    if (rows := _peek_rows(stage, cell, status, only)) is not None:
        return rows
    client = store.connect()
    return store.ask(client, lambda client: _read(client, _tags(stage, cell), status, _kept(only)))


def has_runs(stage: str) -> bool:
    """Return whether the store has a finished run of a stage, without reading all of them."""
    if store.is_unmade():
        return False
    from medtransfer.tracking.sql import has_run, peek

    found = peek(store.store_uri(), lambda engine: has_run(engine, _tags(stage, None)))
    return bool(read_runs(stage, only=())) if found is None else found


def _peek_rows(stage: str, cell: str | None, status: str, only: Collection[str] | None) -> list[StoredRun] | None:
    """Read runs of a database without MLflow; None where it is to be asked, since the store is another."""
    from medtransfer.tracking.sql import peek, read_run_rows

    rows = peek(store.store_uri(), lambda engine: read_run_rows(engine, _tags(stage, cell), status, _kept(only)))
    return None if rows is None else [StoredRun(**row) for row in rows]


def _tags(stage: str, cell: str | None) -> dict[str, str]:
    return {STAGE: stage} if cell is None else {STAGE: stage, CELL: cell}


def _kept(only: Collection[str] | None) -> set[str] | None:
    return None if only is None else {*only, STAGE, CELL}


def tables(client: "MlflowClient") -> "Engine | None":
    """Return the store's database; None if it is a server or has an unknown schema."""
    if not client.tracking_uri.startswith(DATABASES):
        return None
    from medtransfer.tracking.sql import open_tables

    return open_tables(client.tracking_uri)


def _read(client: "MlflowClient", tags: dict[str, str], status: str, kept: set[str] | None) -> list[StoredRun]:
    if engine := tables(client):
        from medtransfer.tracking.sql import read_run_rows

        return [StoredRun(**row) for row in read_run_rows(engine, tags, status, kept)]
    listed = _all_pages(client, lambda token: client.search_experiments(page_token=token))
    experiments = [experiment.experiment_id for experiment in listed]
    plain = {key: value for key, value in tags.items() if "'" not in value}  # MLflow's filters have no escape character
    query = " and ".join([f"attributes.status = '{status}'", *(f"tags.`{key}` = '{value}'" for key, value in plain.items())])
    runs = _all_pages(client, lambda token: client.search_runs(experiments, query, max_results=5000, page_token=token))
    return [
        StoredRun(
            run.info.run_id, _pick(run.data.params, kept), _pick(run.data.metrics, kept), _pick(run.data.tags, kept),
            run.info.start_time,
        )
        for run in runs if tags.items() <= run.data.tags.items()
    ]  # fmt: skip


def _all_pages(client: "MlflowClient", request: "Callable[[str | None], PagedList[Any]]") -> list[Any]:
    page = store.each(client, lambda: request(None))
    entries = list(page)
    while page.token:
        page = store.each(client, partial(request, page.token))
        entries += page
    return entries


def _pick(values: dict[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    return values if names is None else {name: value for name, value in values.items() if name in names}


def read_curve(run_id: str, metric: str) -> dict[int, float]:
    """Return a metric's values by step; see `read_curves`."""
    return read_curves([run_id], metric)[run_id]


def read_curves(run_ids: Sequence[str], metric: str) -> dict[str, dict[int, float]]:
    """Return a metric's values by run and step; see `read_all_curves`."""
    return read_all_curves(run_ids, [metric])[metric]


def read_all_curves(run_ids: Sequence[str], metrics: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
    """Return the values of metrics by run and step; a run without a metric has an empty curve of it.

    Of several values at a step the latest is used, and of those logged in the same millisecond the largest, as in MLflow.
    """
    if not run_ids or store.is_unmade():
        return {metric: {run_id: {} for run_id in run_ids} for metric in metrics}
    from medtransfer.tracking.sql import peek, read_metric_points

    if (curves := peek(store.store_uri(), lambda engine: read_metric_points(engine, run_ids, metrics))) is not None:
        return curves
    client = store.connect()
    return store.ask(client, lambda client: _read_curves(client, run_ids, metrics))


def _read_curves(
    client: "MlflowClient", run_ids: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[str, dict[int, float]]]:  # fmt: skip
    if engine := tables(client):
        from medtransfer.tracking.sql import read_metric_points

        return read_metric_points(engine, run_ids, metrics)
    curves: dict[str, dict[str, dict[int, float]]] = {metric: {run_id: {} for run_id in run_ids} for metric in metrics}
    with several_requests() as send:  # a server tells one metric of one run at a time
        runs = list(send(lambda run_id: store.each(client, lambda: client.get_run(run_id)), run_ids))
        held = [(metric, run.info.run_id) for run in runs for metric in sorted(run.data.metrics.keys() & curves.keys())]
        read = zip(held, send(lambda pair: _read_curve(client, pair[1], pair[0]), held), strict=True)
        for (metric, run_id), curve in track_within(read, "reading the tracking store", len(held), "curves"):
            curves[metric][run_id] = curve
    return curves


def _read_curve(client: "MlflowClient", run_id: str, metric: str) -> dict[int, float]:
    points = store.each(client, lambda: client.get_metric_history(run_id, metric))
    history = sorted(points, key=lambda point: (point.timestamp, *_stored(point.value)))
    return dict(sorted({point.step: point.value for point in history}.items()))


def _stored(value: float) -> tuple[float, bool]:
    """Return a metric's value as in MLflow's tables, where NaN is a marked zero."""
    return (0.0, True) if math.isnan(value) else (value, False)


def locate_artifacts(run_ids: Collection[str]) -> dict[str, Path]:
    """Look up where the artifacts of runs are.

    Returns:
        The folders of those that are on this machine; empty of a tracking server.
    """
    if not run_ids or store.is_unmade():
        return {}
    from medtransfer.tracking.sql import peek, read_artifact_uris

    found = peek(store.store_uri(), lambda engine: read_artifact_uris(engine, run_ids) if are_in_place(engine) else None)
    if found is None:
        client = store.connect()
        if not (engine := tables(client)):
            return {}
        found = store.ask(client, lambda _: read_artifact_uris(engine, run_ids))
    return {run: folder for run, uri in found.items() if (folder := local_artifacts(uri))}


@contextmanager
def artifact_folder(run_id: str, folder: str) -> Iterator[Path]:
    """Yield the run's artifacts below `folder`, or a single one, as a local path; downloaded unless the store is local.

    Raises:
        InputError: there are none, or they cannot be downloaded.
    """
    try:
        own, uri = locate_artifacts([run_id]).get(run_id), ""
        if own is None:
            uri = _ask_for_artifacts(run_id)
            own = local_artifacts(uri)
        if own and exists(own / folder):
            yield own / folder
            return
        with TemporaryDirectory() as download:
            yield fetch_artifacts(run_id, folder, Path(download), uri)
    except Exception:  # the block's, too, which found them damaged
        for seen in _watching:
            seen.unreadable = True
        raise


def read_artifacts(run_ids: Sequence[str], name: str, read: Callable[[Path], Read]) -> list[Read]:
    """Read the same artifact of several runs; of a tracking server, of eight at a time.

    Args:
        run_ids: the runs.
        name: path of the artifact, or of a folder.
        read: reads it; in threads where it is downloaded.

    Raises:
        InputError: a run has none, or it cannot be downloaded or read.
    """

    def read_one(run_id: str) -> Read:
        with artifact_folder(run_id, name) as path:
            return read(path)

    if store.store_uri().startswith(DATABASES):
        return [read_one(run_id) for run_id in run_ids]
    store.connect()  # once, not in every thread
    with several_requests() as send:
        return list(send(read_one, run_ids))


def _ask_for_artifacts(run_id: str) -> str:
    """Ask MLflow for the address of a run's artifacts."""
    return str(store.ask(store.connect(), lambda client: client.get_run(run_id)).info.artifact_uri)


def fetch_artifacts(run_id: str, folder: str, destination: Path, uri: str = "") -> Path:
    """Copy an artifact folder of a run, or a single artifact, to a local folder.

    Args:
        run_id: id of the run.
        folder: path of the folder or artifact; empty for all.
        destination: the local folder, below which it has the same path.
        uri: address of the run's artifacts, if it is known.

    Returns:
        Where it is.

    Raises:
        InputError: the artifacts are missing or cannot be downloaded.
        StoreLost: the connection to the store is lost.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, uri = store.connect(), uri or _ask_for_artifacts(run_id)
    kept, is_here = get_artifact_repository(uri, tracking_uri=client.tracking_uri), local_artifacts(uri) is not None
    destination.mkdir(parents=True, exist_ok=True)

    def download(_: "MlflowClient") -> Path:
        try:
            return Path(kept.download_artifacts(folder, str(destination)))
        except (MlflowException, OSError) as error:
            fault = error
        if not is_here and not is_full_disk(fault) and _are_listed(client, run_id, folder):
            raise ConnectionError(in_one_line(fault))  # MLflow's error does not say that the server is away
        raise InputError(
            f"expected the artifacts {folder!r} of the run {run_id}, but they cannot be fetched ({in_one_line(fault)}); put them "
            "back or make them again with --force"
        )

    return store.ask(client, download)


def _are_listed(client: "MlflowClient", run_id: str, path: str) -> bool:
    """Return whether a server lists a folder or an artifact of a run.

    Raises:
        StoreLost: it is away.
    """
    parent = Path(path).parent.as_posix()
    listed = store.ask(client, lambda client: client.list_artifacts(run_id, None if parent == "." else parent))
    return any(each.path == path or not path for each in listed)

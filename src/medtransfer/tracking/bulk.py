"""Records of finished runs go in; those that the tracking store lacks are written to it, each whole or not as finished."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medtransfer.progress import track
from medtransfer.tracking import store
from medtransfer.tracking.query import read_runs
from medtransfer.tracking.retry import patiently
from medtransfer.tracking.run_record import Record
from medtransfer.tracking.runs import Run, breaking_off, close_others, settle
from medtransfer.tracking.tags import CELL, common_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient


def write_runs(stage: str, records: Sequence[Record], label: str) -> int:
    """Write finished runs in bulk, those whose cell has none yet; each is FINISHED only when all of it is written.

    A lock keeps two processes of one working tree, or of one embedded store, from writing the same cell twice.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        records: what to write.
        label: of the progress.

    Returns:
        How many were written.

    Raises:
        StoreLost: the store does not answer any more; what it has got is not written again next time.
    """
    client = store.connect()
    address = store.shown(client.tracking_uri)
    with store.one_writer(client):
        finished = {run.tags[CELL] for run in read_runs(stage, only=())}
        missing = {record.cell: record for record in records if record.cell not in finished}
        for run in read_runs(stage, status="RUNNING", only=()):
            if run.tags[CELL] in missing:
                patiently(lambda id=run.id: client.set_terminated(id, "KILLED"), address)  # type: ignore[misc]
        if missing:
            experiment, common = patiently(lambda: store.experiment(client, stage), address), common_tags(stage)
            for record in track(missing.values(), label, len(missing), "runs"):
                _write_run(client, address, experiment, common, record)
    return len(missing)


def _write_run(client: "MlflowClient", address: str, experiment: str, common: Mapping[str, str], record: Record) -> None:
    tags = {**common, CELL: record.cell, "mlflow.runName": record.name, **record.tags}
    run = Run(client, "", address, goes_on=False)

    def create() -> None:
        run.id = client.create_run(experiment, tags=tags, run_name=record.name).info.run_id

    def finish() -> None:
        client.set_terminated(run.id, "FINISHED")
        run.finished = True

    with breaking_off(run):
        patiently(create, address)
        run.log_record(record, record.params)
        patiently(finish, address)


def send_run(stage: str, record: Record, started: int) -> None:
    """Write a run that was kept while the store was away: of its cell's finished runs the one that started last stays so.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        record: of the run.
        started: when it was opened, in milliseconds since 1970.

    Raises:
        StoreLost: the store does not answer any more.
    """
    client = store.connect()
    run = Run(client, "", store.shown(client.tracking_uri), goes_on=False)
    tags = {**common_tags(stage), CELL: record.cell, "mlflow.runName": record.name, **record.tags}

    def create() -> None:
        close_others(client, stage, record.cell)
        home = store.experiment(client, stage)
        run.id = client.create_run(home, start_time=started, tags=tags, run_name=record.name).info.run_id

    with breaking_off(run):
        patiently(create, run.address)
        run.log_record(record, record.params)
        patiently(lambda: settle(client, run, stage, record.cell), run.address)


def tag_runs(run_ids: Sequence[str], tags: Mapping[str, str]) -> None:
    """Set tags of runs that are there."""
    from mlflow.entities import RunTag

    client = store.connect()
    for run_id in run_ids:
        entities = [RunTag(key, value) for key, value in tags.items()]
        patiently(
            lambda id=run_id, some=entities: client.log_batch(id, tags=some),  # type: ignore[misc]
            store.shown(client.tracking_uri),
        )

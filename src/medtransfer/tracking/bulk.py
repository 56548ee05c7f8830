"""Write finished runs that the tracking store lacks; each becomes FINISHED only when it is complete."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.progress import track
from medtransfer.tracking import missed, store
from medtransfer.tracking.query import read_runs
from medtransfer.tracking.retry import several_requests
from medtransfer.tracking.rows import Plain, fits, write_plain
from medtransfer.tracking.run_record import RunRecord
from medtransfer.tracking.runs import Run, closing_on_error, settle
from medtransfer.tracking.tags import CELL, common_tags
from medtransfer.tracking.write_ahead import write_ahead
from medtransfer.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("medtransfer")
FEW_FOLDERS = 3  # that a warning names


def warn_of_unreadable(what: str, errors: Mapping[Path, Exception]) -> None:
    """Say which results on disk cannot be published, and why.

    Args:
        what: the results, such as `fine-tunings`.
        errors: why, by folder; nothing is said if it is empty. The first few are named, since an update may leave thousands.
    """
    if errors:
        reasons = [
            f"{folder} ({error if isinstance(error, InputError) else f'{type(error).__name__}: {error}'})"
            for folder, error in islice(errors.items(), FEW_FOLDERS)
        ]
        if len(errors) > FEW_FOLDERS:
            reasons.append(f"and {len(errors) - FEW_FOLDERS:,} more")
        words = "on disk cannot be read; only what the tracking store already has is used"
        log.warning("%s of %s %s: %s", counted(len(errors), "folder"), what, words, "; ".join(reasons))


def stored_cells(stage: str) -> set[str]:
    """Return the cells that have a finished run, without those whose newest result the store missed."""
    return {run.tags[CELL] for run in read_runs(stage, only=())} - {run.cell for run in missed.missed_runs(stage)}


def write_runs(stage: str, records: Sequence[RunRecord], label: str) -> int:
    """Write the runs of cells that have no finished run, or whose newest result the store missed.

    A lock prevents two processes of one working tree, or of one embedded store, from writing the same cell twice.

    Args:
        stage: names the experiment `medtransfer/<stage>`.
        records: the runs.
        label: label of the progress bar.

    Returns:
        The number of runs written.

    Raises:
        StoreLost: the connection to the store is lost; runs that it has received are not written again next time.
    """
    if not records or {record.cell for record in records} <= stored_cells(stage):
        return 0
    client = store.connect()
    with store.one_writer(client):
        finished = {run.tags[CELL] for run in read_runs(stage, only=())}
        started = {run.cell: run.started for run in missed.missed_runs(stage)}
        lacking = {record.cell: record for record in records if record.cell not in finished or record.cell in started}
        for run in read_runs(stage, status="RUNNING", only=()):
            if run.tags[CELL] in lacking:
                store.ask(client, lambda client, id=run.id: client.set_terminated(id, "KILLED"))  # type: ignore[misc]
        if lacking:
            experiment, common = store.ask(client, lambda client: store.experiment(client, stage)), common_tags(stage)
            with write_ahead(store.engine(client), store.sqlite_file(client.tracking_uri)):
                with closing(_write(client, stage, experiment, common, list(lacking.values()), started)) as written:
                    for record in track(written, label, len(lacking), "runs"):
                        missed.forget(stage, [record.cell])
    return len(lacking)


def _write(
    client: "MlflowClient", stage: str, experiment: str, common: Mapping[str, str], records: Sequence[RunRecord],
    started: Mapping[str, int],
) -> Generator[RunRecord]:  # fmt: skip
    """Write runs, first those that are only rows of a database, and yield each record when it is written."""
    engine = store.engine(client)
    plain = {} if engine is None or not fits(engine) else {
        record.cell: each for record in records if record.cell not in started and (each := Plain.of(record))
    }  # fmt: skip
    if plain and engine is not None:
        yield from write_plain(client, engine, experiment, common, list(plain.values()))
    others = [record for record in records if record.cell not in plain]

    def write(record: RunRecord) -> RunRecord:
        _write_run(client, stage, experiment, common, record, started.get(record.cell))
        return record

    if engine is not None:
        yield from map(write, others)
        return
    with several_requests() as send:  # of a server; a missed one is forgotten before the next is written
        yield from send(write, [record for record in others if record.cell not in started])
    yield from map(write, (record for record in others if record.cell in started))


def _write_run(
    client: "MlflowClient", stage: str, experiment: str, common: Mapping[str, str], record: RunRecord, started: int | None
) -> None:  # fmt: skip
    """Write one run; a missed one gets its original start time, so that the newest run of its cell remains the newest."""
    tags = {**common, CELL: record.cell, "mlflow.runName": record.name, **record.tags}
    run = Run(client)

    def create(client: "MlflowClient") -> None:
        run.id = client.create_run(experiment, start_time=started, tags=tags, run_name=record.name).info.run_id

    def finish(client: "MlflowClient") -> None:
        client.set_terminated(run.id, "FINISHED")
        run.finished = True

    with closing_on_error(run):
        store.ask(client, create)
        run.log_record(record, record.params)
        store.ask(client, finish if started is None else lambda client: settle(client, run, stage, record.cell))


def tag_runs(run_ids: Sequence[str], tags: Mapping[str, str]) -> None:
    """Set tags of existing runs."""
    from mlflow.entities import RunTag

    client = store.connect()
    entities = [RunTag(key, value) for key, value in tags.items()]
    for run_id in run_ids:
        store.ask(client, lambda client, id=run_id: client.log_batch(id, tags=entities))  # type: ignore[misc]

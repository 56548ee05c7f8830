"""Adopt the run that `mlflow run` opened for this process (MLFLOW_RUN_ID)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.tracking import store
from medtransfer.tracking.retry import is_away

if TYPE_CHECKING:
    from mlflow import MlflowClient

_OPENED_BY_PROJECT = "MLFLOW_RUN_ID"


@contextmanager
def project_run_set_aside() -> Iterator[None]:
    """Hide the run that `mlflow run` opened within the block."""
    run_id = os.environ.pop(_OPENED_BY_PROJECT, None)
    try:
        yield
    finally:
        if run_id is not None:
            os.environ[_OPENED_BY_PROJECT] = run_id


def note_reuse(finished: str, words: str = "The result existed already") -> None:
    """Record the finished run that holds the result in the run that `mlflow run` opened, if any."""
    if not os.environ.get(_OPENED_BY_PROJECT):
        return
    from mlflow.entities import RunTag

    client = store.connect()
    tags = {"medtransfer.reuses": finished, "mlflow.note.content": f"{words}: run {finished}."}
    run = str(store.ask(client, take_project_run))
    store.ask(client, lambda client: client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()]))


def require_project_run() -> None:
    """Check that the run that `mlflow run` opened, if any, is in this store.

    Raises:
        InputError: it is not.
    """
    if run_id := os.environ.get(_OPENED_BY_PROJECT):
        store.ask(store.connect(), take_project_run)
        os.environ[_OPENED_BY_PROJECT] = run_id


def take_project_run(client: "MlflowClient") -> str | None:
    """Return the run that `mlflow run` opened for this process, in the first call only."""
    from mlflow.exceptions import MlflowException

    run_id = os.environ.get(_OPENED_BY_PROJECT)
    if not run_id:
        return None
    try:
        opened = client.get_run(run_id).info.run_id
    except MlflowException as error:
        if is_away(error):  # the request is retried
            raise
        raise InputError(_other_store(run_id, store.shown(client.tracking_uri))) from None
    del os.environ[_OPENED_BY_PROJECT]
    return opened


def _other_store(run_id: str, address: str) -> str:
    """Explain why the store lacks the run that `mlflow run` opened."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    expected = f"expected {_OPENED_BY_PROJECT} to name a run of {address}, but it has no run {run_id!r}"
    if store.is_relative(given):
        return (
            f"{expected}: two stores are in play, since MLFLOW_TRACKING_URI is the relative address {given}, which `mlflow run` "
            f"reads from the folder that it was started in and medtransfer from the project's; set it to {address} or another "
            "absolute address"
        )
    return f"{expected}; unset it"

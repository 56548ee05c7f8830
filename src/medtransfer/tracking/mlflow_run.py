"""Adopt the run that `mlflow run` opened for this process (MLFLOW_RUN_ID)."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medtransfer.errors import InputError
from medtransfer.tracking import store
from medtransfer.tracking.retry import is_away, login_refused
from medtransfer.tracking.tags import CELL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger("medtransfer")
_OPENED_BY_PROJECT = "MLFLOW_RUN_ID"
_NAMES_RESULT = ("target", "encoder", "origin", "epoch", "mode", "seed")  # params; others may be written or set otherwise


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
    """Record the finished run that holds the result in the run that `mlflow run` opened, if any, unless that is a result itself."""
    if not os.environ.get(_OPENED_BY_PROJECT):
        return
    from mlflow.entities import RunTag

    client = store.connect()
    tags = {"medtransfer.reuses": finished, "mlflow.note.content": f"{words}: run {finished}."}
    opened = store.ask(client, _find_project_run)
    os.environ.pop(_OPENED_BY_PROJECT, None)
    if opened is None or CELL in opened.data.tags:
        return
    run = opened.info.run_id
    store.ask(client, lambda client: client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()]))


def require_project_run() -> None:
    """Check that the run that `mlflow run` opened, if any, is in this store.

    Raises:
        InputError: it is not.
    """
    if os.environ.get(_OPENED_BY_PROJECT):
        store.ask(store.connect(), _find_project_run)


def take_project_run(client: "MlflowClient", name: str, cell: str, params: Mapping[str, Any]) -> str | None:
    """Return the run that `mlflow run` opened for this process, in the first call only, if it can become that of a cell.

    One cannot that has ended, that holds another result, such as that of the command before this one in a project's entry point,
    or whose params name another one, since MLflow does not change them. The log says so.

    Args:
        client: client of the store.
        name: name of the run of the cell, for the log.
        cell: digest of everything that the result depends on.
        params: its params.
    """
    opened = _find_project_run(client)
    os.environ.pop(_OPENED_BY_PROJECT, None)
    if opened is None:
        return None
    if why := _is_of_another(opened, cell, params):
        log.warning("%s: a run of its own, since the run %s, which MLFLOW_RUN_ID names, %s", name, opened.info.run_id, why)
        return None
    return str(opened.info.run_id)


def _is_of_another(opened: "Run", cell: str, params: Mapping[str, Any]) -> str:
    """Return why a run cannot become that of a cell; empty if it can."""
    held, status, given = opened.data.tags.get(CELL), opened.info.status, opened.data.params
    if held not in (None, cell):
        return "holds another result"
    if status == "FINISHED" or (held is None and status != "RUNNING"):
        return f"has ended ({status})"  # one of this cell that was interrupted goes on
    other = [key for key in _NAMES_RESULT if key in given and key in params and _differ(given[key], str(params[key]))]
    return f"has {other[0]} {given[other[0]]}, not {params[other[0]]}" if other else ""


def _differ(first: str, second: str) -> bool:
    """Return whether two params are different numbers or names; null, and lists, leave it to the stage or are of several cells."""
    try:
        return float(first) != float(second)
    except ValueError:
        return first not in ("null", "None") and not {",", "["} & set(first) and first != second


def _find_project_run(client: "MlflowClient") -> "Run | None":
    """Return the run that `mlflow run` opened for this process."""
    from mlflow.exceptions import MlflowException

    run_id = os.environ.get(_OPENED_BY_PROJECT)
    if not run_id:
        return None
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if is_away(error) or login_refused("", error):  # the request is retried, or tells of the login
            raise
        raise InputError(_other_store(run_id, store.shown(client.tracking_uri))) from None


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

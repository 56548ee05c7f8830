"""A call to the tracking store goes in; its answer comes out, asked again where the store was locked, slow or away for a moment."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from medtransfer.errors import StageError, causes, is_full_disk
from medtransfer.signals import stops_later
from medtransfer.tracking.tags import DATABASES

Answer = TypeVar("Answer")
PATIENCE = 30.0  # seconds that a store may stay away before it counts as lost
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0  # seconds; each wait is twice the one before, and up to a half longer by chance
_AWAY_STATUS = {408, 429, 500, 502, 503, 504}


class StoreLost(StageError):
    """The tracking store answered before and does not answer any more."""


def patiently(call: Callable[[], Answer], address: str, patience: float | None = None) -> Answer:
    """Ask the store, again and again with growing waits while it is locked, slow or away.

    Args:
        call: one request.
        address: of the store, for the message, without its password.
        patience: seconds, PATIENCE when None.

    Raises:
        StoreLost: it stayed away.
        Exception: what the call raises for another reason; an answer that says no is not asked for again.
    """
    end = time.monotonic() + (PATIENCE if patience is None else patience)
    wait = FIRST_WAIT
    while True:
        try:
            with whole(address):
                return call()
        except Exception as fault:
            if not is_away(fault):
                raise
            if time.monotonic() + wait > end:
                raise lost(address, fault) from fault
        time.sleep(wait * random.uniform(1, 1.5))
        wait = min(2 * wait, LONGEST_WAIT)


def whole(address: str) -> AbstractContextManager[None]:
    """Let a request end before the process stops: one that is broken off inside a database leaves it locked, or a run open.

    One to a server may take minutes, and the server ends it by itself.
    """
    return stops_later() if address.startswith(DATABASES) else nullcontext()


def lost(address: str, fault: BaseException) -> StoreLost:
    """Give the error that says what to do about a lost store."""
    return StoreLost(
        f"the tracking store at {address} does not answer any more ({in_one_line(fault)}); what is finished is kept: run the same "
        "command again when the store is back"
    )


def is_away(fault: BaseException) -> bool:
    """Tell whether a fault means that the store is locked, slow or gone, rather than that it refuses what it was told."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout
    from sqlalchemy.exc import InterfaceError, OperationalError

    if is_full_disk(fault):
        return False
    away = (ConnectionError, TimeoutError, NoConnection, Timeout, OperationalError, InterfaceError)
    return any(isinstance(one, away) or _status(one) in _AWAY_STATUS for one in causes(fault))


def _status(fault: BaseException) -> int | None:
    """Give the HTTP status of an answer that MLflow turned into an exception."""
    from mlflow.exceptions import RestException

    return fault.get_http_status_code() if isinstance(fault, RestException) else None


def in_one_line(fault: BaseException) -> str:
    """Give a fault's words on one line, shortened."""
    return " ".join(str(fault).split())[:300]


@contextmanager
def little_patience() -> Iterator[None]:
    """Ask a server that may be down only briefly; one that has answered keeps MLflow's own patience, or the user's."""
    brief = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    ours = {name: value for name, value in brief.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)

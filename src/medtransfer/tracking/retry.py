"""Retry requests to a tracking store that is temporarily locked, slow or unreachable."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from medtransfer.errors import TemporaryError, causes, is_full_disk
from medtransfer.records import in_one_line
from medtransfer.signals import stops_later
from medtransfer.tracking.tags import DATABASES

Answer = TypeVar("Answer")
PATIENCE = 30.0  # seconds that a store may be unreachable before it counts as lost
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0  # seconds; each wait doubles, plus up to half of it at random
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # setting of MLflow
_AWAY_STATUS = {408, 429, 500, 502, 503, 504}


class StoreLost(TemporaryError):
    """The connection to the tracking store is lost: it answered before and no longer does."""


def with_retries(call: Callable[[], Answer], address: str, patience: float | None = None) -> Answer:
    """Send a request to the store; retry with growing waits while it is unreachable. Permanent errors are not retried.

    Args:
        call: sends one request.
        address: address of the store without passwords, for the message.
        patience: seconds to keep trying, PATIENCE if None.

    Raises:
        StoreLost: the store remained unreachable.
        Exception: any other error of the call.
    """
    end = time.monotonic() + (PATIENCE if patience is None else patience)
    wait = FIRST_WAIT
    while True:
        try:
            with uninterrupted(address):
                return call()
        except Exception as error:
            if not is_away(error):
                raise
            if time.monotonic() + wait > end:
                raise store_lost(address, error) from error
        time.sleep(wait * random.uniform(1, 1.5))
        wait = min(2 * wait, LONGEST_WAIT)


def uninterrupted(address: str) -> AbstractContextManager[None]:
    """Defer SIGINT and SIGTERM until a request to a database ends, since an interrupted one may leave a run open.

    Requests to a server may take minutes and are not protected; the server rolls back on disconnect.
    """
    return stops_later() if address.startswith(DATABASES) else nullcontext()


def store_lost(address: str, error: BaseException) -> StoreLost:
    """Return the error for a lost store, with the remedy."""
    return StoreLost(
        f"the tracking store at {address} does not answer any more ({in_one_line(error)}); what is finished is kept: run the same "
        "command again when the store is back"
    )


def is_away(error: BaseException) -> bool:
    """Return whether an error means that the store is locked, slow or unreachable, not that it rejected the request."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout
    from sqlalchemy.exc import InterfaceError, OperationalError

    if is_full_disk(error):
        return False
    away = (ConnectionError, TimeoutError, NoConnection, Timeout, OperationalError, InterfaceError)
    return any(isinstance(cause, away) or _http_status(cause) in _AWAY_STATUS for cause in causes(error))


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status of a response that MLflow raised as an exception."""
    from mlflow.exceptions import RestException

    return error.get_http_status_code() if isinstance(error, RestException) else None


@contextmanager
def short_http_timeouts() -> Iterator[None]:
    """Use short HTTP timeouts within the block, unless the user has set them; MLflow's defaults are minutes."""
    brief = {RETRIES: "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    added = {name: value for name, value in brief.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

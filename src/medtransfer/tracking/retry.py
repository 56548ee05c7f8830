"""Retry requests to a tracking store that is temporarily locked, slow or unreachable."""

import logging
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from medtransfer.errors import TemporaryError, causes, is_full_disk
from medtransfer.records import in_one_line
from medtransfer.signals import stops_later
from medtransfer.tracking.tags import DATABASES

log = logging.getLogger("medtransfer")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
AT_ONCE = 8  # requests to a server
PATIENCE = 30.0  # seconds that a store may be unreachable before it counts as lost
SILENCE = 5.0  # of them, after which the log says so
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0  # seconds; each wait doubles, plus up to half of it at random
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # setting of MLflow
_AWAY_STATUS = {408, 429, 500, 502, 503, 504}
_REFUSED_STATUS = {401, 403}
_of_thread = threading.local()
_saying, _said_until = threading.Lock(), dict[str, float]()  # by address
_STATUS = re.compile(r"too many (\d{3}) error responses|failed with error code (\d{3})")  # of urllib3, and of MLflow


class StoreLost(TemporaryError):
    """The connection to the tracking store is lost: it answered before and no longer does."""

    @property
    def fault(self) -> str:
        """What is wrong, without the remedy for work that ends."""
        return str(self).split("; what is finished is kept")[0]


class LoginRefused(StoreLost):
    """The tracking server refuses the login, as when a token has run out."""


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
    begin = time.monotonic()
    end = begin + (PATIENCE if patience is None else patience)
    wait = FIRST_WAIT
    while True:
        try:
            with uninterrupted(address):
                return call()
        except Exception as raised:
            if not is_away(raised):
                raise
            if time.monotonic() + wait > end:
                raise store_lost(address, raised) from raised
            if time.monotonic() - begin > SILENCE:
                _say_once(address, raised, end)
            error = raised
        if _pause(wait * random.uniform(1, 1.5)):
            raise store_lost(address, error)
        wait = min(2 * wait, LONGEST_WAIT)


def _say_once(address: str, error: BaseException, end: float) -> None:
    """Say that a store is away, until when nothing more is said, whichever thread asks it."""
    with _saying:
        if time.monotonic() < _said_until.get(address, 0.0):
            return
        _said_until[address] = end
    log.warning("the tracking store at %s is away: %s; trying for %.0f s more", address, describe(error)[0], end - time.monotonic())


def uninterrupted(address: str) -> AbstractContextManager[None]:
    """Defer SIGINT and SIGTERM until a request to a database ends, since an interrupted one may leave a run open.

    Requests to a server may take minutes and are not protected; the server rolls back on disconnect.
    """
    return stops_later() if address.startswith(DATABASES) else nullcontext()


def store_lost(address: str, error: BaseException) -> StoreLost:
    """Return the error for a lost store, with the remedy."""
    status = http_status(error)
    fault = f"answers with the error {status} now" if status else f"does not answer any more ({in_one_line(error)})"
    return StoreLost(
        f"the tracking store at {address} {fault}; what is finished is kept: run the same command again when the store is back"
    )


def describe(error: BaseException) -> tuple[str, str]:
    """Return why a store cannot be used, as a clause, and the remedy if the error tells it."""
    status = http_status(error)
    if status in _REFUSED_STATUS:
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to a login that may use it"
        return f"it refuses the login ({status})", remedy
    return f"it answers with the error {status}" if status else f"it does not answer ({in_one_line(error)})", ""


def login_refused(address: str, error: BaseException) -> LoginRefused | None:
    """Return the error for a server that refuses the login, with the remedy; None if the error is another one."""
    if http_status(error) not in _REFUSED_STATUS:
        return None
    reason, remedy = describe(error)
    return LoginRefused(f"expected the tracking store at {address} to take this login, but {reason}; {remedy}")


def is_away(error: BaseException) -> bool:
    """Return whether an error means that the store is locked, slow or unreachable, not that it rejected the request."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout
    from sqlalchemy.exc import InterfaceError, OperationalError

    if is_full_disk(error) or isinstance(error, StoreLost):  # one that was retried already
        return False
    away = (ConnectionError, TimeoutError, NoConnection, Timeout, OperationalError, InterfaceError)
    return http_status(error) in _AWAY_STATUS or any(isinstance(cause, away) for cause in causes(error))


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status of a response that an exception tells of; None if it tells of none.

    MLflow raises a response of its server as a RestException, one of a proxy before it that is no JSON as an MlflowException, one
    of the server for artifacts as requests' HTTPError, and one that it has sent a request again for as urllib3's in another's text.
    """
    answers = getattr(sys.modules.get("mlflow.exceptions"), "RestException", ())  # nothing raised one where it is not loaded
    for cause in causes(error):
        if isinstance(cause, answers):  # one without a code, as a gateway sends it, would be 500
            return int(cause.get_http_status_code()) if "error_code" in cause.json else None  # type: ignore[attr-defined]
        if (status := getattr(getattr(cause, "response", None), "status_code", None)) is not None:
            return int(status)
        if found := _STATUS.search(str(cause)):
            return int(found[1] or found[2])
    return None


class _OwnRetries:
    """Within a block, in any thread, MLflow sends no request again by itself, which takes it four minutes; see `with_retries`."""

    def __init__(self) -> None:
        self._lock, self._blocks, self._is_set = threading.Lock(), 0, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._blocks += 1
            if RETRIES not in os.environ:  # else by the user's wish, or `short_http_timeouts`
                os.environ[RETRIES], self._is_set = "0", True
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if self._is_set and not self._blocks:
                    self._is_set = False
                    os.environ.pop(RETRIES, None)


own_retries = _OwnRetries()


@contextmanager
def several_requests() -> Iterator[Callable[[Callable[[Item], Answer], Sequence[Item]], Iterator[Answer]]]:
    """Yield a `map` whose calls send requests to a server, eight at a time; its results are in the order of the items.

    When a call has failed, or the block ends, no further one begins, and those that wait to send a request again give up.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(AT_ONCE, initializer=setattr, initargs=(_of_thread, "stop", stop))

    def send(call: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
        def one(item: Item) -> Answer:
            if stop.is_set():
                raise CancelledError
            try:
                return call(item)
            except BaseException:
                stop.set()
                raise

        return pool.map(one, items)

    with own_retries():
        try:
            yield send
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _pause(seconds: float) -> bool:
    """Wait, and return whether the thread is to end instead; see `several_requests`."""
    stop: threading.Event | None = getattr(_of_thread, "stop", None)
    if stop is not None:
        return stop.wait(seconds)
    time.sleep(seconds)
    return False


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

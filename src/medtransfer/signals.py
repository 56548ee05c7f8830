"""Clean exits on SIGTERM, and context managers that keep its handler, and that defer SIGTERM and Ctrl-C."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_TO_STOP_LATER = 5.0
SECONDS_TO_STOP_AGAIN = 0.01


class Stopped(SystemExit):
    """The process received SIGTERM, as schedulers and service managers send it."""


def stop_on_sigterm() -> None:
    """Turn SIGTERM into `Stopped`, a SystemExit, so that cleanup runs as on Ctrl-C; a second SIGTERM kills."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped(128 + number)

    signal.signal(signal.SIGTERM, stop)


def stop_though_ignored() -> None:
    """Repeat SIGTERM and Ctrl-C that Python ignores, since they came within a destructor or the callback of a weak reference.

    Every import ends with such a callback.
    """
    before = sys.unraisablehook

    def hook(ignored: "sys.UnraisableHookArgs") -> None:
        if not isinstance(ignored.exc_value, KeyboardInterrupt | Stopped):
            before(ignored)
            return
        number = signal.SIGTERM if isinstance(ignored.exc_value, Stopped) else signal.SIGINT
        signal.signal(signal.SIGALRM, lambda *_: _repeat(number))  # raised here, it would be ignored once more
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP_AGAIN)

    sys.unraisablehook = hook


def _repeat(number: signal.Signals) -> None:
    if number == signal.SIGTERM:
        stop_on_sigterm()  # the first one has removed the handler
    signal.raise_signal(number)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Set the handler of SIGTERM again after a block in which a library replaces it, as Ray does."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():  # None: not of Python
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def stops_later() -> Iterator[None]:
    """Defer SIGTERM and Ctrl-C until the block ends, at most 5 s; a second signal is handled at once."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    received: list[int] = []
    alarms: list[Any] = []
    handlers = {number: handler for number in (signal.SIGTERM, signal.SIGINT) if callable(handler := signal.getsignal(number))}

    def defer(number: int, frame: object) -> None:
        if received:
            handle(number)
        received.append(number)
        alarms.append(signal.signal(signal.SIGALRM, lambda *_: handle(number)))
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP_LATER)

    def handle(number: int) -> None:
        handlers[signal.Signals(number)](number, None)

    for number in handlers:
        signal.signal(number, defer)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarms[0])
            handle(received[0])

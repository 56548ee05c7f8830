"""SIGTERM and Ctrl-C: ended in order, or a few seconds later."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_TO_STOP_LATER = 5.0


class Stopped(SystemExit):
    """The process was asked to end (SIGTERM), as schedulers and service managers do."""


def stop_on_sigterm() -> None:
    """Let SIGTERM end the work as Ctrl-C does: runs are closed, locks fall, nothing is half-written; a second one ends at once."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped(128 + number)

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def stops_later() -> Iterator[None]:
    """Let the block end, or a few seconds pass, before SIGTERM or Ctrl-C is heard; a second one is heard at once."""
    if threading.current_thread() is not threading.main_thread():  # signals are heard by the main thread alone
        yield
        return
    heard: list[int] = []
    alarms: list[Any] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}

    def note(number: int, frame: object) -> None:
        if heard:
            hear(number)
        heard.append(number)
        alarms.append(signal.signal(signal.SIGALRM, lambda *_: hear(number)))
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP_LATER)

    def hear(number: int) -> None:
        ours[signal.Signals(number)](number, None)

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if heard:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarms[0])
            hear(heard[0])

"""Bars on a terminal."""

import logging
import os
import signal
import sys
from collections.abc import Iterable
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_DRAWINGS = 1.0  # of a bar of jobs
COUNTS = 50  # columns for the share, the counts and the times, which a long label does not take
OF_JOBS = "{l_bar}{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}]"

log = logging.getLogger("medtransfer")


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar as wide as the terminal, or of 80 columns where that is unknown, as in some containers; tqdm would show none.

    A log line takes its place, and it is drawn again below. A label that is too long for the terminal lacks its middle. The clock
    of a bar without items goes on by itself: it is of jobs that others count, and that may take hours.
    """

    monitor_interval = 0  # no thread that looks for bars that stand still, with which no process is forked (`forks.can_fork`)

    def __init__(self, items: Iterable[Any] | None = None, **options: Any) -> None:
        """Draw the bar.

        Args:
            items: items to iterate over; None for jobs.
            options: further arguments of tqdm.
        """
        options = {"miniters": 1, **({"bar_format": OF_JOBS} if items is None else {}), **options}  # drawn by the clock alone
        self._are_jobs, self._last, self._closed = items is None, 0.0, Event()
        super().__init__(items, **options, **({"dynamic_ncols": True} if _is_size_known() else {"ncols": 80, "nrows": 24}))
        if self.disable:
            return
        log.addFilter(self._make_room)
        if items is None:
            Thread(target=self._redraw, daemon=True).start()

    def update(self, n: float | None = 1) -> bool | None:
        """Count items that are done."""
        if not self.disable:
            self._last = self._time()
        return super().update(n)

    def reuse(self, n: int) -> None:
        """Count items that were done before, and say nothing about the others' pace."""
        if not self.disable:
            self.n += n
            self.initial += n
            self.refresh()

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is shown; the time left of jobs goes on between the end of one and of the next."""
        shown = super().format_dict
        if self.disable or not self._are_jobs or not self._last or not self.total:
            return shown
        done, left = self.n - self.initial, self.total - self.n
        if done <= 0 or left <= 0:
            return shown
        pace = (self._last - self.start_t) / done
        seconds = max(left * pace - (self._time() - self._last), (left - 1) * pace, 1.0)
        return {**shown, "rate": left / seconds}

    @staticmethod
    def format_meter(n: float, total: float, elapsed: float, ncols: int | None = None, prefix: str = "", **shown: Any) -> str:
        """Return the bar's text."""
        room = max((ncols or 0) - COUNTS, 8)
        if ncols and len(prefix) > room:
            name, end = prefix.removesuffix(": "), (room - 3) // 2
            prefix = f"{name[: room - 3 - end]}…{name[len(name) - end :]}: "
        return str(tqdm.format_meter(n, total, elapsed, ncols=ncols, prefix=prefix, **shown))

    def close(self) -> None:
        """Remove the bar, or leave its last state."""
        log.removeFilter(self._make_room)
        self._closed.set()
        super().close()

    def _make_room(self, record: logging.LogRecord) -> bool:
        self.clear()
        return True

    def _redraw(self) -> None:
        """Draw the bar again and again, in a thread that leaves signals to the main one, which may wait for something."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._closed.wait(SECONDS_BETWEEN_DRAWINGS):
            self.refresh()


def _is_size_known() -> bool:
    try:
        return all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):  # it is no terminal
        return True

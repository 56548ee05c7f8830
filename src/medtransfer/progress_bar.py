"""Bars on a terminal."""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from threading import Thread
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_DRAWINGS = 1.0  # of a bar of jobs

log = logging.getLogger("medtransfer")


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar as wide as the terminal, or of 80 columns where that is unknown, as in some containers; tqdm would show none.

    A log line takes its place, and it is drawn again below. The clock of a bar without items goes on by itself: it is of jobs that
    others count, and that may take hours.
    """

    monitor_interval = 0  # no thread that looks for bars that stand still, with which no process is forked (`forks.can_fork`)

    def __init__(self, items: Iterable[Any] | None = None, **options: Any) -> None:
        """Draw the bar.

        Args:
            items: items to iterate over; None for jobs.
            options: further arguments of tqdm.
        """
        options = {"miniters": 1, **options}  # it is drawn by the clock alone
        super().__init__(items, **options, **({"dynamic_ncols": True} if _is_size_known() else {"ncols": 80, "nrows": 24}))
        if self.disable:
            return
        log.addFilter(self._make_room)
        if items is None:
            Thread(target=self._redraw, daemon=True).start()

    def close(self) -> None:
        """Remove the bar, or leave its last state."""
        log.removeFilter(self._make_room)
        super().close()

    def _make_room(self, record: logging.LogRecord) -> bool:
        self.clear()
        return True

    def _redraw(self) -> None:
        """Draw the bar again and again, in a thread that leaves signals to the main one, which may wait for something."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self.disable:
            self.refresh()
            time.sleep(SECONDS_BETWEEN_DRAWINGS)


def _is_size_known() -> bool:
    try:
        return all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):  # it is no terminal
        return True

"""Progress: a tqdm bar on a terminal, sparse log lines elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from medtransfer.environment import gc_paused
from medtransfer.wording import duration

if TYPE_CHECKING:
    from medtransfer.progress_bar import Bar

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES, FIRST_LINE = 15.0, 5.0  # the first comes earlier, after so many seconds
SOON = 1.0  # seconds from which on the pace of what began after the command did is known well enough for its first line
STARTED = time.monotonic()  # about when the command did, since this is loaded first
LONG = 2.0  # seconds from which on something has a bar within another one
ERASE = "\r\x1b[2K"  # to the start of the line of a terminal, and erase it

log = logging.getLogger("medtransfer")
_statuses: list[str] = []  # shown on the terminal, each within the one before


def on_terminal() -> bool:
    """Return whether standard error is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def track(items: Iterable[Item], label: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Item]:
    """Yield the items and show progress, rate and remaining time.

    Args:
        items: items to iterate over.
        label: start of the bar or line.
        total: number of items, with those done before.
        unit: name of one item.
        done: number of items that were done before, as in what is resumed; they say nothing about the pace.
    """
    if on_terminal():
        yield from bar(items, desc=label, total=total, unit=unit, initial=done, leave=False)
        return
    lines = Lines(label, unit, done)
    for count, item in enumerate(items, start=done + 1):
        yield item
        lines.show(count, total)


def track_within(
    items: Iterable[Item], label: str, total: int, unit: str = "it", seconds: float = SECONDS_BETWEEN_LINES, done: int = 0
) -> Iterator[Item]:  # fmt: skip
    """Yield the items of one of those that another bar or other lines count, and show progress if that takes long.

    Arguments are those of `track`, and `seconds`, the least time between two lines.
    """
    if on_terminal():
        yield from bar(items, desc=label, total=total, unit=unit, initial=done, leave=False, delay=LONG)
        return
    lines = Lines(label, unit, done, seconds, first=seconds)
    for count, item in enumerate(items, start=done + 1):
        yield item
        lines.show(count, total)


def bar(items: "Iterable[Item] | None" = None, **options: Any) -> "Bar":
    """Return a bar of a terminal; see `Bar`."""
    from medtransfer.progress_bar import Bar  # takes a moment to load

    return Bar(items, **options)


class Lines:
    """Sparse log lines of progress, rate and remaining time, where there is no terminal."""

    def __init__(
        self, label: str, unit: str, before: int = 0, seconds: float = SECONDS_BETWEEN_LINES, first: float = FIRST_LINE
    ) -> None:  # fmt: skip
        """Start the clock.

        Args:
            label: start of the lines.
            unit: name of one item.
            before: number of items that were done before.
            seconds: least time between two lines.
            first: least time before the first; FIRST_LINE is less for what begins within as many seconds of the command's start.
        """
        self._label, self._unit, self.before, self._seconds = label, unit, before, seconds
        self._begin = time.monotonic()
        ago = self._begin - STARTED
        if 0 <= ago < FIRST_LINE and first == FIRST_LINE:
            first = max(FIRST_LINE - ago, SOON)
        self._last = self._begin - (seconds - first)

    def restart(self) -> None:
        """Start the clock of the pace again."""
        self._begin = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Log a line if the last one is long enough ago, and something is left."""
        now = time.monotonic()
        if now - self._last >= self._seconds and self.before < done < total:
            rate = (done - self.before) / (now - self._begin)
            pace = f"{rate:.1f}/s" if rate >= 0.1 else f"{1 / rate:.0f} s each"
            log.info("%s: %d/%d %s, %s, %s left", self._label, done, total, self._unit, pace, duration((total - done) / rate))
            self._last = now


class Tally:
    """Counts what is done, whoever does it: a bar on a terminal, sparse log lines elsewhere."""

    def __init__(self, label: str, total: int, unit: str, at_once: int = 1) -> None:
        """Start.

        Args:
            label: start of the bar or line.
            total: number of items.
            unit: name of several items.
            at_once: number of items that are done at once; the first ones took as long as all that ran beside them.
        """
        self._bar = bar(total=total, desc=label, unit=unit, disable=None)
        self._lines, self._at_once, self.done, self.total = Lines(label, unit), at_once, 0, total

    def count(self, number: int = 1) -> None:
        """Count items that are done."""
        self._bar.update(number)
        self.done += number
        if self._bar.disable and self.done - self._lines.before >= self._at_once:
            self._lines.show(self.done, self.total)

    def reuse(self, number: int = 1) -> None:
        """Count items that were done before, which say nothing about the pace."""
        self._bar.reuse(number)
        self.done += number
        self._lines.before += number

    def restart(self, at_once: int = 1) -> None:
        """Start the clock again, as what runs the items has started only now; `at_once` of them are done at once."""
        self._lines.restart()
        self._at_once = at_once
        if not self._bar.disable:
            self._bar.start_t = self._bar._time()

    def expect(self, total: int) -> None:
        """Change the number of items."""
        self._bar.total = self.total = total
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()

    def __enter__(self) -> Self:
        """Return the tally, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self.close()


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show on a terminal, within the block, what is being done that takes seconds and cannot be counted; elsewhere say nothing.

    After an inner block that of the outer one is shown again.
    """
    if not on_terminal():
        yield
        return

    def write(shown: str) -> bool:
        sys.stderr.write(f"{ERASE}{shown}")
        sys.stderr.flush()
        return True

    def erase(record: logging.LogRecord) -> bool:
        return write("")

    _statuses.append(f"{text} …")
    write(_statuses[-1])
    log.addFilter(erase)  # a log line takes the place of the status
    try:
        yield
    finally:
        log.removeFilter(erase)
        _statuses.pop()
        write(_statuses[-1] if _statuses else "")


@contextmanager
def loading(stage: str) -> Iterator[None]:
    """Show on a terminal, within the block, that a stage loads its libraries."""
    with status(f"{stage}: loading libraries"), gc_paused():
        yield

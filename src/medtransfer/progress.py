"""Progress: a tqdm bar on a terminal, sparse log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from medtransfer.environment import gc_paused

if TYPE_CHECKING:
    from medtransfer.progress_bar import Bar

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0
LONG = 2.0  # seconds from which on something has a bar within another one
ERASE = "\r\x1b[2K"  # to the start of the line of a terminal, and erase it

log = logging.getLogger("medtransfer")


def track(items: Iterable[Item], label: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Item]:
    """Yield the items and show progress, rate and remaining time.

    Args:
        items: items to iterate over.
        label: start of the bar or line.
        total: number of items, with those done before.
        unit: name of one item.
        done: number of items that were done before, as in what is resumed; they say nothing about the pace.
    """
    if sys.stderr.isatty():
        yield from bar(items, desc=label, total=total, unit=unit, initial=done, leave=False)
        return
    lines = Lines(label, unit, done)
    for count, item in enumerate(items, start=done + 1):
        yield item
        lines.show(count, total)


def track_within(items: Iterable[Item], label: str, total: int, unit: str = "it") -> Iterable[Item]:
    """Yield the items of one of those that `track` counts; what takes long has a bar of its own below, on a terminal."""
    return bar(items, desc=label, total=total, unit=unit, leave=False, delay=LONG) if sys.stderr.isatty() else items


def bar(items: "Iterable[Item] | None" = None, **options: Any) -> "Bar":
    """Return a bar of a terminal; see `Bar`."""
    from medtransfer.progress_bar import Bar  # takes a moment to load

    return Bar(items, **options)


class Lines:
    """Sparse log lines of progress, rate and remaining time, where there is no terminal."""

    def __init__(self, label: str, unit: str, before: int = 0) -> None:
        """Start the clock; arguments as in `track`, whose `done` is `before`."""
        self._label, self._unit, self.before = label, unit, before
        self._begin = self._last = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Log a line if the last one is long enough ago, and something is left."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES and self.before < done < total:
            rate = (done - self.before) / (now - self._begin)
            pace = f"{rate:.1f}/s" if rate >= 0.1 else f"{1 / rate:.0f} s each"
            log.info("%s: %d/%d %s, %s, %.0f s left", self._label, done, total, self._unit, pace, (total - done) / rate)
            self._last = now


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show on a terminal, within the block, what is being done that takes seconds and cannot be counted; elsewhere say nothing."""
    if not sys.stderr.isatty():
        yield
        return

    def write(shown: str) -> bool:
        sys.stderr.write(f"{ERASE}{shown}")
        sys.stderr.flush()
        return True

    def erase(record: logging.LogRecord) -> bool:
        return write("")

    write(f"{text} …")
    log.addFilter(erase)  # a log line takes the place of the status
    try:
        yield
    finally:
        log.removeFilter(erase)
        write("")


@contextmanager
def loading(stage: str) -> Iterator[None]:
    """Show on a terminal, within the block, that a stage loads its libraries."""
    with status(f"{stage}: loading libraries"), gc_paused():
        yield

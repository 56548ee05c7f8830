"""Progress: a tqdm bar on a terminal, sparse log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from medtransfer.environment import importing

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0

log = logging.getLogger("medtransfer")


def track(items: Iterable[Item], label: str, total: int, unit: str = "it") -> Iterator[Item]:
    """Yield the items and show progress, rate and remaining time.

    Args:
        items: items to iterate over.
        label: start of the bar or line.
        total: number of items.
        unit: name of one item.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, unit=unit, leave=False, dynamic_ncols=True)
        return
    begin = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            rate = done / (now - begin)
            log.info("%s: %d/%d %s, %.1f/s, %.0f s left", label, done, total, unit, rate, (total - done) / rate)
            last = now


@contextmanager
def loading(stage: str) -> Iterator[None]:
    """Say on a terminal, within the block, that a stage loads its libraries, which takes seconds; elsewhere say nothing."""
    if not sys.stderr.isatty():
        with importing():
            yield
        return
    sys.stderr.write(f"{stage}: loading libraries …")
    sys.stderr.flush()
    try:
        with importing():
            yield
    finally:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()

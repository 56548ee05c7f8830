"""Load the pictures of a dataset, on all cores where they fit in memory."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TypeVar

from medtransfer.environment import available_memory
from medtransfer.errors import InputError
from medtransfer.forks import share
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.faults import Faults
from medtransfer.prepare.readers.contract import Item, Picture, Scan, Size

LEAST = 4  # items that are worth a process
LOADED = 50  # bytes of memory that a byte of a file takes while it is loaded: compressed, then of real numbers, and copied
LEAST_MEMORY = 2**29  # bytes that a process is taken to need; pictures of few colours are compressed more
Result = TypeVar("Result")

log = logging.getLogger("medtransfer")


class _Said(Exception):
    """Something is to be logged, which is left to the first process."""


def load(scan: Scan, size: Size) -> Iterator[tuple[Item, Picture]]:
    """Yield every picture with its item, in order.

    Args:
        scan: description of the dataset.
        size: (height, width) of the stored pictures, pixels.

    Raises:
        InputError: items cannot be used; it is raised after the last, or where there are too many.
    """
    if (processes := _affordable(scan, size)) < 2:
        faults = Faults()
        for item in scan.items:  # without a copy of all pictures of an item
            faults.go_on()
            try:
                yield from ((item, picture) for picture in item.load())
                faults.see(None)
            except InputError as error:
                faults.see(error, item.files)
        faults.check()
        return
    if not isinstance(scan.scaling, str):
        scan.scaling()  # statistics of the whole dataset, which else each process would compute
    for item, pictures in _share(scan, lambda item: list(item.load()), processes):
        yield from ((item, picture) for picture in pictures)


def each(scan: Scan, size: Size, work: Callable[[Item], Result]) -> Iterator[Result]:
    """Yield what work that loads an item makes of each, in order; other arguments and errors as in `load`."""
    yield from (result for _, result in _share(scan, work, _affordable(scan, size)))


def _share(scan: Scan, work: Callable[[Item], Result], processes: int) -> Iterator[tuple[Item, Result]]:
    """Yield every item with what work makes of it."""

    def here(item: Item) -> tuple[Result | InputError, Conversions | None]:
        try:
            return work(item), None
        except InputError as error:
            return error, None

    def elsewhere(item: Item) -> tuple[Result | InputError, Conversions | None]:
        with _silent():
            result, _ = here(item)
        return result, scan.conversions and scan.conversions.of(item.files)

    faults = Faults()
    for item, (result, noted) in zip(scan.items, share(here, scan.items, LEAST, elsewhere, processes), strict=True):
        if scan.conversions and noted:
            scan.conversions.add(noted)
        faults.go_on()
        if isinstance(result, InputError):
            faults.see(result, item.files)
        else:
            faults.see(None)
            yield item, result
    faults.check()


def _affordable(scan: Scan, size: Size) -> int:
    """Return how many processes may each have an item in memory."""
    try:
        largest = max((sum(file.stat().st_size for file in item.files) for item in scan.items), default=0)
    except OSError:  # whoever loads the file says it better
        return 1
    stored = max((item.pictures for item in scan.items), default=0) * math.prod(size) * (scan.channels + 1)
    return available_memory() // 2 // max(LEAST_MEMORY, LOADED * largest + 2 * stored)  # half of it is left to others


@contextmanager
def _silent() -> Iterator[None]:
    """Show no bars within the block, and raise _Said in place of logging."""

    def refuse(record: logging.LogRecord) -> bool:
        raise _Said(record.getMessage())

    log.addFilter(refuse)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        log.removeFilter(refuse)

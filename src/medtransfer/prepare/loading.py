"""Load the pictures of a dataset, on all cores where they fit in memory."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TypeVar

from medtransfer.environment import available_memory
from medtransfer.errors import InputError
from medtransfer.forks import share
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.readers.contract import Item, Picture, Scan, Size
from medtransfer.wording import are

LEAST = 4  # items that are worth a process
LOADED = 50  # bytes of memory that a byte of a file takes while it is loaded: compressed, then of real numbers, and copied
LEAST_MEMORY = 2**29  # bytes that a process is taken to need; pictures of few colours are compressed more
MOST_FAULTS = 20  # items that cannot be used, after which the others are not looked at
MOST_FAULTS_AT_FIRST = 3  # the same while no item could be used: a setting is wrong rather than some files
SOON = 5.0  # seconds after which the first fault is named although there is no second one
Result = TypeVar("Result")

log = logging.getLogger("medtransfer")


class _Said(Exception):
    """Something is to be logged, which is left to the first process."""


class _Faults:
    """Items that cannot be used: the others are looked at nevertheless, so that all can be mended at once.

    Each is named; the only one of a dataset by the error alone, unless looking at the others takes long.
    """

    def __init__(self) -> None:
        """Begin without one."""
        self._errors: list[InputError] = []
        self._kinds: set[str] = set()
        self._unnamed: list[str] = []
        self._usable = False
        self._first = 0.0

    def see(self, item: Item, error: InputError | None) -> None:
        """Note whether an item can be used; raise the error of `check` where looking at the others is of no use."""
        if error is None:
            self._usable = True
            if self._errors and time.monotonic() - self._first > SOON:
                self._name()
            return
        kind = re.sub(r"\d+", "", _without_paths(str(error), item))
        self._first = self._first or time.monotonic()
        self._unnamed.append(f"{item.source}: the same" if kind in self._kinds else str(error))
        self._kinds.add(kind)
        self._errors.append(error)
        if len(self._errors) > 1:
            self._name()
        if len(self._errors) >= (MOST_FAULTS if self._usable else MOST_FAULTS_AT_FIRST):
            self.check("; the rest was not looked at")

    def _name(self) -> None:
        for sentence in self._unnamed:
            log.warning("prepare: %s", sentence)
        self._unnamed.clear()

    def check(self, end: str = "") -> None:
        """Raise InputError if there is one: the first one's sentence, how many others there are, and `end`."""
        if len(self._errors) > 1:
            raise InputError(f"{self._errors[0]} ({are(len(self._errors) - 1, 'other item')} named above{end})")
        if self._errors:
            raise self._errors[0]


def _without_paths(sentence: str, item: Item) -> str:
    for file in item.files:
        sentence = sentence.replace(str(file), "")
    return sentence


def load(scan: Scan, size: Size) -> Iterator[tuple[Item, Picture]]:
    """Yield every picture with its item, in order.

    Args:
        scan: description of the dataset.
        size: (height, width) of the stored pictures, pixels.

    Raises:
        InputError: items cannot be used; it is raised after the last, or where there are too many.
    """
    if (processes := _affordable(scan, size)) < 2:
        faults = _Faults()
        for item in scan.items:  # without a copy of all pictures of an item
            try:
                yield from ((item, picture) for picture in item.load())
                faults.see(item, None)
            except InputError as error:
                faults.see(item, error)
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

    faults = _Faults()
    for item, (result, noted) in zip(scan.items, share(here, scan.items, LEAST, elsewhere, processes), strict=True):
        if scan.conversions and noted:
            scan.conversions.add(noted)
        faults.see(item, result if isinstance(result, InputError) else None)
        if not isinstance(result, InputError):
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

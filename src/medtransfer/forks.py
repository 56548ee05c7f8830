"""Forked processes that take a part of the work; what one of them does not send is done by this process."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TypeVar

from medtransfer.environment import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
STOPS = (signal.SIGINT, signal.SIGTERM)
LOST = (EOFError, OSError)  # the other process has ended, between two results or within one


class Declined(Exception):
    """Work that a forked process leaves to the one that forked it."""


def can_fork() -> bool:
    """Return whether a forked process is of use, and safe: other threads may hold locks, which it would wait for in vain."""
    return sys.platform == "linux" and threading.active_count() == 1 and count_cores() > 1


@contextmanager
def forked(work: Callable[[], Iterable[Result]]) -> Iterator[Callable[[], Result]]:
    """Do work in a forked process, which ends with the block at the latest.

    Yields:
        A function that returns the next result, and raises one of `LOST` where there is none, as after an error, which is not
        shown: who does the work again meets it as well.
    """
    from multiprocessing import Pipe

    receiving, sending = Pipe(duplex=False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # else the new process could answer as the whole program
    if not (process := os.fork()):
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            receiving.close()
            for result in work():
                sending.send(result)
        except BaseException:  # a signal, too, which the other process gets as well
            os._exit(1)
        os._exit(0)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sending.close()
        yield receiving.recv
    finally:
        receiving.close()
        with suppress(ProcessLookupError, ChildProcessError):  # somebody else has waited for it
            os.kill(process, signal.SIGTERM)  # it may have ended, but keeps its number until it is waited for
            os.waitpid(process, 0)


def share(
    work: Callable[[Item], Result], items: Sequence[Item], least: int, elsewhere: Callable[[Item], Result] | None = None
) -> Iterator[Result]:  # fmt: skip
    """Yield the result of every item in order, which all cores compute where `can_fork`.

    Args:
        work: computes a result; its first one here, so that what it loads and remembers is loaded once.
        items: what results are computed of.
        least: number of items that are worth a process.
        elsewhere: in place of `work` in the other processes; after an error, such as `Declined`, the rest of the process's items
            is left to this one.
    """
    processes = min(count_cores(), len(items) // least) if can_fork() else 1
    if processes < 2:
        yield from map(work, items)
        return
    yield work(items[0])
    rest = items[1:]
    with ExitStack() as stack:
        others = [
            stack.enter_context(forked(partial(map, elsewhere or work, rest[number::processes]))) for number in range(1, processes)
        ]
        for index, item in enumerate(rest):
            if number := index % processes:
                try:
                    result = others[number - 1]()
                except LOST:
                    result = work(item)
                yield result
            else:
                yield work(item)


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Do work while the block runs where `can_fork`, and after it elsewhere, or if it failed."""
    if not can_fork():
        yield
        work()
        return
    with forked(lambda: [work() and None]) as receive:
        yield
        try:
            receive()
        except LOST:
            work()

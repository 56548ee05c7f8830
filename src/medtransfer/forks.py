"""Forked processes that take a part of the work; what one of them does not send is done by this process."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from medtransfer.environment import count_cores

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")
STOPS = (signal.SIGINT, signal.SIGTERM)
_open: "list[Connection]" = []  # what the forked processes send is received from
_most_cores: int | None = None
_is_forked = False  # such a process forks no further ones, of which there would be as many for each


class Lost(Exception):
    """A forked process does not send a result: it failed, warned, declined, was killed, or could not be started."""


def can_fork() -> bool:
    """Return whether a forked process is of use, and safe: other threads may hold locks, which it would wait for in vain.

    Threads that are not Python's do not count: those of NumPy's OpenBLAS end before a fork, and start again after it.
    """
    return sys.platform == "linux" and not _is_forked and threading.active_count() == 1 and _usable_cores() > 1


@contextmanager
def limited_to(cores: int | None) -> Iterator[None]:
    """Share work among so many processes at most within the block, such as a job of a grid; None: as many as there are cores."""
    global _most_cores
    before, _most_cores = _most_cores, cores
    try:
        yield
    finally:
        _most_cores = before


def _usable_cores() -> int:
    return min(count_cores(), _most_cores or sys.maxsize)


class Results(Generic[Result]):
    """The results that a forked process sends."""

    def __init__(self, receiving: "Connection | None") -> None:
        """Receive from a connection; None of a process that could not be started."""
        self._receiving = receiving

    def take(self) -> Result:
        """Return the next one, for which this waits.

        Raises:
            Lost: there is none any more.
        """
        if self._receiving is None:
            raise Lost
        try:
            result: Result = self._receiving.recv()
        except Exception as error:  # the process has ended, perhaps within a result, or the result cannot be unpickled
            raise Lost from error
        return result

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the next one to begin to arrive, or for there to be none any more; return whether it does."""
        return self._receiving is None or self._receiving.poll(seconds)


@contextmanager
def forked(work: Callable[[], Iterable[Result]]) -> Iterator[Results[Result]]:
    """Do work in a forked process, which ends with the block at the latest.

    The process shows neither errors nor warnings, but sends nothing any more: who does the work again meets them as well.
    """
    try:
        process, receiving = _start(work)
    except OSError:  # no more processes, files or memory
        yield Results(None)
        return
    try:
        yield Results(receiving)
    finally:
        _open.remove(receiving)
        receiving.close()
        with suppress(ProcessLookupError, ChildProcessError):  # somebody else has waited for it
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)


def _start(work: Callable[[], Iterable[object]]) -> "tuple[int, Connection]":
    """Fork a process that works; return its number and what it sends to.

    Raises:
        OSError: it cannot be started.
    """
    from multiprocessing import Pipe

    receiving, sending = Pipe(duplex=False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # the new process has the handlers of the program at first
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, for the threads of libraries, see `can_fork`
            process = os.fork()
        if not process:
            _work(work, receiving, sending, before)
    except OSError:
        receiving.close()
        raise
    finally:
        sending.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _open.append(receiving)
    return process, receiving


def _work(work: Callable[[], Iterable[object]], receiving: "Connection", sending: "Connection", mask: set[int]) -> NoReturn:
    """Work and end; main function of a forked process."""
    global _is_forked
    _is_forked = True
    try:
        signal.set_wakeup_fd(-1)
        for number in STOPS:
            signal.signal(number, signal.default_int_handler)  # an exception, so that half-written files are removed
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for connection in (receiving, *_open):  # else it would take this process's end for the others to miss their reader
            connection.close()
        with warnings.catch_warnings(record=True) as warned:
            for result in work():
                if warned:
                    os._exit(1)
                sending.send(result)
    except BaseException:
        os._exit(1)
    os._exit(0)


def share(
    work: Callable[[Item], Result], items: Sequence[Item], least: int, elsewhere: Callable[[Item], Result] | None = None,
    most: int = sys.maxsize,
) -> Iterator[Result]:  # fmt: skip
    """Yield the result of every item in order, which all cores compute where `can_fork`.

    Args:
        work: computes a result; its first one here, so that what it loads and remembers is loaded once.
        items: what results are computed of.
        least: number of items that are worth a process.
        elsewhere: in place of `work` in the other processes; where it raises anything, the rest of the process's items is left
            to this one.
        most: number of processes, at most.
    """
    processes = min(_usable_cores(), len(items) // least, most) if can_fork() else 1
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
                    result = others[number - 1].take()
                except Lost:
                    result = work(item)
                yield result
            else:
                yield work(item)


class Work(Generic[Result]):
    """Work that is done once, in a forked process if possible."""

    def __init__(self, work: Callable[[], Result], results: Results[Result]) -> None:
        """Take the result from a forked process, and do the work here where that sends none."""
        self._work, self._results = work, results

    @cached_property
    def result(self) -> Result:
        """The result, for which this waits."""
        try:
            return self._results.take()
        except Lost:
            return self._work()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the forked process, and return whether there is nothing to wait for any more."""
        return self._results.wait(seconds)


@contextmanager
def beside(work: Callable[[], Result]) -> Iterator[Work[Result]]:
    """Do work while the block runs, if `can_fork`; else, or if that fails, when its result is asked for or the block ends."""
    with forked(lambda: [work()]) if can_fork() else nullcontext(Results[Result](None)) as results:
        yield (done := Work(work, results))
        done.result  # noqa: B018 - waits for it

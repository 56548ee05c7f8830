"""The path of a result goes in; the only process that works on it goes on, the others wait for it and then see what it made."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medtransfer.errors import InputError

log = logging.getLogger("medtransfer")


def lock_path(result: Path) -> Path:
    """Give the lock file of a result, hidden beside it."""
    return result.with_name(f".{result.name}.lock")


@contextmanager
def only_one(result: Path) -> Iterator[None]:
    """Hold the lock on a result; it falls when the process ends, however it ends.

    Of processes on several hosts only those are kept apart whose shared file system knows `flock`, such as NFS 4.

    Args:
        result: a file or folder, there or not; the lock file lies beside it while somebody holds it.
    """
    path = lock_path(result)
    new = [folder for folder in path.parents if not folder.exists()]
    handle = _take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):  # a fault that came first leaves no empty folders behind; what is not empty stays
            for folder in new:
                folder.rmdir()


def _take(path: Path) -> int:
    told = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process removed its empty folder between the two lines
            continue
        result = path.with_name(path.name[1 : -len(".lock")])
        try:
            lock(handle, result, fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                log.info("another process works on %s: waiting for it", result)
                told = True
            lock(handle, result)
        if _is_still_there(handle, path):
            return handle
        os.close(handle)  # its holder removed it meanwhile: a newcomer may hold a new one


def lock(handle: int, result: Path, *flags: int) -> None:
    """Lock an open file, which stands for a result.

    Raises:
        BlockingIOError: another process holds it, where the flags say not to wait.
        InputError: the file system knows no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | sum(flags))
    except BlockingIOError:
        raise
    except OSError as fault:
        raise InputError(
            f"expected a file system that knows file locks under {result}, but it does not ({fault.strerror}); mount it with them "
            "(NFS 4, Lustre with `-o flock`), or work on a local disk"
        ) from None


def _is_still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def is_taken(result: Path) -> bool:
    """Tell whether a process works on a result just now."""
    try:
        handle = os.open(lock_path(result), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        lock(handle, result, fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False

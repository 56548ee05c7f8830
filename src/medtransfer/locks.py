"""Exclusive file locks: one process works on a result while the others wait for it."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from medtransfer.errors import InputError, is_full_disk

log = logging.getLogger("medtransfer")
MOST_TRIES, SECONDS_BETWEEN_TRIES = 20, 0.05  # to make a folder that is gone again
_UNSUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


def lock_path(result: Path) -> Path:
    """Return the lock file of a result, hidden beside it."""
    return result.with_name(f".{result.name}.lock")


@contextmanager
def exclusive(result: Path) -> Iterator[None]:
    """Hold the lock on a result; the OS releases it when the process exits.

    Processes on several hosts exclude each other only on a shared file system that supports `flock`, such as NFS 4.

    Args:
        result: file or folder, which need not exist; the lock file is beside it while the lock is held.

    Raises:
        InputError: the file system does not support locks, or the lock file cannot be written.
    """
    path = lock_path(result)
    try:
        created = [folder for folder in path.parents if not folder.exists()]
    except OSError as error:
        raise _unwritable(result, error) from None
    lock = _acquire(result)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # after an error, the folders made for the lock are still empty
            for folder in created:
                folder.rmdir()


def is_locked(result: Path) -> bool:
    """Return whether a process works on a result at this moment.

    Raises:
        InputError: the file system does not support locks.
    """
    if not lock_path(result).exists():
        return False
    lock = _lock(result)
    try:
        with _unsupported_is_an_input_error(result):
            lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _acquire(result: Path) -> FileLock:
    lock, folder, waiting, gone = _lock(result), lock_path(result).parent, False, 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _unsupported_is_an_input_error(result):
                lock.acquire(blocking=waiting)
            return lock
        except Timeout as error:
            if not lock_path(result).exists() and gone < MOST_TRIES:  # the holder has just removed it, or it cannot be made
                gone += 1
                if gone == MOST_TRIES:
                    raise _unwritable(result, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), error.lock_file)) from None
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            log.info("another process works on %s: waiting for it", result)
            waiting = True
        except FileNotFoundError as error:  # the holder failed and removed its empty folder, or it cannot be made at all
            gone += 1
            if gone == MOST_TRIES:
                raise _unwritable(result, error) from None
            time.sleep(SECONDS_BETWEEN_TRIES)
        except OSError as error:
            raise _unwritable(result, error) from None


def _unwritable(result: Path, error: OSError) -> Exception:
    """Return the error of a place that cannot be written to; a full disk is another one."""
    if is_full_disk(error):
        return error
    return InputError(
        f"expected to write {result}, but {error.filename or result.parent} cannot be made or written to "
        f"({error.strerror or error}); name another folder, or mend this one"
    )


def _lock(result: Path) -> FileLock:
    return FileLock(lock_path(result), fallback_to_soft=False)


@contextmanager
def _unsupported_is_an_input_error(result: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise InputError(
            f"expected a file system that supports file locks under {result}, but it does not ({error.strerror}); mount it with "
            "them (NFS 4, Lustre with `-o flock`), or work on a local disk"
        ) from None

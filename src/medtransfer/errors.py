"""Exceptions and their exit codes (`InputError` 2, `StageError` 1), and the detection of a full disk."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL_DISK_WORDS = ("No space left on device", "disk is full", "Disk quota exceeded")


class InputError(Exception):
    """The user's input cannot be used (exit code 2): one sentence with expected, got, the file and the remedy."""


class StageError(Exception):
    """A stage failed for a reason that is not the user's input (exit code 1): what happened, and the remedy."""


class TemporaryError(StageError):
    """A stage failed for a reason that may pass, such as a lost process: the same job may be tried again."""


def refuse_folder(error: OSError) -> NoReturn:
    """Raise the InputError for a folder that cannot be read; it fits `onerror` of `os.walk`."""
    remedy = "correct its permissions" if isinstance(error, PermissionError) else "repair or remove it"
    raise InputError(f"expected a readable folder at {error.filename}, but got: {error.strerror}; {remedy}") from None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and the chain of exceptions that caused it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def name_unwritable(error: BaseException) -> str | None:
    """Return one sentence on a file that may not be read or written, with the remedy; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _FORBIDDEN or error.filename is None:
        return None
    return (
        f"expected access to {error.filename}, but the system does not allow it ({error.strerror}); correct its permissions, "
        "or name another path"
    )


def name_removed_folder() -> str | None:
    """Return one sentence if the working folder was removed; None if it is there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return "expected a working folder, but this one was removed; change to one that exists, and run the same command there"
    return None


def is_full_disk(error: BaseException) -> bool:
    """Return whether an exception, or one that caused it, is a full disk or quota; native libraries say so in words only."""
    return any(
        getattr(cause, "errno", None) in _FULL_DISK or any(words in str(cause) for words in _FULL_DISK_WORDS)
        for cause in causes(error)
    )


def name_full_disk(error: BaseException) -> str:
    """Return one sentence on the full disk, with the file if known, and the remedy."""
    file = next((cause.filename for cause in causes(error) if isinstance(cause, OSError) and cause.filename), None)
    where = f"the disk that holds {file}" if file else "the disk"
    return f"{where} is full; what is finished is kept: free some space and run the same command again"

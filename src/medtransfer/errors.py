"""What went wrong goes in; one sentence comes out, for exit code 2 (a wrong input) or 1 (a failed stage, a full disk)."""

import errno
from collections.abc import Iterator

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FULL_DISK_WORDS = ("No space left on device", "disk is full", "Disk quota exceeded")


class InputError(Exception):
    """The user's input cannot be used: what was expected, what came, in which file, and the remedy, in one sentence."""


class StageError(Exception):
    """A stage failed for a reason that is not the user's input (exit code 1): what happened and how to go on."""


def causes(fault: BaseException) -> Iterator[BaseException]:
    """Give a fault and, one after the other, what it came from."""
    seen: BaseException | None = fault
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_full_disk(fault: BaseException) -> bool:
    """Tell whether a fault, or what it came from, is a full disk or quota; libraries in other languages say it in words."""
    return any(
        getattr(one, "errno", None) in _FULL_DISK or any(word in str(one) for word in _FULL_DISK_WORDS) for one in causes(fault)
    )


def name_full_disk(fault: BaseException) -> str:
    """Say in one sentence that the disk is full, with the file where that is known, and how to go on."""
    file = next((one.filename for one in causes(fault) if isinstance(one, OSError) and one.filename), None)
    where = f"the disk that holds {file}" if file else "the disk"
    return f"{where} is full; what is finished is kept: free some space and run the same command again"

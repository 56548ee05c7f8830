"""States of files: their size and times of change, by which a file that has changed is noticed without reading it.

A replacement of the same size may have the old time of its content (`cp -p`, `rsync -a`), but not that of its metadata.
"""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

SETTLED = 2.0  # seconds: clocks of file systems may be as coarse, so a file that changed since may look unchanged
State = tuple[int, int, int]


def file_state(path: Path | str) -> State:
    """Return the size of a file in bytes, and the times of the last change of its content and metadata in nanoseconds."""
    status = os.stat(path)  # noqa: PTH116  # `Path` takes twice as long
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(state: Sequence[int], moment: float) -> bool:
    """Return whether a file with this state that was read after a moment, in seconds, has another state when it changes."""
    return max(state[1:]) < (moment - SETTLED) * 1e9


def wait_until_settled(states: Iterable[State]) -> None:
    """Wait until every later change of these files gives them another state; not for times that are ahead."""
    latest = max((max(state[1:]) for state in states), default=0) / 1e9
    time.sleep(max(0, min(latest + SETTLED + 0.01 - time.time(), SETTLED + 0.01)))

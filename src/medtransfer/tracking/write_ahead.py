"""Write many runs to an embedded store without waiting for the disk after each request."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.signals import stops_later

if TYPE_CHECKING:
    from sqlalchemy import Engine

# File systems that several hosts can mount; processes on two hosts do not see each other's write-ahead log.
_SHARED = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse.", "glusterfs", "gpfs", "lustre", "nfs", "smb", "vboxsf", "virtiofs")
_MOUNTS = Path("/proc/mounts")
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a space, for one, in a folder's name


@contextmanager
def write_ahead(engine: "Engine | None", file: Path | None) -> Iterator[None]:
    """Keep a write-ahead log of an embedded store meanwhile; other stores, and files that several hosts share, stay as they are.

    SQLite's ordinary journal waits for the disk several times a transaction, the log only when it is copied into the file. A
    killed process loses nothing: whoever opens the store next reads the log. After a power failure the last runs may be
    missing, but the store is sound, and they are written again.

    Args:
        engine: of the store; None for a server.
        file: of the store; None for any store but an SQLite file.
    """
    if engine is None or file is None or may_be_shared(file):
        yield
        return
    from sqlalchemy import event

    event.listen(engine, "connect", _flush_rarely)
    _restart(engine, "WAL")
    try:
        yield
    finally:
        event.remove(engine, "connect", _flush_rarely)
        _restart(engine, "DELETE")


def end_left_log(engine: "Engine") -> None:
    """Return to the ordinary journal if a killed process left a log, or another one had the store open at its end."""
    with stops_later(), engine.connect() as connection:
        left = connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    if left:
        _restart(engine, "DELETE")


def _restart(engine: "Engine", journal: str) -> None:
    """Close the connections, and change the journal, which SQLite refuses while another process has the file open."""
    engine.dispose()
    if not _change(engine, journal):
        gc.collect()  # connections that nothing refers to are open until Python finds them
        _change(engine, journal)


def _change(engine: "Engine", journal: str) -> bool:
    """Change the journal, and return whether SQLite did."""
    from sqlalchemy.exc import OperationalError

    with stops_later(), suppress(OperationalError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        return connection.exec_driver_sql(f"PRAGMA journal_mode = {journal}").scalar() == journal.lower()
    return False


def _flush_rarely(connection: Any, record: object) -> None:
    """Wait for the disk only when the log is copied into the file; of the ordinary journal this would be unsafe."""
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous = NORMAL")


def may_be_shared(file: Path) -> bool:
    """Return whether a file is on a file system that another host may have mounted too; where that is not told, it is not."""
    if not _MOUNTS.exists():
        return False
    lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    mounts = [(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), line.split()[1]), line.split()[2]) for line in lines]
    above = [(len(folder), number, kind) for number, (folder, kind) in enumerate(mounts) if file.resolve().is_relative_to(folder)]
    return max(above, default=(0, 0, ""))[2].startswith(_SHARED)  # of two on one folder the later one is seen

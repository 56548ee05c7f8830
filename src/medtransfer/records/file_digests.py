"""Digests of many files, cached by size and times of change, so that only new and changed files are read."""

import logging
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer.environment import own_folder
from medtransfer.hashing import digest, files_sha256
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records.file_states import is_settled

CHUNK = 1000  # files per transaction; an interrupted scan resumes after the last one
IN_A_ROW = 16  # pictures that a thread reads, which are small
log = logging.getLogger("medtransfer")


def file_digests(root: Path, names: NDArray[np.bytes_], states: NDArray[np.int64], label: str) -> Generator[str, None, None]:
    """Yield the SHA-256 of files.

    A million files take little memory, since names and states are arrays and digests are looked up for some files at a time.

    Args:
        root: their folder.
        names: path of each file below the folder, encoded, (N,).
        states: size in bytes, and times of the last change of content and of metadata in nanoseconds, (N, 3).
        label: label of the progress bar.

    Raises:
        OSError: a file cannot be read.
    """
    cache = own_folder() / "digests" / f"{digest(str(root.resolve()))}.db"
    with exclusive(cache), _open(cache) as connection:  # other processes wait, and then find every digest
        remember = connection if os.access(cache, os.W_OK) else None
        if remember is None:
            log.warning("this user may not write %s, so that new pictures are read each time; let its owner allow it", cache)
        for begin in track(range(0, len(names), CHUNK), label, -(-len(names) // CHUNK), "thousand pictures"):
            part, now = names[begin : begin + CHUNK].tolist(), states[begin : begin + CHUNK].tolist()
            rows = connection.execute("SELECT * FROM files WHERE name BETWEEN ? AND ?", (min(part), max(part)))
            known = {name: (state, sha256) for name, *state, sha256 in rows}
            digests = {name: known[name][1] for name, state in zip(part, now, strict=True) if known.get(name, ("",))[0] == state}
            digests |= _read(root, [file for file in zip(part, now, strict=True) if file[0] not in digests], remember)
            yield from (digests[name] for name in part)


def _read(root: Path, files: Sequence[tuple[bytes, list[int]]], connection: sqlite3.Connection | None) -> dict[bytes, str]:
    """Hash files, and remember in a connection, unless it is None, those that have not changed lately."""
    if not files:
        return {}
    moment = time.time()
    hashed = files_sha256([root / os.fsdecode(name) for name, _ in files], in_a_row=IN_A_ROW)
    digests = dict(zip((name for name, _ in files), hashed, strict=True))
    rows = [(name, *state, digests[name]) for name, state in files if is_settled(state, moment)]
    if connection is not None:
        with connection:  # one transaction
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
    return digests


@contextmanager
def _open(cache: Path) -> Iterator[sqlite3.Connection]:
    """Open the cache; a damaged one is made again."""
    try:
        connection = _connect(cache)
    except sqlite3.DatabaseError:
        cache.unlink()
        connection = _connect(cache)
    with closing(connection):
        yield connection


def _connect(cache: Path) -> sqlite3.Connection:
    if not cache.exists():
        cache.touch()  # SQLite would let no other user write it, whatever the umask says
    connection = sqlite3.connect(cache)
    columns = "name BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, sha256 TEXT"
    connection.execute(f"CREATE TABLE IF NOT EXISTS files ({columns})")
    connection.execute("PRAGMA quick_check").fetchall()
    return connection

"""Digests of many files, cached by size and times of change, so that only new and changed files are read."""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from medtransfer.environment import own_folder
from medtransfer.hashing import digest, file_sha256
from medtransfer.locks import exclusive
from medtransfer.progress import track

State = tuple[int, int, int]  # size in bytes, times of the last change of content and of metadata in nanoseconds
SETTLED = 2.0  # seconds: clocks of file systems may be as coarse, so a file that changed since may look unchanged
CHUNK = 1024  # files per transaction; an interrupted scan resumes after the last one
THREADS = 8  # reading waits for the disk or the network


def file_digests(root: Path, files: Sequence[tuple[str, State]], label: str) -> list[str]:
    """Return the SHA-256 of files.

    Args:
        root: their folder.
        files: path of each file below the folder, and its state.
        label: label of the progress bar.

    Raises:
        OSError: a file cannot be read.
    """
    cache = own_folder() / "digests" / f"{digest(str(root.resolve()))}.db"
    with exclusive(cache), _open(cache) as connection:  # other processes wait, and then find every digest
        known = {name: (state, sha256) for name, *state, sha256 in connection.execute("SELECT * FROM files")}
        rows = {name: known.get(os.fsencode(name)) for name, _ in files}
        digests = {name: row[1] for name, state in files if (row := rows[name]) and tuple(row[0]) == state}
        new = [(name, state) for name, state in files if name not in digests]
        for chunk in track([new[begin : begin + CHUNK] for begin in range(0, len(new), CHUNK)], label, -(-len(new) // CHUNK)):
            digests |= _read(root, chunk, connection)
    return [digests[name] for name, _ in files]


def _read(root: Path, files: Sequence[tuple[str, State]], connection: sqlite3.Connection) -> dict[str, str]:
    """Hash files, and remember those that have not changed lately."""
    before = (time.time() - SETTLED) * 1e9
    with ThreadPoolExecutor(THREADS) as pool:
        digests = dict(zip((name for name, _ in files), pool.map(lambda file: file_sha256(root / file[0]), files), strict=True))
    rows = [(os.fsencode(name), *state, digests[name]) for name, state in files if max(state[1:]) < before]
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
    connection = sqlite3.connect(cache)
    columns = "name BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, sha256 TEXT"
    connection.execute(f"CREATE TABLE IF NOT EXISTS files ({columns})")
    connection.execute("PRAGMA quick_check").fetchall()
    return connection

"""Digests of values and files."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

THREADS = 8  # reading waits for the disk or the network
AT_ONCE = 1024  # files that are asked for before the first of them is needed
CHUNK = 2**20  # bytes that are read before it is looked whether to stop
LEAST = 2**12  # of files that do not say how long they are


def canonical_json(value: Any) -> str:
    """Return the JSON that is hashed: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def without(values: Mapping[str, Any], unchanged: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values that are those of `unchanged`.

    An option that is added later has no part in a digest as long as it changes nothing, so that finished results stay found.
    """
    return {name: value for name, value in values.items() if name not in unchanged or value != unchanged[name]}


def digest(value: Any, length: int = 12) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def files_sha256(paths: Sequence[Path], check: Callable[[Path], Path] = lambda path: path, in_a_row: int = 1) -> Iterator[str]:
    """Yield the SHA-256 of files, several of which are read at once, after a check that may raise an error of its own.

    Args:
        paths: the files.
        check: is given each path before it is read, and returns the one to read.
        in_a_row: number of files that a thread reads in a row; to hand it another one takes longer than to read a small one.
    """
    stopped = Event()

    def read(begin: int) -> list[str]:
        return [_read_sha256(check(path), stopped) for path in paths[begin : begin + in_a_row]]

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for begin in range(0, len(paths), AT_ONCE):
                for hashed in pool.map(read, range(begin, min(begin + AT_ONCE, len(paths)), in_a_row)):
                    yield from hashed
        finally:  # after an interruption large files are not read to their end
            stopped.set()


def _read_sha256(path: Path, stopped: Event) -> str:
    hashed = hashlib.sha256()
    with path.open("rb", buffering=0) as handle:
        size = os.fstat(handle.fileno()).st_size
        chunk = bytearray(min(max(size + 1, LEAST), CHUNK))  # to fill a megabyte with zeros takes longer than to read a small file
        while not stopped.is_set() and (size := handle.readinto(chunk)):
            hashed.update(memoryview(chunk)[:size])
    return hashed.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

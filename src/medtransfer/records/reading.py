"""A file that may hold anything goes in; its numbers, rows or values come out, or one sentence that says what is wrong with it."""

import csv
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from medtransfer.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.lib.npyio import NpzFile


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Give the path back; what is no file that can be read, such as a folder, a pipe or a link in a circle, is an InputError.

    To open a pipe would wait for ever, and a device has no end.

    Args:
        path: of the file.
        what: it should hold, such as `an array`.
        remedy: what the user can do.
    """
    try:
        if path.is_file():
            path.open("rb").close()
            return path
        fault = _kind(path)
    except (OSError, ValueError) as error:  # a ValueError comes from a NUL in the name
        fault = getattr(error, "strerror", None) or str(error)
    raise InputError(f"expected {what} in {path}, but {fault}; {remedy}")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "it is a pipe or a device"
    return "it is a link that leads nowhere" if path.is_symlink() else "there is none"


def in_one_line(fault: BaseException) -> str:
    """Give a library's complaint, or else its kind, in one short line."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__


def map_array(path: Path, remedy: str) -> "np.ndarray":
    """Map the numbers of a .npy file; the size that its header claims is compared with the file's before it is believed.

    Raises:
        InputError: the file is missing, no array, cut off, or holds anything but numbers; no pickle is loaded.
    """
    import numpy as np

    require_file(path, "an array", remedy)
    try:
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAYS as fault:
        raise InputError(f"expected an array in {path}, but it cannot be read ({in_one_line(fault)}); {remedy}") from None


def _check_array(file: IO[bytes], size: int) -> None:
    """Read the header of a .npy file of `size` bytes; a ValueError says why its content cannot be what it claims."""
    from numpy.lib import format as npy

    if (version := npy.read_magic(file)) != (1, 0):
        raise ValueError(f"its header is of version {version}")
    shape, _, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it claims the shape {shape} of {dtype}, but {size - file.tell()} bytes follow")


# What reading a damaged .npz, or one without the wanted array, raises.
BROKEN_ARRAYS = (
    OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


DENSEST = 1032  # bytes that a byte of a zip file can stand for


@contextmanager
def open_arrays(path: Path) -> "Iterator[NpzFile]":
    """Open a .npz file; one whose content cannot be what it claims raises one of BROKEN_ARRAYS, before memory is taken for it.

    No pickle is loaded.
    """
    import numpy as np

    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > DENSEST * member.compress_size + 1:
                raise ValueError(f"{member.filename} claims to hold {member.file_size} bytes in {member.compress_size}")
            with archive.open(member) as file:
                _check_array(file, member.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays


@dataclass(frozen=True)
class Table:
    """A CSV file: the names of its columns, its rows of as many texts, and the line in the file that each row ends in."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_table(path: Path, remedy: str) -> Table:
    """Read a CSV file in UTF-8 with a header; blank lines are left out, but count.

    Raises:
        InputError: the file is missing or no such text, names a column twice, or has a row of another length.
    """
    require_file(path, "a table", remedy)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            columns = next((row for row in reader if row), [])
            if not columns:
                raise ValueError("it is empty")
            numbered = [(reader.line_num, row) for row in reader if row]
            if wrong := [number for number, row in numbered if any("\0" in one for one in row)]:
                raise ValueError(f"line {wrong[0]} holds a NUL")
    except (OSError, ValueError, csv.Error) as fault:
        raise InputError(f"expected a table in {path}, but it cannot be read ({in_one_line(fault)}); {remedy}") from None
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise InputError(f"expected every column once in the header of {path}, but {twice[0]!r} is there twice; {remedy}")
    for number, row in numbered:
        if len(row) != len(columns):
            raise InputError(
                f"expected {len(columns)} fields a line, as in the header, in {path}, but got {len(row)} in line {number}; {remedy}"
            )
    return Table(tuple(columns), [row for _, row in numbered], [number for number, _ in numbered])


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; NaN, infinities, a key that stands twice and nesting without end are ValueErrors."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None

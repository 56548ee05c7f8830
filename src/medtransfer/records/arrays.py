"""Read .npy and .npz files; the sizes that their headers claim are checked before memory is allocated."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.records.untrusted import check_array_header, check_deflated, in_one_line, require_file

if TYPE_CHECKING:
    import numpy as np


PIECE = 2**20  # bytes
# Raised when a .npz is damaged or lacks a requested array.
BROKEN_ARRAYS = (
    OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def map_array(path: Path, remedy: str) -> "np.ndarray":
    """Memory-map a .npy file of numbers; pickles are never loaded.

    Raises:
        InputError: the file is missing, not an array, shorter than its header claims, or holds anything but numbers.
    """
    import numpy as np

    require_file(path, "an array", remedy)
    try:
        with path.open("rb") as file:
            check_array_header(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAYS as error:
        raise InputError(f"expected an array in {path}, but it cannot be read ({in_one_line(error)}); {remedy}") from None


def create_array(path: Path, shape: tuple[int, ...]) -> "np.memmap":
    """Create a .npy file of numbers uint8, mapped to be filled; its disk space is reserved."""
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve(path)
    return array


def _reserve(path: Path) -> None:
    """Allocate a mapped file's disk space now: a full disk raises here, but kills the process (SIGBUS) on a write to the map."""
    size = path.stat().st_size
    with path.open("r+b") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size)
            return
        begin = len(handle.read(PIECE))  # the header stays
        for start in range(begin, size, PIECE):
            handle.write(bytes(min(PIECE, size - start)))


@contextmanager
def open_arrays(path: Path) -> "Iterator[Arrays]":
    """Open a .npz file; pickles are never loaded.

    Raises:
        BROKEN_ARRAYS: one of them, if the file is no such file, or cannot hold what its directory claims.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            check_deflated(member)
        yield Arrays(archive)


class Arrays(Mapping[str, "np.ndarray"]):
    """Arrays of an open .npz file by name; only those that are looked up are read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Read from an archive whose members are known to hold what they claim."""
        self._archive = archive

    def __getitem__(self, name: str) -> "np.ndarray":
        """Read an array.

        Raises:
            BROKEN_ARRAYS: one of them, if there is none or it is damaged.
        """
        import numpy as np

        content = bytearray(self._archive.read(f"{name}.npy"))  # in one go, which is a little faster for small arrays
        file = BytesIO(content)
        shape, in_columns, dtype = check_array_header(file, len(content))
        values = np.frombuffer(content, dtype, math.prod(shape), file.tell())
        return values.reshape(shape, order="F" if in_columns else "C")

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self._archive.namelist())

    def __len__(self) -> int:
        return len(self._archive.namelist())

"""Arrays of .npy and .npz files; the sizes that headers claim are checked before memory is taken for them."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.records.untrusted import check_array_header, check_deflated, in_one_line, require_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.lib.npyio import NpzFile


PIECE = 2**20  # bytes


def map_array(path: Path, remedy: str) -> "np.ndarray":
    """Map the numbers of a .npy file; the size that its header claims is compared with the file's before it is believed.

    Raises:
        InputError: the file is missing, no array, cut off, or holds anything but numbers; no pickle is loaded.
    """
    import numpy as np

    require_file(path, "an array", remedy)
    try:
        with path.open("rb") as file:
            check_array_header(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAYS as fault:
        raise InputError(f"expected an array in {path}, but it cannot be read ({in_one_line(fault)}); {remedy}") from None


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


# What reading a damaged .npz, or one without the wanted array, raises.
BROKEN_ARRAYS = (
    OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
            check_deflated(member)
            with archive.open(member) as file:
                check_array_header(file, member.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays

"""Arrays of .npy and .npz files; the sizes that headers claim are checked before memory is taken for them."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.records.untrusted import in_one_line, require_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.lib.npyio import NpzFile


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

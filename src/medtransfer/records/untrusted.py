"""Checks of untrusted files before memory is allocated for what they claim to hold."""

import gzip
import math
import reprlib
import zipfile
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from medtransfer.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import ImageFile

DENSEST = 1032  # bytes that one deflated byte can unpack to
# The same for pixels, by picture format, or by compression for TIFF; others have no limit.
DENSEST_PIXELS = {
    "PNG": DENSEST, "raw": 1, "packbits": 64, "tiff_lzw": 4096, "tiff_adobe_deflate": DENSEST, "tiff_deflate": DENSEST,
}  # fmt: skip
BITS = {"I;16": 16, "I;16B": 16, "LA": 16, "RGB": 24, "RGBA": 32}  # per pixel of a mode; 1 at least for others
SPARE_NUMBERS = 2**24  # that a model may have beyond those of its weights file
MOST, DEEPEST = 2**14, 2**10  # largest number among an encoder's arguments; most blocks in total
DEPTHS = {"layers", "depths", "depth"}


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Return the path if it is a readable regular file.

    Opening a pipe would block forever, and a device has no end.

    Args:
        path: path of the file.
        what: expected content, such as `an array`.
        remedy: what the user can do, unless permissions are in the way.

    Raises:
        InputError: the file is missing, unreadable, a folder, a pipe, a device or a circular link.
    """
    try:
        if path.is_file():
            path.open("rb").close()
            return path
        reason = _kind(path)
    except (OSError, ValueError) as error:  # a ValueError comes from a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "correct its permissions" if isinstance(error, PermissionError) else remedy
    raise InputError(f"expected {what} in {path}, but {reason}; {remedy}")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "it is a pipe or a device"
    return "it is a link that leads nowhere" if path.is_symlink() else "there is none"


def in_one_line(error: BaseException) -> str:
    """Return an error's text, or its type if it has none, as one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_array_header(file: IO[bytes], size: int) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Read the header of a .npy file of `size` bytes, and check that the file can hold what it claims.

    Returns:
        Shape, whether the values are stored column by column, and their type; the file is at the first value.

    Raises:
        ValueError: it cannot, or holds anything but numbers.
    """
    from numpy.lib import format as npy

    if (version := npy.read_magic(file)) != (1, 0):
        raise ValueError(f"its header is of version {version}")
    length = file.read(2)
    shape, in_columns, dtype = _parse_header(length + file.read(int.from_bytes(length, "little")))
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it claims the shape {shape} of {dtype}, but {size - file.tell()} bytes follow")
    return shape, in_columns, dtype


@lru_cache(maxsize=1024)
def _parse_header(header: bytes) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Parse a header from its length on; thousands of arrays of a score have equal ones."""
    from numpy.lib import format as npy

    return npy.read_array_header_1_0(BytesIO(header))


def check_deflated(member: zipfile.ZipInfo) -> None:
    """Raise ValueError if a member of a zip file cannot unpack to the size it claims."""
    if member.file_size > DENSEST * member.compress_size + 1:
        raise ValueError(f"{member.filename} claims to hold {member.file_size} bytes in {member.compress_size}")


def check_not_packed(path: Path) -> None:
    """Raise ValueError if a zip file unpacks to more than its own size; torch writes its files uncompressed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > path.stat().st_size:
            raise ValueError(f"it claims to hold {claimed} bytes in {path.stat().st_size}")


def unpacked_size(path: Path, most: int) -> int:
    """Return the number of bytes that a gzip file unpacks to, reading on to its checksum or until they exceed `most`."""
    count = 0
    with gzip.open(path) as file:
        while count <= most and (piece := file.read(2**20)):
            count += len(piece)
    return count


def check_picture(picture: "ImageFile.ImageFile", path: Path) -> None:
    """Raise InputError if a picture file is too small for the pixels it claims."""
    kind = str(picture.info.get("compression")) if picture.format == "TIFF" else picture.format
    claimed = picture.width * picture.height * BITS.get(picture.mode, 1) // 8
    if claimed > DENSEST_PIXELS.get(str(kind), claimed) * path.stat().st_size:
        raise InputError(
            f"expected a whole picture in {path}, but it claims {picture.width}x{picture.height} pixels, which its "
            f"{path.stat().st_size} bytes cannot hold; replace the file"
        )


def check_model_size(needed: int, stored: int) -> None:
    """Raise InputError if a model has far more parameters than its weights file."""
    if needed > SPARE_NUMBERS + stored:
        raise InputError(f"it needs {needed} numbers, and its weights are {stored}")


def check_argument(name: str, value: Any) -> None:
    """Raise ValueError if an encoder's argument asks for more layers or channels than any encoder has."""
    numbers = [number for number in (value if isinstance(value, list | tuple) else [value]) if isinstance(number, int)]
    if max(numbers, default=0) > MOST or (name in DEPTHS and sum(numbers) > DEEPEST):
        raise ValueError(f"{name} = {reprlib.repr(value)} is more than any encoder has")

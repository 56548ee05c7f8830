"""Read the headers of DICOM files: single tags, with what is wrong with them in words."""

from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file
from medtransfer.wording import counted

PREAMBLE = 128  # bytes before the four letters that begin a DICOM file
OF_SERIES = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription")
VALUES = {"PixelSpacing": 2, "ImagerPixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}  # by tag; else one


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM files do, whatever its name."""
    try:
        with path.open("rb") as file:
            file.seek(PREAMBLE)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Any:
    """Read a DICOM file without its pixels; raise InputError if it is damaged."""
    import pydicom

    require_file(path, "a DICOM file", "replace it")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom raises nearly any exception for a damaged file
        raise InputError(f"expected a DICOM file in {path}, but it cannot be read ({in_one_line(error)}); replace it") from None


def read_numbers(header: Any, name: str, path: Path) -> list[float]:
    """Return the numbers of a tag; none where a header lacks it.

    Raises:
        InputError: it is damaged.
    """
    try:
        numbers = [float(number) for number in np.atleast_1d([] if header.get(name) is None else header.get(name))]
    except Exception as error:  # pydicom converts a value when it is asked for, and raises nearly any exception for a damaged one
        raise InputError(
            f"expected numbers as {name} in {path}, but got another value ({in_one_line(error)}); replace the file"
        ) from None
    if len(numbers) not in (0, VALUES.get(name, 1)):
        count = counted(VALUES.get(name, 1), "number")
        raise InputError(f"expected {count} as {name} in {path}, but got {numbers}; replace the file")
    return numbers


def read_number(header: Any, name: str, path: Path, default: float) -> float:
    """Return the number of a tag, or a default where a header lacks it, or has 0."""
    numbers = read_numbers(header, name, path)
    return (numbers[0] if numbers else 0) or default


def describe_series(path: Path) -> dict[str, str]:
    """Return what a file says of its series, by the names of the tags; without what is damaged."""
    try:
        return describe_header(read_header(path)) if is_dicom(path) else {}
    except InputError:
        return {}


def describe_header(header: Any) -> dict[str, str]:
    """Return what a header says of the series, by the names of the tags; without what is damaged."""
    told: dict[str, str] = {}
    for name in OF_SERIES:
        try:
            value = header.get(name)
            text = "" if value is None else str(int(value)) if name == "SeriesNumber" else " ".join(str(value).split())
        except Exception:  # pydicom converts a value when it is asked for, and raises nearly any exception for a damaged one
            text = ""
        told |= {name: text} if text else {}
    return told

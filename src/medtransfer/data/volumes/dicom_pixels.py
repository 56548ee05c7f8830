"""Read the pixels of single-frame DICOM files: rescaled, white is high, and padding is told from the image."""

from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.volumes.dicom_tags import read_number, read_numbers
from medtransfer.errors import InputError
from medtransfer.records import in_one_line


def read_pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the values of a slice (rows, columns), with slope and intercept applied, white is high; and which are padding, bool.

    MONOCHROME1 only says that low values are shown white, so Hounsfield units stay as they are. Other stored values are inverted
    within their range before the slope is applied: all slices alike, and as those of a MONOCHROME2 copy.
    """
    import pydicom

    try:
        data = pydicom.dcmread(path)
        values = data.pixel_array
    except Exception as error:  # of the decoders, too
        raise InputError(
            f"expected pixels in {path}, but they cannot be read ({in_one_line(error)}); replace the file, or convert it to "
            "uncompressed DICOM"
        ) from None
    padding = _is_padding(values, data, path)
    if data.get("PhotometricInterpretation") == "MONOCHROME1" and not _is_hounsfield(data):
        values = _invert(values, int(read_number(data, "BitsStored", path, 0)))
    slope, intercept = read_number(data, "RescaleSlope", path, 1.0), read_number(data, "RescaleIntercept", path, 0.0)
    if (slope, intercept) != (1, 0):
        values = values * slope + intercept
    return values, padding


def _is_padding(values: np.ndarray, data: Any, path: Path) -> np.ndarray:
    """Return where stored values are padding around an image that fills no rectangle; source: DICOM PS3.3, C.7.5.1.1.2.

    A limit that was written with the wrong sign, such as 63536 for -2000, is that of the same bits.
    """
    try:
        padding, limit = (read_numbers(data, name, path) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    except InputError:  # a damaged tag that an image can do without
        return np.zeros(values.shape, bool)
    limits, bits = [*padding, *limit], 8 * values.dtype.itemsize
    if not padding or values.dtype.kind == "f" or min(limits) < -(2 ** (bits - 1)) or max(limits) >= 2**bits:
        return np.zeros(values.shape, bool)
    stored = np.array(limits, np.int64).astype(values.dtype)
    return (values >= stored.min()) & (values <= stored.max())


def fill_padding(values: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """Return values with the lowest of the image in the place of padding, which would distort percentiles."""
    return np.where(padding, values[~padding].min(), values) if padding.any() and not padding.all() else values


def _is_hounsfield(data: Any) -> bool:
    """Return whether slope and intercept make Hounsfield units of the stored values; source: DICOM PS3.3, C.8.2.1."""
    kind = data.get("RescaleType") or ("HU" if data.get("Modality") == "CT" else "")
    return kind == "HU" and data.get("RescaleIntercept") is not None


def _invert(values: np.ndarray, bits: int) -> np.ndarray:
    """Return stored values from the other end of the range of their bits, of the same type if they are within it."""
    if values.dtype.kind == "f":
        return -values
    if values.dtype.kind == "i":
        return -1 - values
    inverted = 2**bits - 1 - values.astype(np.int64)
    return inverted if inverted.min() < 0 else inverted.astype(values.dtype)

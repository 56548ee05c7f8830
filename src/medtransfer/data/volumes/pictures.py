"""Read a picture as a volume: a single one has one slice, the pages of a TIFF are slices."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageSequence

from medtransfer.data.picture_folders import SUFFIXES
from medtransfer.data.volumes.geometry import Geometry
from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import check_picture

MOST_VALUES = 2**28
GREY = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # a palette is read by its indices
SHOWN = ("1", "L", "P", "RGB")  # 8-bit modes, whose values are kept
TIFF = (".tif", ".tiff")

__all__ = ["SUFFIXES", "TIFF", "read_picture_geometry", "read_pictures"]


@contextmanager
def _open(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open a picture; raise InputError if it, or a page of it that is read inside, is damaged."""
    require_file(path, "a picture", "replace it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                check_picture(picture, path)
                yield picture
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(f"expected a picture in {path}, but it cannot be read ({in_one_line(error)}); replace the file") from None


def read_picture_geometry(path: Path) -> Geometry:
    """Read the header of a picture, or of the first page of several.

    Raises:
        InputError: the file is no picture, has transparency, or is too large.
    """
    with _open(path) as picture:
        pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
        if picture.mode not in (*GREY, "RGB"):
            raise InputError(f"expected grey, palette or RGB in {path}, but its mode is {picture.mode}; save it as grey or RGB")
        channels = 3 if picture.mode == "RGB" else 1
        if picture.width * picture.height * pages * channels > MOST_VALUES:
            raise InputError(
                f"expected at most {MOST_VALUES} values in {path}, but it has {pages} pages of {picture.size}; split it"
            )
        shape = (picture.width, picture.height, pages)
        return Geometry(path, shape, channels, spacing=None, affines={}, shown=picture.mode in SHOWN)


def read_pictures(path: Path) -> np.ndarray:
    """Read a picture, or the pages of a TIFF, as (x, y, z, C).

    Raises:
        InputError: it is damaged, or its pages differ in size or mode.
    """
    with _open(path) as picture:
        pages = ImageSequence.Iterator(picture) if picture.format == "TIFF" else [picture]
        read = [(page.mode, np.array(page)) for page in pages]
        if kinds := {(mode, values.shape) for mode, values in read} - {(read[0][0], read[0][1].shape)}:
            mode, shape = next(iter(kinds))
            raise InputError(
                f"expected pages of one size and mode in {path}, but the first is {read[0][0]} {read[0][1].shape} and another "
                f"{mode} {shape}; save them alike"
            )
    values = np.stack([values for _, values in read])  # (z, y, x) or (z, y, x, C)
    values = values.reshape(*values.shape[:3], -1)
    return (values.astype(np.uint8) if values.dtype == bool else values).transpose(2, 1, 0, 3)

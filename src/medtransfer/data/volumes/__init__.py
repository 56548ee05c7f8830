"""Volumes of any file format as one array with its geometry."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medtransfer.data.volumes.dicom import read_folder, read_folder_geometry, series_files
from medtransfer.data.volumes.geometry import (
    Geometry,
    acquisition_axis,
    cut,
    format_lengths,
    stack,
    turn_onto,
)
from medtransfer.data.volumes.nifti import ENDINGS, read_nifti, read_nifti_geometry
from medtransfer.data.volumes.pictures import SUFFIXES, TIFF, read_picture_geometry, read_pictures
from medtransfer.errors import InputError

__all__ = [
    "ENDINGS", "SUFFIXES", "TIFF", "Geometry", "Volume", "acquisition_axis", "cut", "format_lengths", "load_labels", "load_volume",
    "read_geometry", "round_labels", "series_files", "stack", "turn_onto",
]  # fmt: skip

NEAR, NEAR_0 = 1e-3, 1e-6  # by which a label may miss a whole number, and 0, which no slope misses by more


@dataclass(frozen=True)
class Volume:
    """A volume in memory: its values (x, y, z, C) as the file scales them, and its geometry."""

    values: np.ndarray
    geometry: Geometry


def load_volume(path: Path) -> Volume:
    """Read a NIfTI volume, a picture, the pages of a TIFF, or the folder of a DICOM series; raise InputError if that fails."""
    if path.is_dir():
        return Volume(*read_folder(path))
    geometry = read_geometry(path)
    return Volume(read_nifti(path) if _is_nifti(path) else read_pictures(path), geometry)


def load_labels(path: Path) -> Volume:
    """Read a mask as `load_volume` does, with labels that a slope missed by little rounded.

    Programs that store whole numbers by a slope, as nibabel does with floats, write it in single precision: 2 becomes 1.9999999995.
    A mask with other values between, such as probabilities, is left as it is.
    """
    volume = load_volume(path)
    return replace(volume, values=round_labels(volume.values))


def round_labels(values: np.ndarray) -> np.ndarray:
    """Return values rounded to whole numbers if all are within NEAR of one, or NEAR_0 of 0; else unchanged."""
    if values.dtype.kind != "f":
        return values
    nearest = np.rint(values)
    return nearest if (np.abs(values - nearest) <= np.where(nearest == 0, NEAR_0, NEAR)).all() else values


def read_geometry(path: Path) -> Geometry:
    """Read the header of a volume; raise InputError if it cannot be read or is of no known format."""
    if path.is_dir():
        return read_folder_geometry(path)
    if _is_nifti(path):
        return read_nifti_geometry(path)
    if path.name.lower().endswith(SUFFIXES):
        return read_picture_geometry(path)
    known = ", ".join((*ENDINGS, *SUFFIXES))
    raise InputError(f"expected a volume ({known}) at {path}, but its name has another ending; convert it to NIfTI")


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS)

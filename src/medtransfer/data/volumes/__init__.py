"""Volumes of any file format as one array with its geometry."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtransfer.data.volumes.geometry import (
    Geometry,
    acquisition_axis,
    cut,
    format_lengths,
    stack,
    turn_onto,
)
from medtransfer.data.volumes.nifti import ENDINGS, read_nifti, read_nifti_geometry
from medtransfer.errors import InputError

__all__ = [
    "ENDINGS", "Geometry", "Volume", "acquisition_axis", "cut", "format_lengths", "load_volume", "read_geometry",
    "stack", "turn_onto",
]  # fmt: skip


@dataclass(frozen=True)
class Volume:
    """A volume in memory: its values (x, y, z, C) as the file scales them, and its geometry."""

    values: np.ndarray
    geometry: Geometry


def load_volume(path: Path) -> Volume:
    """Read a volume; raise InputError if it cannot be read or is of no known format."""
    geometry = read_geometry(path)
    return Volume(read_nifti(path), geometry)


def read_geometry(path: Path) -> Geometry:
    """Read the header of a volume; raise InputError if it cannot be read or is of no known format."""
    if path.name.lower().endswith(ENDINGS):
        return read_nifti_geometry(path)
    raise InputError(f"expected a volume ({', '.join(ENDINGS)}) at {path}, but its name has another ending; convert it to NIfTI")

"""Read the channels of one volume from several files, each of which may hold several."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medtransfer.data.volumes import Geometry, Volume, load_volume, read_geometry, turn_onto
from medtransfer.errors import InputError


def read_channel_geometries(paths: Sequence[Path]) -> list[Geometry]:
    """Read the headers of the files of a volume's channels.

    Raises:
        InputError: a file is broken, or they are not on the same voxels, stored alike.
    """
    geometries = [read_geometry(path) for path in paths]
    for other in geometries[1:]:
        if not np.array_equal(turn_onto(geometries[0], other), [[0, 1], [1, 1], [2, 1]]):
            raise InputError(
                f"expected all channels of a case stored alike, but the axes of {other.path} point another way than those of "
                f"{geometries[0].path}; store them alike"
            )
    return geometries


def load_channels(paths: Sequence[Path], channels: Sequence[int]) -> Volume:
    """Read channels of a volume.

    Args:
        paths: the files, in the order of their channels.
        channels: numbers of the channels to read, counted over all files.

    Returns:
        The volume (x, y, z, C), with the geometry of the first file that holds one of them.
    """
    volumes, parts, first = list[Volume](), dict[int, np.ndarray](), 0
    for path in paths:
        count = 1 if path.is_dir() else read_geometry(path).channels  # the folder of a DICOM series has one
        wanted = set(channels) & set(range(first, first + count))
        if wanted or not volumes:
            volumes.append(load_volume(path))
            parts |= {number: volumes[-1].values[..., number - first] for number in wanted}
        first += count
    return Volume(np.stack([parts[number] for number in channels], axis=-1), volumes[0].geometry)

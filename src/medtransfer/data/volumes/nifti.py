"""Read NIfTI volumes of one or several channels, and what their headers say of the voxels."""

import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medtransfer.data.volumes.geometry import Geometry, Spacing
from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import unpacked_size

ENDINGS = (".nii.gz", ".nii")
MOST_VOXELS = 2**28  # values of a volume: a CT of 512 x 512 x 1024
HEADER = 2**16  # bytes that may precede the voxels
UNITS = {"meter": 1000.0, "micron": 0.001}  # mm; a header of unknown unit means mm
REPLACE = "replace the file"


def open_nifti(path: Path) -> Any:
    """Return nibabel's lazy image of a volume, after checking the shape and type that its header claims.

    Raises:
        InputError: the file is missing or damaged, has more than four axes longer than 1, or is too large.
    """
    require_file(path, "a NIfTI volume", REPLACE)
    try:
        image: Any = nib.load(path)  # type: ignore[attr-defined]
        shape, dtype = nifti_shape(image), image.dataobj.dtype
    except Exception as error:  # nibabel raises nearly any exception for a damaged header
        raise InputError(f"expected a NIfTI volume in {path}, but it cannot be read ({in_one_line(error)}); {REPLACE}") from None
    if len(shape) != 4 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        raise InputError(
            f"expected a 3-D volume, of one or several channels, with at most {MOST_VOXELS} values in {path}, but its shape is "
            f"{tuple(image.shape)}; {REPLACE}"
        )
    if dtype.kind not in "iuf":
        raise InputError(f"expected whole or real numbers in {path}, but its voxels are {dtype}; {REPLACE}")
    return image


def nifti_shape(image: Any) -> tuple[int, ...]:
    """Return the shape as (x, y, z, channels), without the further axes of length 1 that many programs write."""
    space, others = tuple(image.shape[:3]), tuple(length for length in image.shape[3:] if length != 1)
    return space + (1,) * (3 - len(space)) + (others or (1,))


def read_nifti(path: Path) -> np.ndarray:
    """Read a volume (x, y, z, C); raise InputError if its size differs from its header's claim or its checksum is wrong."""
    image = open_nifti(path)
    proxy = image.dataobj
    claimed = math.prod(proxy.shape) * proxy.dtype.itemsize
    try:
        unpacked = unpacked_size(path, claimed + HEADER) if path.suffix == ".gz" else path.stat().st_size
        if not claimed <= unpacked <= claimed + HEADER:
            raise ValueError(f"{claimed} bytes of voxels, but {'more than ' * (unpacked > claimed)}{unpacked} in all")
        return np.asarray(proxy).reshape(nifti_shape(image))
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise InputError(f"expected a whole NIfTI volume in {path}, but it is damaged ({in_one_line(error)}); {REPLACE}") from None


def read_nifti_geometry(path: Path) -> Geometry:
    """Read the header of a volume.

    A header says where its voxels are in the sform or the qform, if their codes are above 0. Spacings of 1 without such a code
    are what programs write that know none.

    Raises:
        InputError: as `open_nifti`, or an affine cannot be inverted.
    """
    image = open_nifti(path)
    *shape, channels = nifti_shape(image)
    affines = _affines(image, path)
    return Geometry(path, (shape[0], shape[1], shape[2]), channels, _spacing(image, affines), affines)


def _spacing(image: Any, affines: dict[str, np.ndarray]) -> Spacing | None:
    unit = UNITS.get(image.header.get_xyzt_units()[0], 1.0)
    lengths = [abs(float(length)) for length in image.header.get_zooms()[:3]]
    lengths += [1.0] * (3 - len(lengths))
    known = lengths != [1, 1, 1] and all(0 < length < np.inf for length in lengths)
    for affine in affines.values():
        sizes = nib.affines.voxel_sizes(affine)  # type: ignore[attr-defined]
        if not (known and np.allclose(sizes, 1)):  # of ACDC the affines count voxels, and the zooms are in mm
            return float(sizes[0]) * unit, float(sizes[1]) * unit, float(sizes[2]) * unit
    return (lengths[0] * unit, lengths[1] * unit, lengths[2] * unit) if known else None


def _affines(image: Any, path: Path) -> dict[str, np.ndarray]:
    """Return the voxel-to-patient affines (4, 4; mm) that have a code in the header, sform first."""
    try:
        fields = {"sform": image.header.get_sform(coded=True), "qform": image.header.get_qform(coded=True)}
        affines = {name: affine for name, (affine, code) in fields.items() if code > 0}
        if bad := [name for name, affine in affines.items() if not 0 < abs(np.linalg.det(affine)) < np.inf]:
            raise ValueError(f"the {bad[0]} is {affines[bad[0]][:3].tolist()}")
    except Exception as error:  # a quaternion may be impossible
        raise InputError(
            f"expected the place of the voxels in the header of {path}, but it cannot be used ({in_one_line(error)}); {REPLACE}"
        ) from None
    return affines

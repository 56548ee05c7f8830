"""Read NIfTI volumes, and bring a mask onto the voxels of its image by the affines in their headers."""

import math
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation

from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import unpacked_size

MOST_VOXELS = 2**27  # of a volume, about fifty times the largest of ACDC
HEADER = 2**16  # bytes that may precede the voxels
SHIFT = 0.25  # voxels by which a mask may miss its image; rounded headers miss by less
THICKER = 1.5  # how many times the spacing along the third axis the others may be
REPLACE = "replace the file"


def open_volume(path: Path) -> Any:
    """Return nibabel's lazy image of a volume, after checking the shape and type that its header claims.

    Raises:
        InputError: the file is missing or damaged, is not 3-D (further axes of length 1 are dropped), or is too large.
    """
    require_file(path, "a NIfTI volume", REPLACE)
    try:
        image: Any = nib.load(path)  # type: ignore[attr-defined]
        shape, dtype = volume_shape(image), image.dataobj.dtype
    except Exception as error:  # nibabel raises nearly any exception for a damaged header
        raise InputError(f"expected a NIfTI volume in {path}, but it cannot be read ({in_one_line(error)}); {REPLACE}") from None
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        raise InputError(f"expected a 3-D volume of at most {MOST_VOXELS} voxels in {path}, but its shape is {shape}; {REPLACE}")
    if dtype.kind not in "iuf":
        raise InputError(f"expected whole or real numbers in {path}, but its voxels are {dtype}; {REPLACE}")
    return image


def volume_shape(image: Any) -> tuple[int, ...]:
    """Return the shape without a fourth and further axes of length 1, which many programs write."""
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(shape)


def read_volume(path: Path) -> np.ndarray:
    """Read a volume (x, y, z); raise InputError if its size differs from its header's claim or its checksum is wrong."""
    image = open_volume(path)
    proxy = image.dataobj
    claimed = math.prod(proxy.shape) * proxy.dtype.itemsize
    try:
        unpacked = unpacked_size(path, claimed + HEADER) if path.suffix == ".gz" else path.stat().st_size
        if not claimed <= unpacked <= claimed + HEADER:
            raise ValueError(f"{claimed} bytes of voxels, but {'more than ' * (unpacked > claimed)}{unpacked} in all")
        return np.asarray(proxy).reshape(volume_shape(image))
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise InputError(f"expected a whole NIfTI volume in {path}, but it is damaged ({in_one_line(error)}); {REPLACE}") from None


def match_axes(image_path: Path, mask_path: Path) -> np.ndarray:
    """Return how the axes of a mask are flipped and permuted to those of its image; only headers are read.

    A header says where its voxels are in the sform or the qform, if their codes are above 0. Otherwise it says nothing: then
    the axes are taken for those of the image, and only the spacings are compared, unless the mask's is left at 1.

    Args:
        image_path: a volume.
        mask_path: its mask.

    Returns:
        nibabel's orientation (3, 2), for `apply_orientation`.

    Raises:
        InputError: the mask has another shape, spacing, position or angle, or sform and qform contradict each other.
    """
    image, mask = open_volume(image_path), open_volume(mask_path)
    shape, mask_shape = volume_shape(image), volume_shape(mask)
    affines, mask_affines = _affines(image, image_path), _affines(mask, mask_path)
    if shared := [name for name in affines if name in mask_affines]:
        pairs = [(affines[name], mask_affines[name]) for name in shared]
    elif affines and mask_affines:
        pairs = [(next(iter(affines.values())), next(iter(mask_affines.values())))]
    else:
        spacing, mask_spacing = (np.diag([*item.header.get_zooms()[:3], 1.0]) for item in (image, mask))
        pairs = [(spacing, spacing if (mask_spacing == np.eye(4)).all() else mask_spacing)]
    turns = []
    for affine, other in pairs:
        turn = _turn(affine, shape, other, mask_shape)
        if turn is None:
            raise InputError(
                f"expected a mask on the voxels of {image_path} ({_describe(affine, shape)}), but {mask_path} has other voxels "
                f"({_describe(other, mask_shape)}); replace the file that is wrong, or if they do show the same voxels, copy the "
                "affine of the image to the mask"
            )
        turns.append(turn)
    if not np.array_equal(turns[0], turns[-1]):
        raise InputError(
            f"expected sform and qform to turn the mask {mask_path} alike onto {image_path}, but they contradict each other; "
            "correct the headers"
        )
    return turns[0]


def name_axes(path: Path) -> str:
    """Return where a volume's axes point to, such as LPS for left, posterior, superior; `unknown` if its header has no code."""
    affines = _affines(open_volume(path), path)
    return "".join(nib.aff2axcodes(next(iter(affines.values())))) if affines else "unknown"  # type: ignore[attr-defined]


def check_slices(path: Path) -> None:
    """Raise InputError if the slices, whose distance is far larger than the spacing within them, are not along the third axis."""
    spacing = [float(length) for length in open_volume(path).header.get_zooms()[:3]]
    if max(spacing[:2]) > THICKER * spacing[2] > 0:
        raise InputError(
            f"expected slices along the third axis of {path}, but its spacing is {_format(spacing)} mm; permute the axes of the "
            "volume and its mask, or correct the header"
        )


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


def _turn(affine: np.ndarray, shape: tuple[int, ...], other: np.ndarray, other_shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the orientation that brings the voxels of a mask to those of an image, or None if there is none."""
    turn = io_orientation(np.linalg.inv(affine) @ other)
    if np.isnan(turn).any() or tuple(other_shape[axis] for axis in np.argsort(turn[:, 0])) != shape:
        return None
    offsets = np.linalg.inv(affine) @ other @ inv_ornt_aff(turn, other_shape) - np.eye(4)
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in shape))])  # (8, 4), voxels
    return turn if np.abs(corners @ offsets.T).max() <= SHIFT else None


def _describe(affine: np.ndarray, shape: tuple[int, ...]) -> str:
    spacing = nib.affines.voxel_sizes(affine)  # type: ignore[attr-defined]
    axes, origin = "".join(nib.aff2axcodes(affine)), ", ".join(f"{length:z.1f}" for length in affine[:3, 3])  # type: ignore[attr-defined]
    return f"{_format(shape)} of {_format(spacing)} mm, axes {axes}, origin {origin}"


def _format(lengths: Sequence[float] | np.ndarray) -> str:
    return "x".join(f"{length:.4g}" for length in lengths)

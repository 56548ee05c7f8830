"""Where the voxels of a volume are in the patient, along which axis its slices are, and how a mask lies on an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from medtransfer.errors import InputError

SHIFT = 0.25  # voxels by which a mask may miss its image, or a slice its grid; rounded headers miss by less
SKEW = 0.01  # cosine of two axes up to which they count as perpendicular; rounded headers have less
THICKER = 1.1  # how many times the other spacings that between two slices is at least, if it says which axis they are along
UNKNOWN = "unknown"  # axes of a volume whose header does not say where they point to
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """What the header of a volume says.

    Attributes:
        path: the file, or the folder of a series.
        shape: voxels along (x, y, z).
        channels: values per voxel.
        spacing: mm from one voxel to the next along each axis; None if the header says nothing.
        affines: voxel-to-patient affines (4, 4; mm, to the right, anterior and superior) by their name in the header, the one
            that counts first; empty if the header has none.
        shown: whether its values are those of an 8-bit picture, which are kept as they are.
    """

    path: Path
    shape: tuple[int, int, int]
    channels: int
    spacing: Spacing | None
    affines: Mapping[str, np.ndarray]
    shown: bool = False

    @property
    def affine(self) -> np.ndarray | None:
        """The voxel-to-patient affine that counts, or None."""
        return next(iter(self.affines.values()), None)

    @property
    def axes(self) -> str:
        """Where the axes point to, such as LPS for left, posterior, superior; `unknown` if the header does not say."""
        return UNKNOWN if self.affine is None else "".join(nib.aff2axcodes(self.affine))  # type: ignore[attr-defined]

    def pixel_spacing(self, axis: int) -> tuple[float, float] | None:
        """Return the height and the width of a pixel, mm, of slices that are cut along an axis.

        None if unknown, or if the pixels are no rectangles: of a sheared grid, as of a tilted gantry, cut across its slices.
        """
        first, second = (other for other in range(3) if other != axis)
        if self.spacing is None or abs(self._directions[:, first] @ self._directions[:, second]) > SKEW:
            return None
        return self.spacing[second], self.spacing[first]

    @property
    def voxel_volume(self) -> float | None:
        """mm³ of a voxel, which of a sheared grid are less than the product of the spacings; None if unknown."""
        return None if self.spacing is None else float(np.prod(self.spacing) * abs(np.linalg.det(self._directions))) or None

    @property
    def _directions(self) -> np.ndarray:
        """Unit vectors along the axes, as columns (3, 3)."""
        edges = np.eye(3) if self.affine is None else self.affine[:3, :3]
        return edges / np.maximum(np.linalg.norm(edges, axis=0), np.finfo(float).tiny)


def acquisition_axis(spacing: Sequence[float] | None) -> int:
    """Return the axis that slices were acquired along: that of the largest spacing, the third if no spacing is clearly larger.

    Args:
        spacing: mm along (x, y, z), or None.
    """
    if spacing is None:
        return 2
    axis = int(np.argmax(spacing))
    return axis if all(spacing[axis] >= THICKER * spacing[other] for other in range(3) if other != axis) else 2


def cut(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the slices along an axis as pictures; of the axes within a slice the later one makes the rows.

    Args:
        values: (x, y, z) or (x, y, z, C).
        axis: 0, 1 or 2.

    Returns:
        (slices, rows, columns) or (slices, rows, columns, C): (z, y, x) for axis 2, a view.
    """
    return np.moveaxis(values, axis, 0).swapaxes(1, 2)


def stack(slices: np.ndarray, axis: int) -> np.ndarray:
    """Return the volume (x, y, z) or (x, y, z, C) that `cut` makes these slices of, a view."""
    return np.moveaxis(slices.swapaxes(1, 2), 0, axis)


def turn_onto(image: Geometry, mask: Geometry) -> np.ndarray:
    """Return how the axes of a mask are flipped and permuted to those of its image.

    Where only one header has an affine, or none has, the axes are taken for those of the image, and only the spacings are
    compared, if both are known.

    Returns:
        nibabel's orientation (3, 2), for `apply_orientation`.

    Raises:
        InputError: the mask has another shape, spacing, position or angle, or the affines of a header contradict each other.
    """
    if shared := [name for name in image.affines if name in mask.affines]:
        pairs = [(image.affines[name], mask.affines[name]) for name in shared]
    elif image.affine is not None and mask.affine is not None:
        pairs = [(image.affine, mask.affine)]
    else:
        spacing = np.diag([*(image.spacing or (1, 1, 1)), 1.0])
        pairs = [(spacing, np.diag([*mask.spacing, 1.0]) if image.spacing and mask.spacing else spacing)]
    turns = []
    for affine, other in pairs:
        turn = _turn(affine, image.shape, other, mask.shape)
        if turn is None:
            placed = image.affine is not None and mask.affine is not None
            own, others = (
                _describe(place, one.shape) if placed else _describe_size(one) for one, place in ((image, affine), (mask, other))
            )
            copied = ", or if they do show the same voxels, copy the affine of the image to the mask" if placed else ""
            raise InputError(
                f"expected a mask on the voxels of {image.path} ({own}), but {mask.path} has other voxels ({others}); replace the "
                f"file that is wrong{copied}"
            )
        turns.append(turn)
    if not np.array_equal(turns[0], turns[-1]):
        raise InputError(
            f"expected sform and qform to turn the mask {mask.path} alike onto {image.path}, but they contradict each other; "
            "correct the headers"
        )
    return turns[0]


def place_on(image: Geometry, values: np.ndarray, affine: np.ndarray, path: Path) -> np.ndarray:
    """Return values that are known in a part of a volume alone, such as a segmentation's, on the voxels of an image; 0 elsewhere.

    Args:
        image: the image, whose header says where it is.
        values: (x, y, z), or with further axes.
        affine: voxel-to-patient affine of the values (4, 4; mm, to the right, anterior and superior).
        path: file of the values, for messages.

    Raises:
        InputError: they are on other voxels, or some that are not 0 are outside the image.
    """
    described = _describe(affine, values.shape[:3])
    if image.affine is None:
        raise InputError(f"expected the place of {image.path} in its header, on which {path} is to be laid, but it has none")
    turn = io_orientation(np.linalg.inv(image.affine) @ affine)
    turned = apply_orientation(values, turn)
    moved = np.linalg.inv(image.affine) @ affine @ inv_ornt_aff(turn, values.shape[:3])
    first = np.rint(moved[:3, 3]).astype(int)  # of the image's voxels that it covers
    moved[:3, 3] -= first
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in turned.shape[:3]))])
    if np.abs(corners @ (moved - np.eye(4)).T).max() > SHIFT:
        raise InputError(
            f"expected a mask on the voxels of {image.path} ({_describe(image.affine, image.shape)}), but {path} has other voxels "
            f"({described}); replace the file that is wrong"
        )
    whole = np.zeros((*image.shape, *values.shape[3:]), values.dtype)
    inside = [
        slice(max(0, start), min(length, start + size))
        for start, size, length in zip(first, turned.shape[:3], image.shape, strict=True)
    ]
    own = tuple(slice(part.start - start, part.stop - start) for part, start in zip(inside, first, strict=True))
    if any(part.stop <= part.start for part in inside) or np.count_nonzero(turned[own]) < np.count_nonzero(turned):
        raise InputError(f"expected a mask inside {image.path}, but {path} reaches beyond it; replace the file that is wrong")
    whole[tuple(inside)] = turned[own]
    return whole


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
    return f"{format_lengths(shape)} of {format_lengths(spacing)} mm, axes {axes}, origin {origin}"


def _describe_size(volume: Geometry) -> str:
    spacing = f" of {format_lengths(volume.spacing)} mm" if volume.spacing else ""
    return f"{format_lengths(volume.shape)}{spacing}"


def format_lengths(lengths: Sequence[float] | np.ndarray) -> str:
    """Return lengths such as 1.4x1.4x10."""
    return "x".join(f"{length:.4g}" for length in lengths)

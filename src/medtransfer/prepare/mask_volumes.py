"""Read the mask of a volume, of any format, onto the voxels of its image."""

from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation

from medtransfer.data.volumes import Geometry, load_labels, read_geometry, turn_onto
from medtransfer.data.volumes.segmentations import is_segmentation, read_segments, segment_names
from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.prepare.picture_files import RawMask


def check_mask_volume(path: Path, image: Geometry, rule: MaskRule) -> None:
    """Check by its header that a mask has one label per voxel of its image, however it is turned, or segments of known classes.

    Raises:
        InputError: it has not.
    """
    if is_segmentation(path):
        rule.check_segments(segment_names(path).values(), path)
        return
    mask = read_geometry(path)
    if mask.channels > 1:
        raise InputError(f"expected a mask of one channel in {path}, but it has {mask.channels}; save one label per voxel")
    turn_onto(image, mask)


def read_mask_volume(path: Path, image: Geometry, rule: MaskRule) -> np.ndarray:
    """Return the class numbers of a mask, uint8 (x, y, z) on the voxels of its image; 0 is background, or IGNORE.

    Raises:
        InputError: it is broken, or has another geometry or unknown values.
    """
    if is_segmentation(path):
        return rule.number_segments(read_segments(path, image), path)
    mask = load_labels(path)
    raw = apply_orientation(mask.values[..., 0], turn_onto(image, mask.geometry))
    return rule.number(RawMask(raw, "labels", lossy=False), path)

"""Read DICOM segmentation objects (SEG), of binary segments or label maps, onto the voxels of an image."""

from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.volumes.dicom import TO_RAS, is_segmentation
from medtransfer.data.volumes.dicom_tags import read_header
from medtransfer.data.volumes.geometry import Geometry, place_on
from medtransfer.errors import InputError
from medtransfer.records import in_one_line

__all__ = ["is_segmentation", "read_segments", "segment_names"]


def segment_names(path: Path) -> dict[int, str]:
    """Return the label of each segment, by its number, without the background of a label map; only the header is read.

    Raises:
        InputError: the file is broken, or has no segments, or two of one label.
    """
    sequence = read_header(path).get("SegmentSequence") or []
    named = {int(item.SegmentNumber): str(item.SegmentLabel).strip() for item in sequence if int(item.SegmentNumber) > 0}
    if not named or len(set(named.values())) < len(named):
        raise InputError(f"expected segments of different labels in {path}, but got {list(named.values())}; replace the file")
    return named


def read_segments(path: Path, image: Geometry) -> dict[str, np.ndarray]:
    """Read the segments of a file as masks bool (x, y, z) on the voxels of an image, by their labels.

    Raises:
        InputError: the package highdicom is missing, the file is broken or fractional, or it is not on the image's voxels.
    """
    names, segments = segment_names(path), _highdicom()
    try:
        file = segments.seg.segread(path)
        if str(file.SegmentationType) == "FRACTIONAL":
            raise ValueError("its type is FRACTIONAL")
        volume = file.get_volume(segment_numbers=sorted(names), combine_segments=False, dtype=np.uint8)
    except Exception as error:  # highdicom raises nearly any exception for what it cannot read
        raise InputError(
            f"expected a segmentation of evenly spaced slices, binary or of labels, in {path}, but it cannot be read "
            f"({in_one_line(error)}); replace it, or export the mask as NIfTI"
        ) from None
    affine = TO_RAS @ volume.affine[:, [2, 1, 0, 3]]  # of (column, row, slice)
    placed = place_on(image, volume.array.transpose(2, 1, 0, 3), affine, path)
    return {names[number]: placed[..., place] > 0 for place, number in enumerate(sorted(names))}


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise InputError(
            f"expected the package of the extra `dicom-seg` for DICOM segmentations, but {error.name} cannot be imported; install "
            "it with `pip install 'medtransfer[dicom-seg]'`, or export the masks as NIfTI"
        ) from None
    return highdicom

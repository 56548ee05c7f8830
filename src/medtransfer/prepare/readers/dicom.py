"""Read any folder of DICOM series with masks in NIfTI or as DICOM segmentations.

Source: the user's own data. One raw example:

    images/case07/IM0001.dcm, IM0002.dcm, ...     one series of single-frame files, in any order and of any name
    masks/case07.nii.gz                           one label per voxel; its affine decides how it lies on the series
    masks/case07.dcm                              or segments, by their labels; positions decide where they are

Slices are sorted by their position along the normal, and slope and intercept make the stored values Hounsfield units for CT, for
which `scaling: [-160, 240]` is a window. Of a tilted gantry the grid is sheared, and so must be the affine of a mask. Several
series in one folder, several phases at one position and missing slices are refused. A DICOM segmentation (binary or a label map)
is read with the extra `dicom-seg`; a segment whose label is the name of a class is of that class, and `labels: {Liver lesion:
tumour}` maps others. Numbers of segments do not count, since programs number those that a case has. Options are those of the
reader `nifti`; `images` is a pattern of folders.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import ENDINGS
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.volume_folder import scan_folder

SEGMENTATION = ".dcm"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the series of a folder with their masks; see `scan_folder`."""
    return scan_folder(root, size, options, reader="dicom", endings=(), mask_endings=(*ENDINGS, SEGMENTATION))

"""Read any folder of NIfTI volumes with masks.

Source: the user's own data. One raw example of each kind, the first by the default options:

    images/case07.nii.gz           masks/case07.nii.gz
    case07/t1.nii.gz               case07/t2.nii.gz, case07/seg.nii.gz       images: ['{case}/t1.nii.gz', '{case}/t2.nii.gz'],
                                                                             masks: '{case}/seg.nii.gz'

Folders train/, val/ and test/ are the published split. The affines in the headers decide where a mask is: one whose axes are
flipped or permuted is turned onto its image, one at another place is refused. Options, beside those of `volume_cases.py`:

    images    folder of the volumes, or a pattern in which {case} is the name of a case and `*` any name; a list: one per channel
    masks     folder of the masks, or a pattern
    classes   names of the non-background classes, by default one: foreground
    labels    raw value -> class name, `background` or `ignore`; null: one class in masks of {0, 1} or {0, 255}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import ENDINGS
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.volume_folder import scan_folder


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the NIfTI volumes of a folder with their masks; see `scan_folder`."""
    return scan_folder(root, size, options, reader="nifti", endings=ENDINGS)

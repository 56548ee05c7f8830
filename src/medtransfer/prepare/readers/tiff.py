"""Read any folder of multi-page TIFF stacks with masks: a page is a slice.

Source: the user's own data. One raw example:

    images/stack1.tif     30 pages of 512x512, 8-bit grey        masks/stack1.tif     30 pages of 512x512, 0 and 255

8-bit grey and RGB keep their values; other stacks are scaled as volumes. TIFF has no standard field for the distance of pages, so
the spacing is unknown. Options are those of the reader `nifti`; for pages that are files of their own, take the reader `folder`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import TIFF
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.volume_folder import scan_folder


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the stacks of a folder with their masks; see `scan_folder`."""
    return scan_folder(root, size, options, reader="tiff", endings=TIFF)

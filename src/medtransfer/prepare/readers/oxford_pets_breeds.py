"""Read the Oxford-IIIT Pet Dataset as photographs with their breeds.

Source, layout, splits and counts are those of `oxford_pets.py`; its trimaps are not read. The classes are the breeds that are
taken: 37, or 25 with `species: [dog]`. The prepared target is also a source of pretraining, with a share of validation images.
Options are those of `labelled_images.py` (but `group`), and

    species, breeds    as in `oxford_pets.py`
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan, read_options
from medtransfer.prepare.readers.labelled_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.labelled_images import LabelledImage, scan_images
from medtransfer.prepare.readers.oxford_pets import (
    CITATION,
    EXPECTED,
    SUBSET_OPTIONS,
    image_of,
    list_files,
    list_pets,
    note_unlisted,
    take_subset,
)

OPTIONS: dict[str, Any] = {**SUBSET_OPTIONS, **{name: value for name, value in IMAGE_OPTIONS.items() if name != "group"}}


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their breeds; only headers are read.

    Args:
        root: the folder that holds images/ and annotations/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a file is missing, or an option is invalid.
    """
    chosen = {"group": None, "task": "multiclass", **read_options(options, OPTIONS, "oxford-pets-breeds")}
    listed = list_pets(root)
    pets, left_out = take_subset(listed, chosen)
    classes = sorted({pet.breed for pet in pets}, key=str.lower)
    images = []
    for pet in pets:
        path, label = image_of(pet, root), np.uint8(classes.index(pet.breed))
        group = path.relative_to(root).as_posix()
        images.append(LabelledImage(pet.split, group, path, label))  # type: ignore[arg-type]
    return scan_images(
        images, root, size, chosen, task="multiclass", classes=classes, citation=CITATION, expected=EXPECTED,
        tables=list_files(root), notes=note_unlisted(listed, root), left_out=left_out,
    )  # fmt: skip

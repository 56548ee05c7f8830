"""Read Oxford's 102 Category Flower Dataset: photographs with their species.

Source: https://www.robots.ox.ac.uk/~vgg/data/flowers/102/. Citation: `CITATION` below. One raw example:

    jpg/image_00001.jpg    RGB, the shorter side is 500 pixels or more
    imagelabels.mat        `labels`: 1 to 102 of each image, in the order of their numbers
    setid.mat              `trnid`, `valid`, `tstid`: numbers of the images of each split

The names of the species are not published with the files, so the classes are called by their numbers. The group is the image.
The prepared target is also a source of pretraining. Options, beside those of `labelled_images.py` (but `group`):

    splits       {valid: train} joins the validation images to the training images

Official counts: 1,020 training, 1,020 validation and 6,149 test images, 8,189 in all.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.matlab_files import read_numbers
from medtransfer.prepare.readers.contract import Scan, read_options, require_folder
from medtransfer.prepare.readers.labelled_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.labelled_images import LabelledImage, scan_images
from medtransfer.prepare.splits import SPLITS
from medtransfer.records import require_file

CITATION = (
    "M.-E. Nilsback, A. Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008, "
    "doi:10.1109/ICVGIP.2008.47"
)
CLASSES = [str(number) for number in range(1, 103)]
LISTS = {"trnid": "train", "valid": "validation", "tstid": "test"}
COUNTS = {"trnid": 1020, "valid": 1020, "tstid": 6149}
OPTIONS: dict[str, Any] = {"splits": {}, **{name: value for name, value in IMAGE_OPTIONS.items() if name != "group"}}
REMEDY = "unpack 102flowers.tgz into `root`, beside imagelabels.mat and setid.mat"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their species and splits; only headers are read.

    Args:
        root: the folder that holds jpg/, imagelabels.mat and setid.mat.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a file is missing, or labels and lists do not fit together.
    """
    chosen = {"group": None, "task": "multiclass", **read_options(options, OPTIONS, "flowers102")}
    splits = _read_splits(chosen["splits"])
    require_folder(root, "`root` must name the folder that holds jpg/, imagelabels.mat and setid.mat")
    label_file, split_file = root / "imagelabels.mat", root / "setid.mat"
    labels = read_numbers(label_file, "labels")
    if wrong := [label for label in labels if not 1 <= label <= len(CLASSES)]:
        raise InputError(f"expected labels from 1 to {len(CLASSES)} in {label_file}, but got {wrong[0]}; download the file again")
    lists = {number: name for name in LISTS for number in read_numbers(split_file, name)}
    if unlabelled := [number for number in lists if not 1 <= number <= len(labels)]:
        raise InputError(
            f"expected a label of every image that {split_file} names, but {label_file} has {len(labels)} and there is an image "
            f"{unlabelled[0]}; download both files again"
        )
    images = []
    for number, name in sorted(lists.items()):
        path = require_file(root / f"jpg/image_{number:05d}.jpg", "a photograph", f"{split_file} names it: {REMEDY}")
        label = np.uint8(labels[number - 1] - 1)
        images.append(LabelledImage(splits[name], path.relative_to(root).as_posix(), path, label))  # type: ignore[arg-type]
    expected: Counter[str] = Counter()
    for name, count in COUNTS.items():
        expected[splits[name]] += count
    return scan_images(
        images, root, size, chosen, task="multiclass", classes=CLASSES, citation=CITATION, expected=expected,
        tables=(label_file, split_file),
    )  # fmt: skip


def _read_splits(option: Any) -> dict[str, str]:
    """Return the split of each list."""
    if not isinstance(option, Mapping) or not set(option) <= set(LISTS) or not set(map(str, option.values())) <= set(SPLITS):
        raise InputError(f"expected the option splits to map some of {', '.join(LISTS)} to {', '.join(SPLITS)}, but got {option!r}")
    return LISTS | dict(option)

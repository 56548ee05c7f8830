"""Read the segmentations of PASCAL VOC 2012: photographs with 20 classes.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. Citation: `CITATION` below. One raw example:

    JPEGImages/2007_000032.jpg               RGB
    SegmentationClass/2007_000032.png        palette indices: 0 background, 1 to 20 the classes, 255 void
    ImageSets/Segmentation/train.txt         2007_000032
    ImageSets/Segmentation/val.txt           likewise

The official validation images (val) are the test images here, since the masks of the official test images are not published. Void,
the outlines of objects and what is hard to tell, is ignored. The group is the image. Official counts: 1,464 training and 1,449
validation images; 88 and 90 of them hold an aeroplane, 131 and 119 a cat, 68 and 79 a horse. Options are those of
`masked_images.py`; `{classes: [cat], containing: true}` is the subset of images with a cat.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Scan, read_options, require_folder
from medtransfer.prepare.readers.masked_images import IGNORED, OPTIONS, MaskedImage, by_label, pick_classes, scan_masked
from medtransfer.prepare.readers.split_lists import read_lines
from medtransfer.records import IGNORE, require_file

CITATION = (
    "M. Everingham, S. M. A. Eslami, L. Van Gool, C. K. I. Williams, J. Winn, A. Zisserman, The PASCAL visual object classes "
    "challenge: a retrospective, International Journal of Computer Vision 111, 98-136, 2015, doi:10.1007/s11263-014-0733-5"
)
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
LISTS = {"train": "train", "val": "test"}
EXPECTED = {"train": 1464, "test": 1449}
REMEDY = "unpack VOCtrainval_11-May-2012.tar; `root` is its folder VOCdevkit/VOC2012"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their masks.

    Args:
        root: the folder that holds JPEGImages/, SegmentationClass/ and ImageSets/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, an image or a mask is missing, or an option is invalid.
    """
    chosen = read_options(options, OPTIONS, "voc2012")
    classes = pick_classes(chosen["classes"], CLASSES)
    names = {0: "background", **dict(enumerate(CLASSES, start=1)), IGNORE: IGNORED}
    require_folder(root, "`root` must name the folder that holds JPEGImages/, SegmentationClass/ and ImageSets/")
    lists = {root / f"ImageSets/Segmentation/{name}.txt": split for name, split in LISTS.items()}
    images = [image for path, split in lists.items() for image in _list_images(root, path, split)]
    if len({image.path for image in images}) < len(images):
        raise InputError(f"expected every image once in {' and '.join(map(str, lists))}, but some are named twice; {REMEDY}")
    return scan_masked(
        images, root, size, chosen, classes=classes, number=by_label(names, classes), ignore=True, citation=CITATION,
        expected=EXPECTED, tables=tuple(lists),
    )  # fmt: skip


def _list_images(root: Path, path: Path, split: str) -> Iterator[MaskedImage]:
    for name in read_lines(require_file(path, "a list of images", REMEDY)):
        image = require_file(root / f"JPEGImages/{name}.jpg", "a photograph", f"{path} names it: {REMEDY}")
        mask = require_file(root / f"SegmentationClass/{name}.png", "a mask", f"{path} names it: {REMEDY}")
        yield MaskedImage(split, image.relative_to(root).as_posix(), image, mask)

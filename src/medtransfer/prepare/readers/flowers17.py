"""Read the trimaps of Oxford's 17 Category Flower Dataset: photographs with the flower as the only class.

Source: https://www.robots.ox.ac.uk/~vgg/data/flowers/17/. Citation: `CITATION` below. One raw example:

    jpg/image_0001.jpg        RGB, about 500x600; 1,360 images, 80 per species
    trimaps/image_0001.png    one colour per label, of 849 images
    trimaps/imlist.mat        `imlist`: the numbers of the images that have a trimap

Images without a trimap are not read. There is no published split of the masks, so draw one. The group is the image.

In public code the flower is 128 0 0; what the other colours mean is not documented. So every colour that occurs must be defined
with `colours`: a first attempt says which ones there are, with their shares. Pixels that are not labelled should be ignored.
Official count: 849 trimaps. Options, beside those of `masked_images.py` (but `classes`):

    colours      red, green and blue -> `flower`, `background` or `ignore`, such as {128 0 0: flower}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.mask_colours import ColourRule, describe_palette, find_palette, parse
from medtransfer.prepare.matlab_files import read_numbers
from medtransfer.prepare.readers.contract import ALL, Scan, list_entries, read_options, require_folder
from medtransfer.prepare.readers.masked_images import IGNORED, MaskedImage, scan_masked
from medtransfer.prepare.readers.masked_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.records import require_file

CITATION = "M.-E. Nilsback, A. Zisserman, A visual vocabulary for flower classification, CVPR 2006, doi:10.1109/CVPR.2006.42"
CLASS = "flower"
OPTIONS: dict[str, Any] = {
    "colours": {"128 0 0": CLASS}, **{name: value for name, value in IMAGE_OPTIONS.items() if name != "classes"},
}  # fmt: skip
EXPECTED = {ALL: 849}
REMEDY = "unpack 17flowers.tgz and trimaps.tgz into `root`"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images that have a trimap, and read the colours of all trimaps.

    Args:
        root: the folder that holds jpg/ and trimaps/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a file is missing, or a colour is not defined.
    """
    chosen = read_options(options, OPTIONS, "flowers17")
    names = _read_colours(chosen["colours"])
    require_folder(root, "`root` must name the folder that holds jpg/ and trimaps/")
    photographs = [path for path in list_entries(require_folder(root / "jpg", REMEDY)) if path.suffix.lower() == ".jpg"]
    listed = require_folder(root / "trimaps", REMEDY) / "imlist.mat"
    images = []
    for number in sorted(set(read_numbers(listed, "imlist"))):
        path = require_file(root / f"jpg/image_{number:04d}.jpg", "a photograph", f"{listed} names it: {REMEDY}")
        mask = require_file(root / f"trimaps/image_{number:04d}.png", "a trimap", f"{listed} names it: {REMEDY}")
        images.append(MaskedImage(None, path.relative_to(root).as_posix(), path, mask))
    palette = find_palette([image.mask for image in images])
    if any(colour.code not in names for colour in palette):
        example = ", ".join(f"{colour}: {names.get(colour.code, 'background')}" for colour in palette[:4])
        raise InputError(
            f"expected the option colours to define every colour in {listed.parent}, but there are "
            f"{describe_palette(palette, names)}; look at {palette[0].example}, and set `colours: {{{example}}}`, each a "
            f"colour of the {CLASS}, `background` or `{IGNORED}`"
        )
    notes = [f"colours of the trimaps: {describe_palette(palette, names)}"]
    if without := len(photographs) - len(images):
        notes.append(f"{without} of {len(photographs)} photographs have no trimap and are not read")
    return scan_masked(
        images, root, size, chosen, classes=(CLASS,), number=ColourRule(names, (CLASS,)).number, ignore=IGNORED in names.values(),
        citation=CITATION, expected=EXPECTED, tables=(listed,), notes=notes,
    )  # fmt: skip


def _read_colours(option: Any) -> dict[int, str]:
    """Return what each colour means, by its code."""
    known = (CLASS, "background", IGNORED)
    colours = {parse(text): name for text, name in option.items()} if isinstance(option, Mapping) else {}
    names = {code: name for code, name in colours.items() if code is not None}
    if not names or len(names) < len(option) or not set(map(str, names.values())) <= set(known) or CLASS not in names.values():
        raise InputError(
            f"expected the option colours to map colours such as 128 0 0 to {', '.join(known)}, at least one to {CLASS}, but got "
            f"{option!r}"
        )
    return names

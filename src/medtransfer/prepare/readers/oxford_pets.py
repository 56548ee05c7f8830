"""Read the trimaps of the Oxford-IIIT Pet Dataset: photographs with the cat or dog as the only class.

Source: https://www.robots.ox.ac.uk/~vgg/data/pets/. Citation: `CITATION` below. One raw example:

    images/Abyssinian_100.jpg                 RGB; a few are of other formats than their name says
    annotations/trimaps/Abyssinian_100.png    1 pet, 2 background, 3 border or not classified
    annotations/list.txt                      # Image CLASS-ID SPECIES BREED ID
                                              Abyssinian_100 1 1 1
    annotations/trainval.txt, test.txt        likewise

CLASS-ID is 1 to 37, SPECIES is 1 for cats and 2 for dogs; an image's breed is what its name begins with. Images that no list names
and files such as `._Abyssinian_100.png` are not read. The group is the image. Official counts: trainval 3,680 and test 3,669
images, 7,349 in list.txt, of which 4,978 show dogs of 25 breeds. Options, beside those of `masked_images.py` (but `classes`):

    border       what the border is: foreground, as the hair at the edge of a pet is the pet's | background | ignore
    species      which of cat and dog are taken
    breeds       names of the breeds that are taken, such as [Abyssinian, beagle]; null: all
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import ALL, Scan, read_options, require_folder
from medtransfer.prepare.readers.masked_images import IGNORED, MaskedImage, by_label, scan_masked
from medtransfer.prepare.readers.masked_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.split_lists import read_lines
from medtransfer.records import require_file
from medtransfer.wording import are

CITATION = "O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, Cats and dogs, CVPR 2012, doi:10.1109/CVPR.2012.6248092"
CLASS = "pet"
BORDERS = {"foreground": CLASS, "background": "background", "ignore": IGNORED}
SPECIES = {"1": "cat", "2": "dog"}
SUBSET_OPTIONS: dict[str, Any] = {"species": ["cat", "dog"], "breeds": None}
OPTIONS: dict[str, Any] = {
    "border": "foreground", **SUBSET_OPTIONS, **{name: value for name, value in IMAGE_OPTIONS.items() if name != "classes"},
}  # fmt: skip
LISTS = {"trainval.txt": "train", "test.txt": "test"}
EXPECTED = {"train": 3680, "test": 3669}
LINE = re.compile(r"((.+)_\d+) (\d+) ([12]) (\d+)")
REMEDY = "unpack images.tar.gz and annotations.tar.gz into `root`"


@dataclass(frozen=True)
class Pet:
    """A line of list.txt.

    Attributes:
        name: name of the image without its suffix.
        species: cat or dog.
        breed: such as `Abyssinian`.
        split: train or test; None if neither list names it.
    """

    name: str
    species: str
    breed: str
    split: str | None


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their trimaps.

    Args:
        root: the folder that holds images/ and annotations/.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.

    Raises:
        InputError: the layout is unknown, a file is missing, or an option is invalid.
    """
    chosen = read_options(options, OPTIONS, "oxford-pets")
    if chosen["border"] not in BORDERS:
        raise InputError(f"expected the option border to be one of {', '.join(BORDERS)}, but got {chosen['border']!r}")
    listed = list_pets(root)
    pets, left_out = take_subset(listed, chosen)
    images = []
    for pet in pets:
        path = image_of(pet, root)
        mask = require_file(root / f"annotations/trimaps/{pet.name}.png", "a trimap", f"list.txt names it: {REMEDY}")
        images.append(MaskedImage(pet.split, path.relative_to(root).as_posix(), path, mask))
    names = {1: CLASS, 2: "background", 3: BORDERS[chosen["border"]]}
    return scan_masked(
        images, root, size, chosen, classes=(CLASS,), number=by_label(names, (CLASS,)), ignore=IGNORED in names.values(),
        citation=CITATION, expected=EXPECTED, tables=list_files(root), notes=note_unlisted(listed, root), left_out=left_out,
    )  # fmt: skip


def list_files(root: Path) -> tuple[Path, ...]:
    """Return the paths of the three lists."""
    return tuple(root / "annotations" / name for name in ("list.txt", *LISTS))


def list_pets(root: Path) -> list[Pet]:
    """Read the three lists.

    Raises:
        InputError: one is missing, or a line is not understood.
    """
    require_folder(root, "`root` must name the folder that holds images/ and annotations/")
    whole, *parts = [require_file(path, "a list of images", REMEDY) for path in list_files(root)]
    splits = {match[1]: split for path, split in zip(parts, LISTS.values(), strict=True) for match in _read_list(path)}
    pets = [Pet(match[1], SPECIES[match[4]], match[2], splits.pop(match[1], None)) for match in _read_list(whole)]
    if splits:
        raise InputError(
            f"expected {whole} to name all images of the other lists, but {min(splits)} is not there ({len(splits)} such); {REMEDY}"
        )
    return pets


def take_subset(pets: Sequence[Pet], chosen: Mapping[str, Any]) -> tuple[list[Pet], Counter[str]]:
    """Return the images of the species and breeds that are taken, and how many of each split are left out.

    Raises:
        InputError: a species or breed is unknown, or no image is left.
    """
    for name, known in (("species", set(SPECIES.values())), ("breeds", {pet.breed for pet in pets})):
        option = chosen[name]
        if name == "breeds" and option is None:
            continue
        if not isinstance(option, list) or not option or not set(map(str, option)) <= known:
            raise InputError(f"expected the option {name} to list some of {', '.join(sorted(known))}, but got {option!r}")
    kept = [pet for pet in pets if pet.species in chosen["species"] and (not chosen["breeds"] or pet.breed in chosen["breeds"])]
    if not kept:
        raise InputError(
            f"expected images of the breeds {chosen['breeds']} among {' and '.join(chosen['species'])}s, but there are none; "
            "correct the options species and breeds"
        )
    return kept, Counter(pet.split or ALL for pet in pets) - Counter(pet.split or ALL for pet in kept)


def image_of(pet: Pet, root: Path) -> Path:
    """Return the path of a photograph; raise InputError if there is none."""
    return require_file(root / f"images/{pet.name}.jpg", "a photograph", f"list.txt names it: {REMEDY}")


def note_unlisted(pets: Sequence[Pet], root: Path) -> tuple[str, ...]:
    """Return a note on photographs that list.txt does not name."""
    names = {pet.name for pet in pets}
    unlisted = sorted(path for path in (root / "images").glob("[!.]*.jpg") if path.stem not in names)
    return (f"{are(len(unlisted), 'photograph')} not in list.txt and not read, such as {unlisted[0]}",) if unlisted else ()


def _read_list(path: Path) -> list[re.Match[str]]:
    matches = []
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise InputError(f"expected lines such as `Abyssinian_100 1 1 1` in {path}, but got {line[:80]!r}; {REMEDY}")
        matches.append(match)
    return matches

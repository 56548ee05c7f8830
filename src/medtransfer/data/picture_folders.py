"""Picture files below a folder, what else is there, and which way up a picture is shown."""

import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import ExifTags, Image, ImageFile, ImageOps

from medtransfer.errors import refuse_folder
from medtransfer.records.folders import LITTER

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm")


@dataclass
class PictureFolder:
    """Files below a folder, by their paths relative to it.

    Attributes:
        pictures: files with one of SUFFIXES, sorted.
        passed_over: number of other files, by suffix.
        examples: one of the other files, by suffix.
    """

    pictures: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def describe_passed_over(self) -> str:
        """Name the suffixes of the other files, with counts, such as `.heic (12, such as a.heic)`; empty if there are none."""
        return ", ".join(
            f"{suffix or 'no suffix'} ({n}, such as {self.examples[suffix]})" for suffix, n in self.passed_over.items()
        )


def list_folder(folder: Path, leave_out: Path | None = None) -> PictureFolder:
    """List the files of a folder and of its subfolders; links to folders are followed, hidden files and folders skipped.

    Args:
        folder: the folder.
        leave_out: a folder below it that is not entered.

    Raises:
        InputError: the folder or a subfolder cannot be read.
    """
    listed = PictureFolder()
    for parent, folders, files in os.walk(folder, onerror=refuse_folder, followlinks=True):
        below = (Path(parent, name) for name in sorted(folders) if not name.startswith(LITTER))
        folders[:] = [path.name for path in below if path != leave_out and not leads_back(path)]
        within = "" if parent == str(folder) else f"{os.path.relpath(parent, folder)}/"
        for name in sorted(files):
            _add(listed, within, name)
    listed.pictures.sort()
    return listed


def require_readable(folder: Path) -> None:
    """Check that a folder and its subfolders can be listed, since `rglob` passes over those that cannot; hidden ones may be closed.

    Raises:
        InputError: one cannot be read.
    """
    for _, folders, _ in os.walk(folder, onerror=refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(LITTER)]


def leads_back(folder: Path) -> bool:
    """Return whether a folder is a link to one that it is in, so that following it would never end."""
    return folder.is_symlink() and folder.resolve() in (home := folder.parent.resolve(), *home.parents)


def _add(listed: PictureFolder, within: str, name: str) -> None:
    if name.startswith("."):
        return
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # a million times; a Path takes ten times longer
    if suffix in SUFFIXES:
        listed.pictures.append(within + name)
        return
    listed.passed_over[suffix] += 1
    listed.examples.setdefault(suffix, within + name)


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation of a picture, 1 (upright) to 8; 1 where the tag is missing or broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata, which raise nearly any exception; viewers show such a picture as it is stored
        return 1
    return value if value in range(1, 9) else 1


def upright(picture: ImageFile.ImageFile) -> Image.Image:
    """Read the pixels of a picture and return it as every viewer shows it: turned and flipped by its EXIF orientation."""
    if picture.format == "TIFF":
        picture.filename = ""  # else Pillow maps an uncompressed file, and scrambles one that is turned by a quarter
    picture.load()
    return picture if orientation(picture) == 1 else ImageOps.exif_transpose(picture)

"""Find the images that a table names, whichever way their letters are composed, and name those that no row has."""

import os
from pathlib import Path

from medtransfer.data.picture_folders import SUFFIXES
from medtransfer.errors import InputError
from medtransfer.prepare.readers.labelled_images import DICOM
from medtransfer.prepare.readers.split_lists import is_outside
from medtransfer.wording import composed


class NamedImages:
    """Images below a folder by their names in a table; each folder is listed once, when the first image in it is asked for."""

    def __init__(self, root: Path) -> None:
        """Name the folder."""
        self._root = root
        self._folders: dict[str, dict[str, Path]] = {}
        self._asked: set[Path] = set()

    def find(self, name: str, where: str) -> Path | None:
        """Return the path of an image, None if there is none.

        Args:
            name: its path below the root; folders may hold `*`, which stands for any name, such as `images_*/images`.
            where: file and line that name it, for the message.

        Raises:
            InputError: the name leads out of the root, or two folders hold it.
        """
        parent, _, last = name.replace("\\", "/").rpartition("/")
        if not last or is_outside(name.replace("\\", "/")):
            raise InputError(f"expected the path of an image below {self._root} in {where}, but got {name!r}; correct the table")
        if parent not in self._folders:
            self._folders[parent] = self._list(parent)
        path = self._folders[parent].get(composed(last))
        if path is not None:
            self._asked.add(path)
        return path

    def unnamed(self) -> list[Path]:
        """Return the images in the same folders that were never asked for, sorted."""
        listed = {path for files in self._folders.values() for path in files.values()}
        return sorted(path for path in listed - self._asked if path.suffix.lower() in (*SUFFIXES, *DICOM))

    def _list(self, parent: str) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for folder in self._homes(parent):
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.is_dir():
                        continue
                    name, path = composed(entry.name), folder / entry.name
                    if (other := files.setdefault(name, path)) != path:
                        raise InputError(f"expected one image named {name!r}, but got {other} and {path}; remove one of them")
        return files

    def _homes(self, parent: str) -> list[Path]:
        """Return the folders that a path stands for; its letters may be composed otherwise on the disk."""
        if "*" in parent:
            return sorted(path for path in self._root.glob(parent) if path.is_dir())
        home = self._root
        for part in Path(parent).parts:
            if (home / part).is_dir():
                home = home / part
                continue
            named = {composed(entry.name): entry for entry in home.iterdir() if entry.is_dir()}
            if composed(part) not in named:
                return []
            home = named[composed(part)]
        return [home]

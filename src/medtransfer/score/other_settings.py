"""Scores that were asked for in another way, which are kept beside their folder until they are asked for again."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.records import Scores, scratch_folder
from medtransfer.score.finished import is_ours

OTHERS = ".other-settings"
Held = set[tuple[str, str]]  # what values are of, and at which settings they are


def keep(folder: Path) -> None:
    """Keep a copy of scores, some of which are about to be replaced, such as by those of another level.

    Files are linked where the file system allows it: every writer of this project replaces them.

    Args:
        folder: folder of the scores of one pretraining on one target, which no other process works on.
    """
    held = _held(folder)
    if not held or any(held <= _held(copy) for copy in _copies(folder)):
        return
    copy = _kept(folder) / digest(sorted(held), 12)
    with scratch_folder(copy) as scratch:
        _link(folder, scratch)
        _discard(copy, folder)  # none of it can be read
        scratch.rename(copy)


def bring_back(folder: Path, lacks: Callable[[Path], tuple[int, ...]]) -> None:
    """Exchange the scores of a folder for the kept ones that lack least of what is asked for, if they lack less.

    Files of the user's own stay where they are. A process that is killed leaves whole copies of what it exchanges.

    Args:
        folder: as in `keep`.
        lacks: what a folder of scores lacks, in numbers of which the first weighs most; zeros if it lacks nothing.
    """
    copies = _copies(folder)
    least, best = lacks(folder) if copies else (), folder
    for copy in copies:
        if any(least) and (number := lacks(copy)) < least:
            least, best = number, copy
    if best != folder:
        keep(folder)
        _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _link(best, folder)
        _discard(best, folder)


def forget(folder: Path) -> None:
    """Delete the copies of which finished scores, or another copy, hold everything that is of the same images and weights."""
    copies = {copy: _held(copy) for copy in _copies(folder)}
    here = _held(folder) if copies else set()
    current = {of for of, _ in here}
    for copy in sorted(copies, key=lambda each: len(copies[each])):
        only = {value for value in copies[copy] if value[0] in current} - here
        if not only or any(only <= held for other, held in copies.items() if other != copy):
            del copies[copy]
            _discard(copy, folder)


def _discard(copy: Path, folder: Path) -> None:
    """Delete a copy; files of the user's own among them are moved to the folder, where none is replaced."""
    if not copy.is_dir():
        return
    _clear(copy)
    for path in copy.iterdir():
        place = folder / path.name
        while os.path.lexists(place):
            place = place.with_name(f"{place.name}~")
        shutil.move(path, place)
    copy.rmdir()


def _clear(folder: Path) -> None:
    for file in reversed(_files(folder)):
        file.unlink()


def _link(source: Path, folder: Path) -> None:
    for file in _files(source):
        try:
            os.link(file, folder / file.name)
        except OSError:  # a file system without links, or another one
            shutil.copy2(file, folder)


def _files(folder: Path) -> list[Path]:
    """Return the files of scores, the records of the epochs last, by which `_held` tells what a folder holds."""
    files = [path for path in folder.glob("*") if is_ours(path.name) and path.is_file()]
    return sorted(files, key=lambda path: (path.match("epoch-*.json"), path.name))


def _kept(folder: Path) -> Path:
    folder = folder.resolve()  # so that of a linked folder they are on its file system
    return folder.parent / OTHERS / folder.name


def _copies(folder: Path) -> list[Path]:
    return sorted(path for path in _kept(folder).glob("[!.]*") if path.is_dir())


def _held(folder: Path) -> Held:
    """Return what the values in a folder are of, which is images and weights, and at which settings."""
    held: Held = set()
    for path in folder.glob("epoch-*.npz"):
        with suppress(InputError):  # the record is damaged, or not written yet
            scores = Scores.read(path.with_suffix(".json"))
            of = digest([scores.data, scores.pretraining, scores.weights])
            held |= {(of, digest([scores.settings, row.indicator, row.setting])) for row in scores.rows}
    return held

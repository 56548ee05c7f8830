"""Command `pack`: write the pictures of a source to shards with their index, so that a training need not scan its files."""

import hashlib
import io
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.data.shard_formats import FORMATS, PACKED, class_of
from medtransfer.data.shards import check_name, duplicate, index_shard, is_sharded, shard_files, stored_index, unreadable
from medtransfer.data.source_folders import SPLITS, check_splits, list_pictures
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records import TARGET_FILE, atomic_path, parse_json, write_json
from medtransfer.records.file_states import file_state, is_settled, wait_until_settled
from medtransfer.records.folders import LITTER
from medtransfer.records.shard_index import index_path

log = logging.getLogger("medtransfer")
PACK_FILE = ".pack.json"  # which source was packed, and how


@dataclass(frozen=True)
class Pack:
    """Shards to write, one after the other.

    Attributes:
        source: folder of the source.
        folder: to write to.
        suffix: of the shards.
        classes: names of all classes, sorted.
        shards: file below `folder` to the pictures of the source's folder, or to the shard of the source, that it holds.
    """

    source: Path
    folder: Path
    suffix: str
    classes: list[str]
    shards: dict[str, list[str] | Path]

    def write(self) -> None:
        """Write the shards that are lacking."""
        missing = [name for name in self.shards if not self.has(name)]
        for name in track(missing, "pack: shards", len(missing), "shards"):
            path, packed = self.folder / name, self._states(name)
            with atomic_path(path) as partial:
                FORMATS[self.suffix].write(partial, self._checked(name), self.classes)
            replace(index_shard(path), source=packed).write(index_path(path))

    def wait(self) -> None:
        """Wait until any change of the shards will be noticed, since their indexes are those of files that changed a moment ago."""
        wait_until_settled(file_state(self.folder / name) for name in self.shards)

    def has(self, name: str) -> bool:
        """Return whether a shard is written, and nothing that it holds has changed since; contents are read if states differ."""
        path = self.folder / name
        if not (path.is_file() and index_path(path).is_file()):
            return False
        try:
            index, packed = stored_index(path), self._states(name)
            if packed and packed == index.source:
                return True
            stored = zip(index.names.tolist(), (row.tobytes() for row in index.digests), strict=True)
            current = ((os.fsencode(picture), hashlib.sha256(content).digest()) for picture, content in self._pictures(name))
            return all(a == b for a, b in zip_longest(stored, current))
        except InputError:  # a damaged shard, or a source that cannot be read any more
            return False

    def _states(self, name: str) -> str:
        """Return the digest of the names and states of the files for a shard; empty if one changed a moment ago."""
        moment, source = time.time(), self.shards[name]
        files = {source.name: source} if isinstance(source, Path) else {picture: self._file(name, picture) for picture in source}
        states = {file: file_state(path) for file, path in files.items()}
        return digest(states, 32) if all(is_settled(state, moment) for state in states.values()) else ""

    def _file(self, name: str, picture: str) -> Path:
        return self.source / Path(name).parent / picture

    def _pictures(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of the pictures for a shard."""
        source = self.shards[name]
        if isinstance(source, Path):
            return read_shard(source)
        return ((picture, self._file(name, picture).read_bytes()) for picture in source)

    def _checked(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of the pictures for a shard, after a look at the header of each."""
        source = self.shards[name]
        for picture, content in self._pictures(name):
            where = f"{source}: {picture}" if isinstance(source, Path) else str(self._file(name, picture))
            try:
                Image.open(io.BytesIO(content)).close()
            except Exception as error:  # decoders raise nearly any exception for a damaged picture
                reason = "it is empty" if not content else f"it is unreadable ({error})"
                raise InputError(f"expected a picture in {where}, but {reason}; replace or remove it") from None
            yield picture, content


def run(source: Path, destination: Path, form: str, megabytes: int) -> Path:
    """Pack a source: pictures in folders, or shards of any format.

    The shards are written to a hidden folder beside the destination, which gets its name when all are complete. A command that
    was interrupted continues with the shard that it was at.

    Args:
        source: folder with `train` and `val`.
        destination: folder to make.
        form: `tar` or `parquet`.
        megabytes: size of a shard, about; the shards of a source of shards stay divided as they are.

    Returns:
        The destination.

    Raises:
        InputError: the source has no pictures, an empty class or a file that is none, or the destination holds something else.
    """
    if (source / TARGET_FILE).is_file():
        raise InputError(f"expected a source of pictures to pack, but {source} is a prepared target, whose images are in one file")
    check_splits(source)
    if any((source / split).resolve() in (destination.resolve(), *destination.resolve().parents) for split in SPLITS):
        raise InputError(f"expected a destination outside of the pictures of {source}, but got {destination}; name another one")
    identity = {"source": digest(str(source.resolve())), "format": form, "megabytes": megabytes}
    with exclusive(destination):
        unfinished = destination.with_name(f".{destination.name}.unfinished")
        if destination.is_dir() and any(destination.iterdir()):
            _check_packed(plan(source, destination, form, megabytes), identity)
            return destination
        if unfinished.exists() and _identity(unfinished) != identity:
            shutil.rmtree(unfinished)
        write_json(unfinished / PACK_FILE, identity)
        pack = plan(source, unfinished, form, megabytes)
        pack.write()
        _remove_strays(pack)
        pack.wait()
        if destination.is_dir():
            destination.rmdir()  # it is empty
        unfinished.rename(destination)
    return destination


def plan(source: Path, folder: Path, form: str, megabytes: int) -> Pack:
    """Return the shards of a source.

    Raises:
        InputError: there are no pictures, a class is empty, or two samples of a split have one name.
    """
    suffix, shards, classes = PACKED[form], dict[str, list[str] | Path](), set[str | None]()
    for split in SPLITS:
        if is_sharded(source):
            parts: Sequence[Path | list[str]] = shard_files(source, split)
            classes |= _stored_classes(shard_files(source, split))
        else:
            names = _pictures(source, split)
            classes |= {class_of(name) for name in names}
            parts = _divide(source / split, names, megabytes)
        shards |= {f"{split}/shard-{number:06d}{suffix}": part for number, part in enumerate(parts)}
    return Pack(source, folder, suffix, sorted(name for name in classes if name is not None), shards)


def read_shard(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the pictures of a shard, compressed or not."""
    try:
        for picture in FORMATS[shard.suffix.lower()].read(shard):
            check_name(picture.name, picture.content, shard)
            yield picture.name, picture.content
    except InputError:
        raise
    except Exception as error:  # libraries raise nearly any exception for a damaged file
        raise unreadable(shard, error) from None


def _stored_classes(shards: list[Path]) -> set[str | None]:
    """Return the classes of the pictures in the shards of a split; two samples with one name are an InputError."""
    shard_of = dict[str, Path]()
    for shard in track(shards, "pack: classes of shards", len(shards), "shards"):
        for name, _ in read_shard(shard):
            if name in shard_of:
                raise duplicate(name, shard_of[name], shard)
            shard_of[name] = shard
    return {class_of(name) for name in shard_of}


def _pictures(source: Path, split: str) -> list[str]:
    """Return the pictures of a split; an empty class, or a name that is not UTF-8, is an InputError."""
    listed = list_pictures(source / split)
    if others := listed.describe_passed_over():
        log.warning("pack: files below %s that are no pictures are left out: %s", source / split, others)
    classes = {class_of(name) for name in listed.pictures}
    for folder in sorted((source / split).iterdir()):
        if folder.is_dir() and not folder.name.startswith(LITTER) and folder.name not in classes:
            list_pictures(folder)
    for name in listed.pictures:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"expected names in UTF-8, but got {name!r} in {source / split}; rename the file") from None
    return listed.pictures


def _divide(folder: Path, names: list[str], megabytes: int) -> list[list[str]]:
    """Divide pictures into shards of about a size."""
    tracked = track(names, "pack: sizes of pictures", len(names), "pictures")
    ends = np.cumsum([(folder / name).stat().st_size for name in tracked])
    numbers = (ends - 1).clip(0) // (megabytes * 2**20)
    borders = np.flatnonzero(np.diff(numbers)) + 1
    return [list(part) for part in (names[a:b] for a, b in zip([0, *borders], [*borders, len(names)], strict=True))]


def _check_packed(pack: Pack, identity: dict[str, object]) -> None:
    """Check that a destination holds the source as it is now."""
    if _identity(pack.folder) != identity or not all(pack.has(name) for name in pack.shards):
        raise InputError(
            f"expected a new or empty folder to pack into, but {pack.folder} holds other files, or an earlier state of the source; "
            "remove it, or name another one"
        )
    log.info("pack: %s is packed in %s already", pack.source, pack.folder)


def _identity(folder: Path) -> object:
    try:
        return parse_json((folder / PACK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not a folder that this command writes
        return None


def _remove_strays(pack: Pack) -> None:
    """Remove what an interrupted command wrote when the source had more pictures."""
    kept = {pack.folder / PACK_FILE} | {pack.folder / name for name in pack.shards}
    kept |= {index_path(path) for path in kept}
    for path in pack.folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()

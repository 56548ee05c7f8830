"""Command `pack`: write the pictures of a source to shards with their index, so that a training need not scan its files."""

import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.data.shard_formats import FORMATS, class_of
from medtransfer.data.shards import index_shard, is_sharded, shard_files, unreadable
from medtransfer.data.source_folders import SPLITS, check_splits, list_pictures
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records import TARGET_FILE, atomic_path, parse_json, write_json
from medtransfer.records.shard_index import ShardIndex, index_path

log = logging.getLogger("medtransfer")
PACKED = {"tar": ".tar", "parquet": ".parquet"}  # formats that are written
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
            path = self.folder / name
            with atomic_path(path) as partial:
                FORMATS[self.suffix].write(partial, self._checked(name), self.classes)
            index_shard(path).write(index_path(path), path)

    def has(self, name: str) -> bool:
        """Return whether a shard is written, and nothing that it holds has changed since."""
        path, source = self.folder / name, self.shards[name]
        index = ShardIndex.read(index_path(path), path) if path.is_file() else None
        if index is None:
            return False
        files = [source] if isinstance(source, Path) else [self._file(name, picture) for picture in source]
        states = [file.stat() for file in files]
        if max(state.st_mtime_ns for state in states) > path.stat().st_mtime_ns:
            return False
        expected = None if isinstance(source, Path) else ([picture.encode() for picture in source], [s.st_size for s in states])
        return expected is None or expected == (index.names.tolist(), index.sizes.tolist())

    def _file(self, name: str, picture: str) -> Path:
        return self.source / Path(name).parent / picture

    def _checked(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of the pictures of a shard, after a look at the header of each."""
        source = self.shards[name]
        if isinstance(source, Path):
            pairs = read_shard(source)
        else:
            pairs = ((picture, self._file(name, picture).read_bytes()) for picture in source)
        for picture, content in pairs:
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
        if destination.is_dir():
            destination.rmdir()  # it is empty
        unfinished.rename(destination)
    return destination


def plan(source: Path, folder: Path, form: str, megabytes: int) -> Pack:
    """Return the shards of a source.

    Raises:
        InputError: there are no pictures, or a class is empty.
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
            yield picture.name, picture.content
    except InputError:
        raise
    except Exception as error:  # libraries raise nearly any exception for a damaged file
        raise unreadable(shard, error) from None


def _stored_classes(shards: list[Path]) -> set[str | None]:
    return {
        class_of(name)
        for shard in track(shards, "pack: classes of shards", len(shards), "shards")
        for name, _ in read_shard(shard)
    }  # fmt: skip


def _pictures(source: Path, split: str) -> list[str]:
    """Return the pictures of a split; an empty class, or a name that is not UTF-8, is an InputError."""
    listed = list_pictures(source / split)
    if others := listed.describe_passed_over():
        log.warning("pack: files below %s that are no pictures are left out: %s", source / split, others)
    classes = {class_of(name) for name in listed.pictures}
    for folder in sorted((source / split).iterdir()):
        if folder.is_dir() and not folder.name.startswith((".", "__MACOSX")) and folder.name not in classes:
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

"""Splits of a pretraining source that are stored as shards: tar files or tables instead of a file per picture.

The shards of a split are the files in its folder, `train/shard-000000.tar`, or those whose names begin with it, such as
`train-00000-of-00294.parquet` beside `validation-00000-of-00014.parquet`. An index beside each shard says where its pictures are,
so that any of them is read by one system call, in any order. It is written once; a shard that has changed is indexed again, also
if its size and the time of its content are the old ones.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer.data.picture_folders import SUFFIXES
from medtransfer.data.shard_formats import FORMATS
from medtransfer.environment import own_folder
from medtransfer.errors import InputError, is_full_disk
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records.file_states import State, file_state, is_settled, wait_until_settled
from medtransfer.records.shard_index import SUFFIX, ShardIndex, index_path

PREFIXES = {"train": ("train",), "val": ("val", "validation")}  # of shards that are not in folders
OPEN_SHARDS = 64  # files that a process keeps open, fewer than any system allows
LETTERS = 4096  # of the longest name
CHUNK = 2**16  # names
Shard = tuple[Path, State]


@dataclass(frozen=True)
class ShardedSplit:
    """The pictures of a split.

    Attributes:
        shards: files.
        names: path of each picture below the split, encoded and sorted, (N,).
        shard: index of its shard, int32 (N,).
        offsets: begin of its content in the shard, int64 (N,), bytes.
        sizes: length of its content, int64 (N,), bytes.
        rows: its place among all pictures in the order of the shards, int32 (N,).
    """

    shards: tuple[Path, ...]
    names: NDArray[np.bytes_]
    shard: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    rows: NDArray[np.int32]

    def take(self, rows: NDArray[np.intp]) -> "ShardedSplit":
        """Return pictures in another order."""
        if len(rows) == len(self.names) and (rows == np.arange(len(rows))).all():
            return self
        columns = ("names", "shard", "offsets", "sizes", "rows")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def by_class(self) -> "tuple[ShardedSplit, list[str], NDArray[np.intp]]":
        """Return the pictures that have a class, in the order of an ImageFolder, the names of the classes, and the labels."""
        numbers, codes = dict[bytes, int](), np.empty(len(self.names), np.int64)
        for begin in range(0, len(codes), CHUNK):  # so that little memory is needed beside the names
            found, inverse = np.unique(_first_folders(self.names[begin : begin + CHUNK]), return_inverse=True)
            codes[begin : begin + CHUNK] = np.array([numbers.setdefault(name, len(numbers)) for name in found.tolist()])[inverse]
        order = sorted(numbers)
        ranks = np.empty(len(order), np.int64)
        ranks[[numbers[name] for name in order]] = np.arange(len(order)) - (b"" in numbers)
        labels = ranks[codes]  # -1 without a class
        rows = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]  # within a class they are sorted by name already
        return self.take(rows), [os.fsdecode(name) for name in order if name], labels[rows]


def _first_folders(names: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Return the part of each path before the first slash; nothing if there is none."""
    letters = names.view(np.uint8).reshape(len(names), -1)
    slash = (letters == ord("/")).argmax(axis=1)  # 0 where there is none
    inside = np.arange(letters.shape[1]) < slash[:, None]
    return np.where(inside, letters, 0).astype(np.uint8).view(names.dtype)[:, 0]


def is_sharded(root: Path) -> bool:
    """Return whether the pictures of a source are stored in shards."""
    return bool(shard_files(root, "train"))


def shard_files(root: Path, split: str) -> list[Path]:
    """Return the shards of a split, sorted; none if its folder has pictures or folders, beside which they are no part of it."""
    folder = root / split
    try:
        if folder.is_dir():
            return sorted(_shards_alone(folder))
        entries = [entry.name for entry in os.scandir(root) if entry.is_file()] if root.is_dir() else []
    except OSError as error:
        raise InputError(f"expected pictures in {folder}, but it cannot be read ({error}); repair or remove it") from None
    starts = tuple(f"{prefix}-" for prefix in PREFIXES[split])
    return sorted(root / name for name in entries if name.startswith(starts) and Path(name).suffix in FORMATS)


def _shards_alone(folder: Path) -> list[Path]:
    shards = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  # a million times
            if entry.name.startswith("."):
                continue
            if suffix in SUFFIXES or entry.is_dir():
                return []
            if suffix in FORMATS:
                shards.append(folder / entry.name)
    return shards


def open_split(root: Path, split: str) -> ShardedSplit:
    """Return the pictures of a split, from the indexes of its shards, which are written where they are lacking.

    Raises:
        InputError: there are no shards, one is unreadable or has no pictures, a sample is none of a labelled picture, or a shard
            is a copy of another one or has two samples of one name.
    """
    shards = shard_files(root, split)
    if not shards:
        raise InputError(
            f"expected shards of the split {split} in {root} as there are of train, but there are none; add "
            f"{root / split / 'shard-000000.tar'}, or {PREFIXES[split][-1]}-00000.parquet"
        )
    states = tuple((shard, _state(shard)) for shard in shards)
    wait_until_settled(state for _, state in states)  # so that whatever changes from here on is noticed
    return _open(states)


@lru_cache(maxsize=2)
def _open(shards: tuple[Shard, ...]) -> ShardedSplit:
    """Return the pictures of shards; those of both splits are kept, since several parts of a stage ask for them."""
    indexes = [stored_index(shard) for shard, _ in track(shards, "pretrain: indexes of shards", len(shards), "shards")]
    _check_copies([shard for shard, _ in shards], indexes)
    numbers = np.repeat(np.arange(len(indexes), dtype=np.int32), [len(index.names) for index in indexes])
    parts = {name: [getattr(index, name) for index in indexes] for name in ("names", "offsets", "sizes")}
    del indexes
    columns = {name: np.concatenate(parts.pop(name)) for name in tuple(parts)}  # each is released before the next is joined
    rows, names = np.arange(len(numbers), dtype=np.int32), columns["names"]
    split = ShardedSplit(tuple(shard for shard, _ in shards), shard=numbers, rows=rows, **columns)
    is_sorted = bool((names[:-1] <= names[1:]).all())
    split = split if is_sorted else split.take(np.argsort(names, kind="stable"))
    return split


def _check_copies(shards: Sequence[Path], indexes: Sequence[ShardIndex]) -> None:
    """Check that no shard is a copy of another one, or has two samples of one name.

    Names may be the same in several shards, since keys often start again in each.
    """
    seen: dict[bytes, Path] = {}
    for shard, index in zip(shards, indexes, strict=True):
        names, counts = np.unique(index.names, return_counts=True)
        if len(names) < len(index.names):
            raise duplicate(os.fsdecode(names[counts.argmax()]), shard, shard)
        contents = hashlib.sha256(index.digests.tobytes()).digest()
        if contents in seen:
            raise InputError(
                f"expected shards of different pictures, but {shard} holds those of {seen[contents]} again; remove one"
            )
        seen[contents] = shard


def duplicate(name: str, first: Path, second: Path) -> InputError:
    """Return the error for two samples that have one name."""
    where = f"{first} has two" if first == second else f"it is in {first} and in {second}"
    return InputError(f"expected one sample {name}, but {where}; remove the copy, or rename one of the samples")


def _state(shard: Path) -> State:
    try:
        return file_state(shard)
    except OSError as error:
        raise InputError(f"expected a shard in {shard}, but it cannot be reached ({error}); replace or remove it") from None


def stored_index(shard: Path) -> ShardIndex:
    """Return the index of a shard; it is made where there is none, in the project's folder if that of the shard is read-only.

    It is not stored for a shard that changed a moment ago, which may change again unnoticed.

    Raises:
        InputError: see `index_shard`.
    """
    beside = index_path(shard)
    path = beside if os.access(shard.parent, os.W_OK) else own_folder() / "shards" / f"{digest(str(shard.resolve()))}{SUFFIX}"
    for candidate in dict.fromkeys((beside, path)):
        if (index := ShardIndex.read(candidate, shard)) is not None:
            return index
    with exclusive(path):
        if (index := ShardIndex.read(path, shard)) is None:  # another process may have made it meanwhile
            moment, index = time.time(), index_shard(shard)
            if is_settled(index.state, moment):
                index.write(path)
    return index


def index_shard(shard: Path) -> ShardIndex:
    """Read a shard and return its index.

    Raises:
        InputError: it is unreadable, changes meanwhile, has no pictures, or one that is empty, compressed or has an unusable name.
    """
    state = _state(shard)
    names, offsets, sizes, digests = [], [], [], []
    try:
        for name, content, offset in FORMATS[shard.suffix.lower()].read(shard):
            if offset is None:
                raise InputError(
                    f"expected uncompressed pictures in {shard}, which are read by their place in the file, but they are "
                    "compressed; write them so with `medtransfer pack`"
                )
            names.append(check_name(name, content, shard))
            offsets.append(offset)
            sizes.append(len(content))
            digests.append(hashlib.sha256(content).digest())
    except InputError:
        raise
    except Exception as error:  # libraries raise nearly any exception for a damaged file
        raise unreadable(shard, error) from None
    if _state(shard) != state:
        raise InputError(f"expected a finished shard in {shard}, but it changed while it was read; try again when it is written")
    if not names:
        raise InputError(f"expected pictures in {shard}, but there are none; replace or remove it")
    return ShardIndex(
        np.array(names), np.array(offsets, np.int64), np.array(sizes, np.int64),
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32), state,
    )  # fmt: skip


def unreadable(shard: Path, error: Exception) -> Exception:
    """Return the error for a damaged shard; a full disk stays itself."""
    if is_full_disk(error):
        return error
    return InputError(
        f"expected a shard in {shard}, but it is unreadable ({type(error).__name__}: {error}); replace it, or pack the source again"
    )


def check_name(name: str, content: bytes, shard: Path) -> bytes:
    """Return the name of a stored picture, encoded; an empty picture or an unusable name is an InputError."""
    if not content:
        raise InputError(f"expected a picture {name!r} in {shard}, but it is empty; remove it")
    parts = name.split("/")
    if not name.isprintable() and any(ord(letter) < 32 for letter in name) or {"", ".", ".."} & set(parts) or len(name) > LETTERS:
        raise InputError(f"expected a path as the name of a picture in {shard}, without `..`, but got {name[:100]!r}; correct it")
    return os.fsencode(name)


class ShardReader:
    """Reads pictures of a split by their place; processes that are forked from this one may use it, too."""

    def __init__(self, split: ShardedSplit) -> None:
        self.split = split
        self._files: dict[int, int] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": {}}

    def name(self, index: int) -> str:
        """Return shard and name of a picture, for messages."""
        return f"{self.split.shards[self.split.shard[index]]}: {os.fsdecode(self.split.names[index])}"

    def read(self, index: int) -> bytes:
        """Return the content of a picture's file.

        Raises:
            InputError: the shard is gone or shorter than when it was indexed.
        """
        number, size = int(self.split.shard[index]), int(self.split.sizes[index])
        try:
            content = os.pread(self._file(number), size, int(self.split.offsets[index]))
        except OSError as error:
            raise InputError(
                f"expected a picture in {self.name(index)}, but it is unreadable ({error}); replace the shard"
            ) from None
        if len(content) != size:
            raise InputError(f"expected a picture of {size} bytes in {self.name(index)}, but the shard ends before; replace it")
        return content

    def _file(self, number: int) -> int:
        if number not in self._files:
            if len(self._files) >= OPEN_SHARDS:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[number] = os.open(self.split.shards[number], os.O_RDONLY)
        return self._files[number]

    def __del__(self) -> None:
        for file in self._files.values():
            os.close(file)


def fingerprint(root: Path, splits: Sequence[str], classes: bool) -> str:
    """Return the digest of names and contents that `source_folders.hash_pictures` returns for the same pictures as files.

    Args:
        root: folder of the source.
        splits: in this order.
        classes: whether only pictures of classes count, class by class.
    """
    total = hashlib.sha256()
    for split in splits:
        pictures = open_split(root, split)
        pictures = pictures.by_class()[0] if classes else pictures
        digests = np.concatenate([stored_index(shard).digests for shard in pictures.shards])
        for name, row in zip(pictures.names, pictures.rows, strict=True):
            sha256 = digests[row]
            total.update(b"%s/%s\0%s\n" % (split.encode(), name, sha256.tobytes().hex().encode()))
    return total.hexdigest()[:16]

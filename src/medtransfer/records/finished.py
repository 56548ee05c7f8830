"""Record of a finished result: what was asked for, and the files that were made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.records.base import FINISHED, Record

FILE = "finished.json"


@dataclass(frozen=True)
class Finished(Record):
    """Contents of `finished.json`, written last.

    Attributes:
        request: digest of everything that the result is made of.
        cells: digests of its runs in the tracking store.
        files: SHA-256 of its files, by path below the folder.
        texts: what the command says of it, if that is kept.
        states: digest of the finished runs of every stage that it was made of, if it was made of any.
    """

    request: str
    cells: list[str]
    files: dict[str, str]
    texts: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return FINISHED

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that were added later."""
        return frozenset({"texts", "states"})

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """Read a record; None if there is none that can be read."""
        try:
            return cls.read(path)
        except InputError:
            return None


def read_finished(folder: Path, request: str) -> Finished | None:
    """Return the record of a result of the same request; None unless its files are as they were written."""
    done = Finished.find(folder / FILE)
    return done if done and done.request == request and are_as_written(folder, done.files) else None


def are_as_written(folder: Path, files: Mapping[str, str]) -> bool:
    """Return whether files are there, with the SHA-256 that they were written with, by path below the folder."""
    try:
        return all((path := folder / name).is_file() and file_sha256(path) == sha256 for name, sha256 in files.items())
    except OSError:  # one cannot be read
        return False


def is_unchanged(path: Path) -> bool:
    """Return whether a file is as the record beside it says; true if there is no record, or none of this file."""
    done = Finished.find(path.parent / FILE)
    return done is None or are_as_written(path.parent, {name: sha for name, sha in done.files.items() if name == path.name})


def write_finished(
    folder: Path, request: str, cells: Sequence[str], files: Sequence[Path], texts: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Record that a result is finished; its files are in the folder."""
    digests = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    Finished(request, list(cells), digests, list(texts), dict(states or {})).write(folder / FILE)


def forget_finished(folder: Path) -> None:
    """Remove the record before a result is made again."""
    (folder / FILE).unlink(missing_ok=True)

"""What a format of shards does: it lists the pictures of a file with their places in it, and writes them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from medtransfer.errors import InputError


class StoredPicture(NamedTuple):
    """A picture in a shard.

    Attributes:
        name: path below its split, with its class as the first folder if it has one: `n01440764/n01440764_10026.JPEG`.
        content: bytes of the picture's file.
        offset: where they begin in the shard's file; None if they are not stored there as they are.
    """

    name: str
    content: bytes
    offset: int | None


class ShardFormat(Protocol):
    """A module of this package."""

    WRITTEN: str
    """suffix of the shards that `write` makes"""

    def read(self, path: Path) -> Iterator[StoredPicture]:
        """Yield the pictures of a shard in the order of the file.

        Raises:
            InputError: a sample has no picture, or a label that is none.
            Exception: nearly any, if the file is damaged or has another format.
        """

    def write(self, path: Path, pictures: Iterable[tuple[str, bytes]], classes: Sequence[str]) -> None:
        """Write pictures, by name and content; the label of a picture is the index of its class among all classes."""


def name_of(label: int | str | None, name: str, where: str) -> str:
    """Return the name of a picture from its label and its name without one.

    A number becomes a class name of six digits, so that classes are in the order of their numbers.

    Args:
        label: number or name of its class; None for none.
        name: name of its file.
        where: shard and sample, for the message.

    Raises:
        InputError: the label cannot be the name of a class.
    """
    if label is None:
        return name
    text = f"{int(label):06d}" if re.fullmatch(r"\d+", str(label)) else str(label)
    if not text or text.startswith((".", "__MACOSX", "-")) or re.search(r"[/\x00-\x1f]", text):
        raise InputError(
            f"expected a label of 0 or more, or the name of a class without slashes, in {where}, but got {label!r}; correct it"
        )
    return f"{text}/{name}"


def class_of(name: str) -> str | None:
    """Return the class of a picture by its name: the first folder."""
    folder, slash, _ = name.partition("/")
    return folder if slash else None

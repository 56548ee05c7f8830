"""What may befall a file: truncation, noise, other types, permissions, and the changes that the tables have in common."""

import io
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

Damage = str | bytes | Callable[[Path], object]
Row = tuple[Any, ...]  # name of the row, file, damage, words of the sentence


def _loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path.name)


def _folder(path: Path) -> None:
    remove(path)
    path.mkdir()


def _pipe(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes((content := path.read_bytes())[: int(share * len(content))])


def _spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    begin = len(content) // 2
    content[begin : begin + 64] = bytes(255 - byte for byte in content[begin : begin + 64])
    path.write_bytes(content)


# What may befall any file, by name.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": remove,
    "empty": lambda path: path.write_bytes(b""),
    "half": _cut(0.5),
    "head": _cut(0.05),
    "last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "spoilt": _spoil,
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(4096)),
    "text": lambda path: path.write_text("this is no such file\n"),
    "Latin-1": lambda path: path.write_bytes("größer,für\nmüßig".encode("latin-1")),
    "folder": _folder,
    "loop": _loop,
    "pipe": _pipe,
    "unreadable": lambda path: path.chmod(0),
}  # fmt: skip


def apply(damage: Damage, path: Path) -> None:
    """Do the damage: one of DAMAGES by name, new content, or what a function does."""
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        (DAMAGES[damage] if isinstance(damage, str) else damage)(path)


DELETED: Any = ...


def field(name: str, value: Any) -> Callable[[Path], object]:
    """Change one field of a JSON record; NaN and infinity are written as Python writes them."""

    def change(path: Path) -> None:
        record = {**json.loads(path.read_text()), name: value}
        path.write_text(json.dumps({key: one for key, one in record.items() if one is not DELETED}))

    return change


def text(change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda path: path.write_text(change(path.read_text()))


def utf16(path: Path) -> None:
    path.write_text(path.read_text(), encoding="utf-16")


def npy(shape: str, descr: str = "|u1", data: bytes = b"") -> bytes:
    """Make a .npy file that claims a shape."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head) + 1) + head.encode() + b"\n" + data


def saved(array: np.ndarray) -> bytes:
    np.save(held := io.BytesIO(), array, allow_pickle=True)
    return held.getvalue()


class Canary:
    """What writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("canary", "w")


OBJECTS = np.array([Canary()], dtype=object)


def befallen(file: str, names: Iterable[str], *words: str) -> list[Row]:
    """Return one row per damage that may befall any file."""
    return [(f"{Path(file).name}: {name}", file, name, *(words or [Path(file).name])) for name in names]


def fields(file: str, table: dict[str, list[Any]]) -> list[Row]:
    """Return one row per value that a field of a JSON record must not have; the sentence names file and field."""
    name = Path(file).name
    return [(f"{name}: {key} is {value!r}"[:60], file, field(key, value), name, key) for key in table for value in table[key]]

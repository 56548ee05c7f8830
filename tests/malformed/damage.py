"""What may befall a file: truncation, noise, other types, permissions, and the changes that the tables have in common."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

Damage = str | bytes | Callable[[Path], object]


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

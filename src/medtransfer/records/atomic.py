"""Atomic writes of files and folders."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.hashing import digest

if TYPE_CHECKING:
    import torch


HOST = digest(platform.node(), 6)  # distinguishes hosts that share a file system, without writing their names
LISTED = 16  # entries of a folder per write that looking for partial files may list
_listings: dict[str, tuple[int, dict[str, list[str]]]] = {}  # by folder: writes until the next one, and partial files by final name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which gets its final name after the block succeeds and the bytes are on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(path)
    partial = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.partial")
    try:
        partial.touch()
        permissions = partial.stat().st_mode  # by the umask, which some writers ignore
        partial.unlink()
        yield partial
        if partial.stat().st_mode != permissions:
            partial.chmod(permissions)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(path: Path) -> None:
    """Remove what killed processes of this host left of a file that they were writing; its folder must exist.

    A large folder is not listed again at every write, which would make writing many files to it quadratic.
    """
    folder = os.path.abspath(path.parent)  # noqa: PTH100  # resolves no links, and takes a tenth of the time of a Path
    writes, strays = _listings.get(folder, (0, {}))
    if writes == 0:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        writes, strays = 1 + len(names) // LISTED, {}
        for parts in (name[1:].rsplit(".", 2) for name in names if name.startswith(".") and name.endswith(".partial")):
            if len(parts) == 3:
                strays.setdefault(parts[0], []).append(parts[1])
    _listings[folder] = writes - 1, strays
    for owner in strays.get(path.name, ()):
        host, _, process = owner.rpartition("-")
        if host == HOST and not _is_alive(process):
            path.with_name(f".{path.name}.{owner}.partial").unlink(missing_ok=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which gets its final name, replacing an older one, after the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch_folder(result: Path) -> Iterator[Path]:
    """Yield an empty folder beside a result, which is deleted after the block; leftovers of a killed process are removed first.

    The caller must hold the lock on the result, since the folder's name is fixed.
    """
    folder = result.with_name(f".{result.name}.scratch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: "dict[str, torch.Tensor]") -> None:
    """Write tensors as .safetensors, atomically; tensors that share storage are copied."""
    from safetensors.torch import save_file

    with atomic_path(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, partial)

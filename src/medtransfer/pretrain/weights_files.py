"""List and check the weights files that an origin names, before anything else is loaded or written."""

import errno
import glob
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medtransfer.config import FileOrigin, ImportedOrigin, Pretrain, SeriesOrigin
from medtransfer.data.picture_folders import require_readable
from medtransfer.errors import InputError, refuse_folder
from medtransfer.records.folders import LITTER
from medtransfer.records.weights_file import PICKLES, check_weights_file
from medtransfer.wording import counted

ENDINGS = (".safetensors", *PICKLES)

log = logging.getLogger("medtransfer")


def check_weights_files(section: Pretrain) -> None:
    """Check the kind and header of every weights file of the section's origin; other origins name none.

    Raises:
        InputError: a file is missing, broken, of another kind, or is a pickle that was not allowed.
    """
    entry = section.origins[section.origin]
    if not isinstance(entry, ImportedOrigin):
        return
    for file in list_weights(section).values():
        if not file.exists():
            raise InputError(
                f"expected the weights file {file}, which pretrain.origins.{section.origin} names, but it does not exist; "
                "correct the path"
            )
        check_weights_file(file, entry.pickle)


def name_unwatched(section: Pretrain, files: Iterable[Path]) -> None:
    """Log which weights files DVC does not watch, since they are outside of its folder of weights; only in a stage of DVC."""
    watched = Path(section.weights).resolve()
    unwatched = [str(file) for file in files if not file.resolve().is_relative_to(watched)]
    if unwatched and os.environ.get("DVC_STAGE"):
        log.warning(
            "pretrain: DVC does not watch %s, so that a change of it goes unnoticed; move it to %s, which pretrain.weights names",
            ", ".join(unwatched), section.weights,
        )  # fmt: skip


def list_weights(section: Pretrain, *, note: bool = False) -> dict[int, Path]:
    """Return the weights files of the section's origin by epoch, ascending.

    Args:
        section: validated params.
        note: whether to log that files of a series have no epoch in their names.

    Raises:
        InputError: a series has no files, none whose name has an epoch, or two of one epoch.
    """
    entry = section.origins[section.origin]
    assert isinstance(entry, FileOrigin | SeriesOrigin)
    return entry.files if isinstance(entry, FileOrigin) else _list_series(entry, f"pretrain.origins.{section.origin}", note)


def _list_series(entry: SeriesOrigin, key: str, note: bool) -> dict[int, Path]:
    folder, files = _list_files(entry.weights, key)
    names = {file: file.relative_to(folder).as_posix() for file in files}
    matches = {file: match for file, name in names.items() if (match := re.search(entry.epoch, name))}
    if not matches:
        raise InputError(
            f"expected files whose names have an epoch by {entry.epoch!r}, but none of the {len(files)} in {entry.weights} has, "
            f"such as {names[files[0]]}; correct {key}.epoch"
        )
    epochs: dict[int, Path] = {}
    for file, match in matches.items():
        epoch = _read_epoch(match[1], names[file], entry, key)
        if (other := epochs.setdefault(epoch, file)) != file:
            raise InputError(
                f"expected one file per epoch in {entry.weights}, but {names[other]} and {names[file]} both have {match[1]}; make "
                f"{key}.weights a glob or {key}.epoch an expression that only one of them matches"
            )
    if note and (others := [names[file] for file in files if file not in matches]):
        log.info("pretrain: left out of %s: %s without an epoch by %s, such as %s", entry.weights, counted(len(others), "file"),
                 entry.epoch, others[0])  # fmt: skip
    return dict(sorted(epochs.items()))


def _list_files(weights: str, key: str) -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the weights files below it or those of a glob."""
    if glob.has_magic(weights) and not Path(weights).exists():
        parts = Path(weights).parts
        fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        folder = Path(*parts[:fixed])
        _require_open(parts, fixed)
        files = [Path(path) for path in glob.glob(weights, recursive=True)]  # noqa: PTH207  # a pattern may be absolute
    else:
        folder = Path(weights)
        if not folder.is_dir():
            raise InputError(
                f"expected the folder of weights {weights}, which {key} names, but it does not exist; correct the path"
            )
        require_readable(folder)
        files = [path for path in folder.rglob("*") if path.name.endswith(ENDINGS)]
    files = sorted(path for path in files if path.is_file() and not path.name.startswith("."))
    if not files:
        raise InputError(f"expected weights files ({', '.join(ENDINGS)}) by {weights}, but there are none; correct {key}.weights")
    return folder, files


def _require_open(parts: Sequence[str], fixed: int) -> None:
    """Check that the folders on the way of a glob, from its first pattern on, may be read, since it passes over others."""
    for index in range(fixed, len(parts)):
        mode = os.X_OK | (os.R_OK if glob.has_magic(parts[index]) else 0)
        for folder in map(Path, glob.glob(str(Path(*parts[:index])), recursive=True)):  # noqa: PTH207
            if folder.is_dir() and not folder.name.startswith(LITTER) and not os.access(folder, mode):
                refuse_folder(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)))


def _read_epoch(text: str | None, name: str, entry: SeriesOrigin, key: str) -> int:
    """Return the epoch of a file: how many were completed, so that 0 is the random initialisation."""
    if text is None or not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"expected the group of {key}.epoch {entry.epoch!r} to match a whole number, but got {text!r} in {name}")
    epoch = int(text) + 1 - entry.first
    if epoch < 1:
        raise InputError(
            f"expected epochs from 1 on in {entry.weights}, but {name} has 0, which is the random initialisation here; set "
            f"{key}.first to 0 if these files count from 0, or leave it out"
        )
    return epoch

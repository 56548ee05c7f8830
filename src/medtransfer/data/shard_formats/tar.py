"""Tar shards in the layout of WebDataset: the files of a sample follow each other, and share a key.

The key is a path up to the first dot of the file's name. A sample has a picture and, if it is labelled, a label in `.cls` or in
`.json` ("class", "label" or "cls"; a number or a name). "name" in `.json` is the picture's path in the folder that was packed.

    000000000.jpeg    000000000.cls (0)    000000000.json ({"name": "n01440764/n01440764_10026.JPEG"})

Pictures without a label have the class of their folder, as in a tar file of an ImageFolder.
Source: https://github.com/webdataset/webdataset#the-webdataset-format
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from medtransfer.data.picture_folders import SUFFIXES
from medtransfer.data.shard_formats.contract import StoredPicture, class_of, name_of
from medtransfer.errors import InputError
from medtransfer.records import parse_json

WRITTEN = ".tar"

LABELS = ("class", "label", "cls")  # keys of `.json`


def read(path: Path) -> Iterator[StoredPicture]:
    """Yield the pictures of a shard."""
    with tarfile.open(path, "r:") as archive:
        for key, members in groupby(_files(archive), lambda member: _split(member.name)[0]):
            yield from _pictures(archive, path, key, list(members))
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends in the middle of a file, or is damaged")


def write(path: Path, pictures: Iterable[tuple[str, bytes]], classes: Sequence[str]) -> None:
    """Write a shard; equal pictures give equal bytes."""
    labels = {name: number for number, name in enumerate(classes)}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (name, content) in enumerate(pictures):
            key, label = f"{number:09d}", class_of(name)
            suffix = PurePosixPath(name).suffix.lower()
            _add(archive, key + (suffix if suffix in SUFFIXES else ".jpg"), content)
            if label is not None:
                _add(archive, f"{key}.cls", str(labels[label]).encode())
            _add(archive, f"{key}.json", json.dumps({"name": name}).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files that are not hidden, without keeping what was read, which may be millions.

    Those above the folder, `../1.jpg`, are not hidden: whoever reads them refuses their names.
    """
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        parts = PurePosixPath(member.name).parts
        hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)
        if member.isreg() and not hidden and member.sparse is None:
            yield member


def _split(name: str) -> tuple[str, str]:
    """Return the key of a file and its suffix from the first dot on, such as `.jpg`."""
    path = PurePosixPath(name)
    stem, dot, rest = path.name.partition(".")
    return str(path.with_name(stem)), (dot + rest).lower()


def _pictures(archive: tarfile.TarFile, path: Path, key: str, members: list[tarfile.TarInfo]) -> Iterator[StoredPicture]:
    by_suffix = {_split(member.name)[1]: member for member in members}
    pictures = [member for suffix, member in by_suffix.items() if suffix in SUFFIXES]
    labelled = by_suffix.keys() & {".cls", ".json"}
    if not pictures:  # dots in names of files that are no samples of several parts
        pictures = [member for member in members if PurePosixPath(member.name).suffix.lower() in SUFFIXES]
    if labelled and len(pictures) != 1:
        raise InputError(
            f"expected one picture in the sample {key} of {path}, but got {len(pictures) or 'none'} of the files "
            f"{', '.join(sorted(by_suffix))}; pack the source again with one per sample"
        )
    for picture in pictures:
        name = str(PurePosixPath(picture.name))
        if labelled:
            name = _name(archive, by_suffix, name, f"{path}, sample {key}")
        yield StoredPicture(name, _content(archive, picture), picture.offset_data)


def _name(archive: tarfile.TarFile, by_suffix: dict[str, tarfile.TarInfo], name: str, where: str) -> str:
    """Return the name of a labelled picture."""
    record: dict[str, Any] = {}
    if ".json" in by_suffix:
        try:
            record = parse_json(_content(archive, by_suffix[".json"]))
        except ValueError as error:
            raise InputError(f"expected JSON in {where}, but it is unreadable ({error}); correct it") from None
        if not isinstance(record, dict):
            raise InputError(f"expected a JSON object in {where}, but got {record!r}; correct it")
        if isinstance(record.get("name"), str):
            return str(record["name"])
    label = next((record[key] for key in LABELS if isinstance(record.get(key), int | str)), None)
    if ".cls" in by_suffix:
        label = _content(archive, by_suffix[".cls"]).decode(errors="replace").strip()
    return name_of(label, PurePosixPath(name).name if label is not None else name, where)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()

"""Broken ACDC folders, volumes, masks and Info.cfg: `prepare` refuses them in one sentence that names the file."""

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.malformed.damage import Row, befallen

pytestmark = pytest.mark.long

PATIENT = "raw/heart/training/patient001"
IMAGE, MASK, INFO = f"{PATIENT}/patient001_frame01.nii.gz", f"{PATIENT}/patient001_frame01_gt.nii.gz", f"{PATIENT}/Info.cfg"
VOLUME, LABELS = Path(IMAGE).name, Path(MASK).name
DIM, DATATYPE, OFFSET, HEADER = 40, 70, 108, 352  # bytes into a NIfTI header, and its length
ANY = ("empty", "half", "head", "last byte", "spoilt", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")


def header(place: int, form: str, *values: float) -> Callable[[Path], object]:
    """Write values into a volume's header."""

    def change(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(form, content, place, *values)
        path.write_bytes(gzip.compress(bytes(content)))

    return change


def voxels(dtype: type, code: int, bits: int, values: Any) -> Callable[[Path], object]:
    """Store other voxels, of another type: the first ones are those given."""

    def change(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        count = int(np.prod(struct.unpack_from("<3h", content, DIM + 2)))
        struct.pack_into("<2h", content, DATATYPE, code, bits)
        found = np.zeros(count, dtype)
        found[: len(values)] = values
        path.write_bytes(gzip.compress(bytes(content[:HEADER]) + found.tobytes()))

    return change


def zeros_unpacked(path: Path) -> None:
    """Store a volume that is as large as it says, 2 GB, but packed well."""
    content = bytearray(gzip.decompress(path.read_bytes())[:HEADER])
    struct.pack_into("<8h", content, DIM, 3, 1024, 1024, 1024, 1, 1, 1, 1)
    member = gzip.compress(bytes(2**24))
    path.write_bytes(gzip.compress(bytes(content)) + member * 128)


def link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("nowhere")


def twice(path: Path) -> None:
    (path.parents[1] / "testing").mkdir(exist_ok=True)
    shutil.copytree(path, path.parents[1] / "testing" / path.name)


ROWS: list[Row] = [
    *befallen(IMAGE, ANY),
    *befallen(MASK, ANY),
    *befallen(INFO, (name for name in ("missing", *ANY) if name not in ("half", "last byte", "spoilt"))),
    ("volume: missing", IMAGE, "missing", LABELS, "mask"),
    ("mask: missing", MASK, "missing", VOLUME, "mask"),
    ("volume: 32767 a side", IMAGE, header(DIM, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), VOLUME),
    ("volume: a bomb that unpacks to 2 GB", IMAGE, zeros_unpacked, VOLUME),
    ("volume: negative sides", IMAGE, header(DIM, "<8h", 3, -64, 64, 5, 1, 1, 1, 1), VOLUME),
    ("volume: no slices", IMAGE, header(DIM, "<8h", 3, 64, 64, 0, 1, 1, 1, 1), VOLUME),
    ("volume: 2-D", IMAGE, header(DIM, "<h", 2), VOLUME, "x1 of"),
    ("volume: 4-D", IMAGE, header(DIM, "<8h", 4, 4, 4, 5, 2, 1, 1, 1), VOLUME, "3-D"),
    ("volume: 99 dimensions", IMAGE, header(DIM, "<h", 99), VOLUME),
    ("volume: an unknown type", IMAGE, header(DATATYPE, "<h", 12345), VOLUME),
    ("volume: complex numbers", IMAGE, voxels(np.complex64, 32, 64, [1j]), VOLUME),
    ("volume: NaN", IMAGE, voxels(np.float32, 16, 32, [np.nan]), VOLUME, "finite"),
    ("volume: data beyond its end", IMAGE, header(OFFSET, "<f", 1e18), VOLUME),
    ("volume: data before its begin", IMAGE, header(OFFSET, "<f", -1e6), VOLUME),
    ("volume: fewer voxels than its mask", IMAGE, header(DIM, "<8h", 3, 8, 8, 5, 1, 1, 1, 1), LABELS),
    ("mask: more slices", MASK, header(DIM, "<8h", 3, 8, 8, 6, 1, 1, 1, 1), LABELS),
    ("mask: label 4", MASK, voxels(np.uint8, 2, 8, [4]), LABELS, "labels"),
    ("mask: label 0.5", MASK, voxels(np.float32, 16, 32, [0.5]), LABELS, "labels"),
    ("Info.cfg: a frame that is not there", INFO, b"ED: 99\nES: 9\n", "patient001_frame99.nii.gz"),
    ("Info.cfg: a negative frame", INFO, b"ED: -1\nES: 9\n", "Info.cfg", "ED"),
    ("Info.cfg: a frame of 5,000 digits", INFO, b"ED: " + b"9" * 5000 + b"\nES: 9\n", "Info.cfg"),
    ("Info.cfg: a path for a frame", INFO, b"ED: ../../../../etc/passwd\nES: 9\n", "Info.cfg", "ED"),
    ("a patient that is a link to nowhere", PATIENT, link, "patient001", "link"),
    ("a patient that is a link in a circle", PATIENT, "loop", "patient001", "link"),
    ("a patient whose folder may not be read", PATIENT, "unreadable", "patient001"),
    ("a patient in both splits", PATIENT, twice, "patient001", "train"),
    ("no patients", "raw/heart", "folder", "raw/heart/training"),
    ("the root is missing", "raw/heart", "missing", "raw/heart"),
    ("the root may not be read", "raw/heart", "unreadable", "raw/heart"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("prepare", *row[1:])

"""Broken ACDC folders, volumes, masks and Info.cfg go into `prepare`; one sentence that names the file comes out."""

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PATIENT = "raw/heart/training/patient001"
IMAGE, MASK, INFO = f"{PATIENT}/patient001_frame01.nii.gz", f"{PATIENT}/patient001_frame01_gt.nii.gz", f"{PATIENT}/Info.cfg"
DIM, DATATYPE, OFFSET, HEADER = 40, 70, 108, 352  # bytes into a NIfTI header, and its length
ANY = ("empty", "half", "head", "last byte", "spoilt", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")
MOST = 10**6  # bytes that a file written here takes, so that its claims are all that is large


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


def circle(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path.name)


def twice(path: Path) -> None:
    (path.parents[1] / "testing").mkdir(exist_ok=True)
    shutil.copytree(path, path.parents[1] / "testing" / path.name)


def only_folder(path: Path) -> None:
    for name in ("training", "testing"):
        shutil.rmtree(path / name, ignore_errors=True)


ROWS: list[tuple[Any, ...]] = [
    *((f"volume: {name}", IMAGE, name, "patient001_frame01.nii.gz") for name in ANY),
    *((f"mask: {name}", MASK, name, "patient001_frame01_gt.nii.gz") for name in ANY),
    *((f"Info.cfg: {name}", INFO, name, "Info.cfg") for name in ("missing", *ANY)if name not in ("half", "last byte", "spoilt")),
    ("volume: missing", IMAGE, "missing", "patient001_frame01_gt.nii.gz", "mask"),
    ("mask: missing", MASK, "missing", "patient001_frame01.nii.gz", "mask"),
    ("volume: 32767 a side", IMAGE, header(DIM, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), "patient001_frame01.nii.gz"),
    ("mask: 32767 a side", MASK, header(DIM, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), "patient001_frame01_gt.nii.gz"),
    ("volume: a bomb that unpacks to 2 GB", IMAGE, zeros_unpacked, "patient001_frame01.nii.gz"),
    ("mask: a bomb that unpacks to 2 GB", MASK, zeros_unpacked, "patient001_frame01_gt.nii.gz"),
    ("volume: negative sides", IMAGE, header(DIM, "<8h", 3, -64, 64, 5, 1, 1, 1, 1), "patient001_frame01.nii.gz"),
    ("volume: no slices", IMAGE, header(DIM, "<8h", 3, 64, 64, 0, 1, 1, 1, 1), "patient001_frame01.nii.gz"),
    ("volume: 2-D", IMAGE, header(DIM, "<h", 2), "patient001_frame01.nii.gz", "3-D"),
    ("volume: 4-D", IMAGE, header(DIM, "<8h", 4, 4, 4, 5, 2, 1, 1, 1), "patient001_frame01.nii.gz", "3-D"),
    ("volume: 99 dimensions", IMAGE, header(DIM, "<h", 99), "patient001_frame01.nii.gz"),
    ("volume: an unknown type", IMAGE, header(DATATYPE, "<h", 12345), "patient001_frame01.nii.gz"),
    ("volume: colours", IMAGE, header(DATATYPE, "<2h", 128, 24), "patient001_frame01.nii.gz"),
    ("volume: complex numbers", IMAGE, voxels(np.complex64, 32, 64, [1j]), "patient001_frame01.nii.gz"),
    ("volume: NaN", IMAGE, voxels(np.float32, 16, 32, [np.nan]), "patient001_frame01.nii.gz", "finite"),
    ("volume: infinity", IMAGE, voxels(np.float32, 16, 32, [-np.inf]), "patient001_frame01.nii.gz", "finite"),
    ("volume: data beyond its end", IMAGE, header(OFFSET, "<f", 1e18), "patient001_frame01.nii.gz"),
    ("volume: data before its begin", IMAGE, header(OFFSET, "<f", -1e6), "patient001_frame01.nii.gz"),
    ("volume: data nowhere", IMAGE, header(OFFSET, "<f", float("nan")), "patient001_frame01.nii.gz"),
    ("volume: fewer voxels than its mask", IMAGE, header(DIM, "<8h", 3, 8, 8, 5, 1, 1, 1, 1), "patient001_frame01_gt.nii.gz"),
    ("mask: more slices", MASK, header(DIM, "<8h", 3, 8, 8, 6, 1, 1, 1, 1), "patient001_frame01_gt.nii.gz"),
    ("mask: label 4", MASK, voxels(np.uint8, 2, 8, [4]), "patient001_frame01_gt.nii.gz", "labels"),
    ("mask: label -1", MASK, voxels(np.int16, 4, 16, [-1]), "patient001_frame01_gt.nii.gz", "labels"),
    ("mask: label 0.5", MASK, voxels(np.float32, 16, 32, [0.5]), "patient001_frame01_gt.nii.gz", "labels"),
    ("mask: label NaN", MASK, voxels(np.float32, 16, 32, [np.nan]), "patient001_frame01_gt.nii.gz", "labels"),
    ("mask: complex labels", MASK, voxels(np.complex64, 32, 64, [1j]), "patient001_frame01_gt.nii.gz"),
    ("Info.cfg: a frame that is not there", INFO, b"ED: 99\nES: 9\n", "patient001_frame99.nii.gz"),
    ("Info.cfg: a negative frame", INFO, b"ED: -1\nES: 9\n", "Info.cfg", "ED"),
    ("Info.cfg: a frame of 5,000 digits", INFO, b"ED: " + b"9" * 5000 + b"\nES: 9\n", "Info.cfg"),
    ("Info.cfg: words for frames", INFO, b"ED: first\nES: last\n", "Info.cfg", "ED"),
    ("Info.cfg: a path for a frame", INFO, b"ED: ../../../../etc/passwd\nES: 9\n", "Info.cfg", "ED"),
    ("Info.cfg: UTF-16", INFO, "ED: 1\nES: 9\n".encode("utf-16"), "Info.cfg"),
    ("a patient that is a link to nowhere", PATIENT, link, "patient001", "link"),
    ("a patient that is a link in a circle", PATIENT, circle, "patient001", "link"),
    ("a patient whose folder may not be read", PATIENT, "unreadable", "patient001"),
    ("a patient in both splits", PATIENT, twice, "patient001", "train"),
    ("no patients", "raw/heart", only_folder, "raw/heart/training"),
    ("the root is missing", "raw/heart", "missing", "raw/heart"),
    ("the root may not be read", "raw/heart", "unreadable", "raw/heart"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: tuple[Any, ...], refused: Callable[..., str]) -> None:
    refused("prepare", *row[1:])

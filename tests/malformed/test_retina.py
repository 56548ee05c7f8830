"""Broken IDRiD folders and pictures of every format: `prepare` refuses them in one sentence that names the file."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.malformed.damage import Row, befallen

pytestmark = pytest.mark.long

IMAGE = "raw/retina/A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg"
MASK = "raw/retina/A. Segmentation/2. All Segmentation Groundtruths/a. Training Set/1. Microaneurysms/IDRiD_01_MA.tif"
ANY = ("empty", "half", "head", "zeros", "noise", "text", "folder", "loop", "unreadable")


def tif(width: int, height: int, compression: int = 1, bits: int = 8, follows: int = 0) -> bytes:
    """Make a TIFF that claims a size; `follows` is where it says that its next page begins."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, compression), (262, 3, 1), (273, 4, 8),
               (277, 3, 1), (278, 4, height), (279, 4, 2**31)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + body + struct.pack("<I", follows)


def renamed(name: str) -> Callable[[Path], object]:
    return lambda path: path.rename(path.with_name(name))


def jpeg_of(width: int, height: int) -> Callable[[Path], object]:
    """Let a JPEG claim another size."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        place = next(content.find(b"\xff" + bytes([mark])) for mark in (0xC0, 0xC2) if content.find(b"\xff" + bytes([mark])) > 0)
        struct.pack_into(">HH", content, place + 5, height, width)
        path.write_bytes(content)

    return change


def animated() -> bytes:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (1, 2, 3)]
    frames[0].save(held := io.BytesIO(), "TIFF", save_all=True, append_images=frames[1:])
    return held.getvalue()


ROWS: list[Row] = [
    *befallen(IMAGE, ANY),
    *befallen(MASK, ANY),
    ("image: missing", IMAGE, "missing", "IDRiD_01_MA.tif", "image"),
    ("mask: missing", MASK, "missing", "IDRiD_01.jpg", "mask"),
    ("image: 65535 a side", IMAGE, jpeg_of(65535, 65535), "IDRiD_01.jpg"),
    ("image: no height", IMAGE, jpeg_of(64, 0), "IDRiD_01.jpg"),
    ("mask: 13000 a side", MASK, tif(13000, 13000), "IDRiD_01_MA.tif", "13000"),
    ("mask: 13000 a side, deflated", MASK, tif(13000, 13000, 8, 32), "IDRiD_01_MA.tif", "13000"),
    ("mask: 2 ** 31 a side", MASK, tif(2**31, 2**31), "IDRiD_01_MA.tif"),
    ("mask: no width", MASK, tif(0, 8), "IDRiD_01_MA.tif"),
    ("mask: an unknown compression", MASK, tif(8, 8, 31337), "IDRiD_01_MA.tif"),
    ("mask: pages in a circle", MASK, tif(8, 8, follows=8), "IDRiD_01_MA.tif"),
    ("mask: three pages", MASK, animated(), "IDRiD_01_MA.tif", "pages"),
    ("mask: another name", MASK, renamed("IDRiD_01_HE.tif"), "IDRiD_01_HE.tif"),
    ("no folder of masks", str(Path(MASK).parent), "missing", "1. Microaneurysms"),
    ("no pictures", "raw/retina/A. Segmentation/1. Original Images", "folder", "1. Original Images"),
    ("a file for a root", "raw/retina", lambda path: path.rename("elsewhere") and path.write_bytes(b""), "raw/retina"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("prepare --target retina", *row[1:])

"""Broken COVID-QU-Ex folders, pictures and arrays: `prepare` refuses them in one sentence that names the file."""

import io
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.malformed.damage import Row, befallen, npy, saved

pytestmark = pytest.mark.long

HOME = "raw/lungs/Infection Segmentation Data/Train/COVID-19"
IMAGE, MASK = f"{HOME}/images/covid-19 (0).png", f"{HOME}/infection masks/covid-19 (0).png"
ARRAY, MASKS = "raw/arrays/train_and_val/imgs.npy", "raw/arrays/test/inf_masks.npy"
ANY = ("empty", "half", "head", "zeros", "noise", "text", "folder", "loop", "pipe", "unreadable")


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """Make a PNG that claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def picture(pixels: np.ndarray, form: str = "PNG") -> bytes:
    Image.fromarray(pixels).save(held := io.BytesIO(), form)
    return held.getvalue()


def zipped() -> bytes:
    np.savez(held := io.BytesIO(), imgs=np.zeros((4, 16, 16), np.uint8))
    return held.getvalue()


def two_pages(path: Path) -> None:
    Image.fromarray(GREY).save(path, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)])


def beside(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".jpeg"))


SIDE = 96
GREY = np.zeros((SIDE, SIDE), np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
SMALL = np.zeros((4, 16, 16))
FOLDER_ROWS: list[Row] = [
    *befallen(IMAGE, ("missing", *ANY)),
    *((f"mask{row[0]}", *row[1:]) for row in befallen(MASK, ("missing", *ANY))),
    ("image: 60000 a side", IMAGE, png(60000, 60000), "covid-19 (0).png"),
    ("image: 13000 a side", IMAGE, png(13000, 13000, 8, 6), "covid-19 (0).png"),
    ("image: 2 ** 31 - 1 a side", IMAGE, png(2**31 - 1, 2**31 - 1, 16, 6), "covid-19 (0).png"),
    ("image: no pixels", IMAGE, png(0, 0), "covid-19 (0).png"),
    ("image: a broken checksum", IMAGE, picture(PIXELS).replace(b"IDAT", b"IDAX"), "covid-19 (0).png"),
    ("image: two pages", IMAGE, two_pages, "covid-19 (0).png", "pages"),
    ("image: of another size", IMAGE, picture(PIXELS[:50]), "covid-19 (0).png", "50x96"),
    ("image: two files of a name", IMAGE, beside, "covid-19 (0).jpeg"),
    ("mask: of another size", MASK, picture(GREY[:, :40]), "covid-19 (0).png", "96x40"),
    ("mask: other labels", MASK, picture(GREY + np.uint8(7)), "covid-19 (0).png", "values"),
    ("mask: colours", MASK, picture(PIXELS), "covid-19 (0).png", "colour"),
    ("mask: NaN", MASK, picture(np.full(GREY.shape, np.nan, np.float32), "TIFF"), "covid-19 (0).png"),
    ("a folder of masks is missing", f"{HOME}/infection masks", "missing", "infection masks"),
    ("a folder of masks is a loop", f"{HOME}/infection masks", "loop", "infection masks"),
    ("a folder of images may not be read", f"{HOME}/images", "unreadable", "images"),
    ("the root is empty", "raw/lungs", "folder", "Infection Segmentation Data"),
]  # fmt: skip
ARRAY_ROWS: list[Row] = [
    *befallen(ARRAY, ("missing", *ANY)),
    *befallen(MASKS, ("missing", *ANY)),
    ("array: a huge shape", ARRAY, npy("(1000000, 65536, 65536)"), "imgs.npy"),
    ("array: a shape that overflows", ARRAY, npy("(4611686018427387904, 16, 16)", "<f8"), "imgs.npy"),
    ("array: a negative shape", ARRAY, npy("(-4, 16, 16)", data=bytes(1024)), "imgs.npy"),
    ("array: a shape of words", ARRAY, npy("('a', 16, 16)"), "imgs.npy"),
    ("array: a nested header", ARRAY, npy("(" * 5000 + ")" * 5000), "imgs.npy"),
    ("array: a header of minus signs", ARRAY, npy("(" + "-" * 9000 + "1, 16, 16)"), "imgs.npy"),
    ("array: an unknown type", ARRAY, npy("(4, 16, 16)", "<z9"), "imgs.npy"),
    ("array: a header of 4 GB", ARRAY, b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{", "imgs.npy"),
    ("array: a version of the future", ARRAY, b"\x93NUMPY\x09\x00" + bytes(64), "imgs.npy"),
    ("array: 2-D", ARRAY, saved(np.zeros((16, 16), np.uint8)), "imgs.npy", "(N, height, width)"),
    ("array: no pictures", ARRAY, saved(np.zeros((0, 16, 16), np.uint8)), "imgs.npy"),
    ("array: NaN", ARRAY, saved(SMALL + np.nan), "imgs.npy", "0 to 255"),
    ("array: fractions", ARRAY, saved(SMALL + 0.5), "imgs.npy", "0 to 255"),
    ("array: negative numbers", ARRAY, saved(SMALL - 1), "imgs.npy", "0 to 255"),
    ("array: complex numbers", ARRAY, saved(SMALL + 1j), "imgs.npy"),
    ("array: records", ARRAY, saved(np.zeros((4, 16, 16), [("a", "u1")])), "imgs.npy"),
    ("array: objects", ARRAY, saved(np.full((4, 16, 16), None)), "imgs.npy"),
    ("array: a pickle", ARRAY, pickle.dumps(SMALL), "imgs.npy"),
    ("array: an archive of arrays", ARRAY, zipped(), "imgs.npy"),
    ("masks: other labels", MASKS, saved(SMALL[:2] + 7), "inf_masks.npy", "values"),
    ("masks: of another shape", MASKS, saved(SMALL[:1]), "inf_masks.npy", "shape"),
]  # fmt: skip
ROWS = FOLDER_ROWS + ARRAY_ROWS


@pytest.mark.parametrize("row", FOLDER_ROWS, ids=lambda row: row[0])
def test_pictures_are_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("prepare --target lungs", *row[1:])


@pytest.mark.parametrize("row", ARRAY_ROWS, ids=lambda row: row[0])
def test_arrays_are_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("prepare --target arrays", *row[1:])

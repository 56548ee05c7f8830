"""Notes on pictures that differ in colour, or lose colour or transparency."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtransfer.prepare.conversions import LOOK, Conversions
from medtransfer.prepare.picture_files import read_image
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.folder import scan as scan_folder
from medtransfer.prepare.readers.image_folder import scan as scan_classes
from medtransfer.prepare.stage import prepare

SIZE = (24, 32)
GREY = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
COLOURED = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
CLEAR = np.full(SIZE, 255, np.uint8)
HALF = CLEAR.copy()
HALF[:3] = 128


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def look(path: Path, channels: int = 1) -> tuple[bool, bool]:
    """Return whether a picture is coloured and whether it is transparent."""
    conversions = Conversions()
    assert np.array_equal(read_image(path, channels, None, conversions), read_image(path, channels))
    return conversions.coloured[path], conversions.transparent[path]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "pixels", "mode", "seen"),
    [
        ("grey.png", GREY, None, (False, False)),
        ("bits.png", GREY, "1", (False, False)),
        ("wide.png", GREY.astype(np.uint16) * 200, None, (False, False)),
        ("grey-as-colour.png", np.dstack([GREY] * 3), None, (False, False)),
        ("grey-as-colour.jpg", np.dstack([GREY] * 3), None, (False, False)),
        ("grey-palette.png", GREY, "P", (False, False)),
        ("coloured.png", COLOURED, None, (True, False)),
        ("coloured.jpg", COLOURED, None, (True, False)),
        ("palette.png", COLOURED, "P", (True, False)),
        ("cmyk.tif", COLOURED, "CMYK", (True, False)),
        ("opaque.png", np.dstack([GREY, GREY, GREY, CLEAR]), None, (False, False)),
        ("transparent.png", np.dstack([GREY, GREY, GREY, HALF]), None, (False, True)),
        ("transparent-grey.png", np.dstack([GREY, HALF]), None, (False, True)),
        ("transparent-colour.png", np.dstack([COLOURED, HALF]), None, (True, True)),
    ],
)
def test_colour_and_transparency_are_those_of_the_pixels(
    name: str, pixels: np.ndarray, mode: str | None, seen: tuple[bool, bool], channels: int, tmp_path: Path
) -> None:
    assert look(save(tmp_path / name, pixels, mode), channels) == seen


def test_a_transparent_colour_of_a_palette_is_noted(tmp_path: Path) -> None:
    assert look(save(tmp_path / "a.png", COLOURED, "P", transparency=0)) == (True, True)


@pytest.mark.parametrize(("lowest", "noted"), [(0, True), (9, False)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_grey_and_rgb_is_noted(channels: int, lowest: int, noted: bool, tmp_path: Path) -> None:
    grey = np.maximum(np.arange(1600, dtype=np.uint8).reshape(40, 40), lowest)
    path, colour = tmp_path / "a.png", 7 if channels == 1 else (7, 7, 7)
    Image.fromarray(grey if channels == 1 else np.stack([grey] * 3, axis=-1)).save(path, transparency=colour)
    conversions = Conversions()
    assert np.array_equal(read_image(path, 1, None, conversions)[..., 0], grey)
    assert conversions.transparent == {path: noted} and conversions.coloured == {path: False}


def test_large_pictures_are_looked_at(tmp_path: Path) -> None:
    large = np.zeros((3 * LOOK, 4, 3), np.uint8)
    large[LOOK : LOOK + 9, :, 0] = 200
    assert look(save(tmp_path / "a.png", large)) == (True, False)


def notes(described: Scan) -> list[str]:
    assert not described.loaded_notes()
    for item in described.items:
        list(item.load())
    return list(described.loaded_notes())


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Write a grey picture, a grey one that is stored as colour, a coloured one, and one that is transparent in part."""
    written = {"a": GREY, "b": np.dstack([GREY] * 3), "c": COLOURED, "d": np.dstack([COLOURED, HALF])}
    for number, (name, pixels) in enumerate(written.items()):
        save(tmp_path / "images" / f"{name}.png", pixels)
        save(tmp_path / "masks" / f"{name}.png", (50 * number + 50 < GREY).astype(np.uint8))
    return tmp_path


def test_grey_pictures_among_coloured_ones_are_noted_once(mixed: Path) -> None:
    described = scan_folder(mixed, SIZE, {})
    first = f"such as {mixed / 'images/a.png'}"
    assert described.channels == 3 and notes(described) == [
        f"2 of 4 pictures are grey, and 2 are coloured: all are stored with 3 channels ({first})",
        f"1 of 4 pictures have transparent pixels, which are read as if they were opaque (such as {mixed / 'images/d.png'})",
    ]


def test_pictures_of_one_kind_are_no_note(mixed: Path) -> None:
    for name in "cd":
        (mixed / "images" / f"{name}.png").unlink()
        (mixed / "masks" / f"{name}.png").unlink()
    (note,) = notes(scan_folder(mixed, SIZE, {}))
    assert note.startswith("1 of 2 pictures are grey like the others, but stored as colour: all get 3 channels")
    assert note.endswith("b.png)")
    for pixels in (np.dstack([GREY] * 3), GREY):
        for name in "ab":
            save(mixed / "images" / f"{name}.png", pixels)
        assert notes(scan_folder(mixed, SIZE, {})) == []
    save(mixed / "images" / "a.png", COLOURED)
    save(mixed / "images" / "b.png", COLOURED)
    assert notes(scan_folder(mixed, SIZE, {})) == []


def test_colours_that_are_stored_as_grey_are_noted(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png", GREY)
    save(tmp_path / "y" / "b.png", COLOURED)
    expected = f"1 of 2 pictures are coloured, of which only the grey is stored (such as {tmp_path / 'y/b.png'})"
    assert notes(scan_classes(tmp_path, SIZE, {"channels": 1})) == [expected]
    (note,) = notes(scan_classes(tmp_path, SIZE, {}))
    assert note.startswith("1 of 2 pictures are grey, and 1 is coloured: all are stored with 3 channels")


def test_prepare_logs_the_notes_on_loaded_pictures(mixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        prepare(
            "mixed", reader="folder", root=mixed, size=SIZE, subset=False, split={"test": 0.5, "seed": 0}, validation=0.0,
            allow_duplicates=True, options={}, out=tmp_path / "prepared",
        )  # fmt: skip
    assert sum("are grey, and 2 are coloured" in record.message for record in caplog.records) == 1

"""Pictures as viewers show them: orientation, transparency, palettes, formats; and sizes and scales."""

import logging
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from medtransfer.data.resizing import resize_image, resize_mask
from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import list_pictures, read_header, read_image, read_labels, read_mask, read_nonzero
from medtransfer.prepare.readers.folder import scan

STORED = {  # how a picture is stored whose EXIF orientation turns it upright: exif.org, TIFF 6.0, tag 274
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: np.rot90, 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1),
}  # fmt: skip
DRAWN = np.zeros((20, 20), np.uint8)
DRAWN[3:9, 2:15] = 1


def save(pixels: np.ndarray, path: Path, orientation: int = 1, mode: str | None = None) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if orientation == 1 else {"exif": exif}
    Image.fromarray(np.ascontiguousarray(pixels)).convert(mode or ("L" if pixels.ndim == 2 else "RGB")).save(path, **options)
    return path


@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
@pytest.mark.parametrize("orientation", STORED)
def test_a_photograph_is_upright_under_its_mask(orientation: int, shape: tuple[int, int], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 110, shape, dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[8:24, 8:40] = 255
    image[mask > 0] = 220
    save(STORED[orientation](image), tmp_path / "images" / "a.jpg", orientation)
    save(mask, tmp_path / "masks" / "a.png")
    (picture,) = scan(tmp_path, shape, {}).items[0].load()
    assert picture.image[picture.labels == 1].mean() > 210
    assert picture.image[picture.labels == 0].mean() < 70


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_format_is_turned_once(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = np.arange(24, dtype=np.uint8).reshape(4, 6) // 8 * 90  # lossless enough for WebP by rows
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path, 1)[..., 0], upright)
    assert np.array_equal(read_labels(path), upright) and np.array_equal(read_nonzero(path), upright > 0)
    assert read_header(path).size == (4, 6) or suffix == "png"  # whose metadata may follow the pixels


def test_unequal_sizes_mention_the_orientation(tmp_path: Path) -> None:
    save(np.zeros((20, 30), np.uint8), tmp_path / "images" / "a.jpg", 6)
    save(np.zeros((20, 30), np.uint8), tmp_path / "masks" / "a.png")
    (item,) = scan(tmp_path, (8, 8), {}).items
    with pytest.raises(InputError, match=r"30x20 .*a\.jpg, but .*a\.png has 20x30; .*a\.jpg is turned by its EXIF orientation"):
        list(item.load())


def save_as(mode: str, pixels: np.ndarray, path: Path) -> Path:
    picture = Image.fromarray(pixels).convert("RGB")
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    picture.convert(mode).save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    return path


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_other_colour_spaces_are_read_as_grey_and_as_colour_and_as_masks_if_exact(mode: str, tmp_path: Path) -> None:
    """In these black is not all zeros."""
    ramp = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (4, 1))
    path = save_as(mode, ramp, tmp_path / "ramp.tif")
    for channels in (1, 3):
        assert np.abs(read_image(path, channels).astype(int) - ramp[..., None]).max() <= 2
    mask = save_as(mode, DRAWN * 255, tmp_path / "mask.tif")
    for read, expected in ((read_nonzero, DRAWN), (read_labels, DRAWN * 255)):
        if mode == "LAB":  # Pillow returns black as (1, 1, 1)
            with pytest.raises(InputError, match=r"exact values in .*mask\.tif, but its colours are CIELAB; save it as grey"):
                read(mask)
        else:
            assert np.array_equal(read(mask), expected)


def test_broken_metadata_turn_nothing(tmp_path: Path) -> None:
    Image.fromarray(DRAWN * 255).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    assert np.array_equal(read_labels(tmp_path / "a.png"), DRAWN * 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
def test_a_drawing_in_the_alpha_channel_is_named(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if mode == "palette":
        picture = Image.fromarray(DRAWN).convert("P")
        picture.putpalette([0, 0, 0] * 2)
        picture.save(path, transparency=bytes([0, 255]))
        assert np.array_equal(read_mask(path, grey_palette=True).values, DRAWN)  # the indices tell
    else:
        channels = [np.zeros_like(DRAWN)] * (len(mode) - 1) + [DRAWN * 255]
        Image.fromarray(np.dstack(channels), mode).save(path)
        with pytest.raises(InputError, match=r"colours of .*a\.png, but they are constant while its alpha channel varies"):
            read_labels(path)
        with pytest.raises(InputError, match="alpha channel varies"):
            read_nonzero(path)
    with pytest.raises(InputError, match="alpha channel varies"):
        read_image(path, 3)


def test_an_opaque_alpha_channel_is_no_foreground(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([DRAWN * 255, np.full_like(DRAWN, 255)]), "LA").save(tmp_path / "a.png")
    assert np.array_equal(read_nonzero(tmp_path / "a.png"), DRAWN)


def test_a_palette_that_begins_with_white_inverts_no_mask(tmp_path: Path) -> None:
    picture = Image.fromarray(1 - DRAWN).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white
    save(DRAWN * 90, tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")
    (loaded,) = scan(tmp_path, DRAWN.shape, {}).items[0].load()
    assert np.array_equal(loaded.labels, DRAWN)
    (indexed,) = scan(tmp_path, DRAWN.shape, {"labels": {0: "foreground", 1: "background"}}).items[0].load()
    assert np.array_equal(indexed.labels, DRAWN)
    picture.putpalette([255, 0, 0, 0, 255, 0])  # colours have no order: indices
    picture.save(tmp_path / "masks" / "a.png")
    assert np.array_equal(read_mask(tmp_path / "masks" / "a.png", grey_palette=True).values, 1 - DRAWN)


@pytest.mark.parametrize("suffix", ["gif", "webp", "ppm"])
def test_single_frames_are_read_and_animations_refused(suffix: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(DRAWN * value) for value in (255, 90)]
    frames[0].save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_mask(tmp_path / f"a.{suffix}", grey_palette=True).values, DRAWN * 255)
    if suffix != "ppm":
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match="2 pages"):
            read_image(tmp_path / f"a.{suffix}", 3)


def test_white_may_be_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(path)
    upright = read_image(path, 1)
    black, white = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))  # the tag, a short, once
    path.write_bytes(path.read_bytes().replace(black, white))
    assert upright[0, 0] == 0 and np.array_equal(read_image(path, 1), 255 - upright)


def test_a_phones_second_picture_is_not_seen(tmp_path: Path) -> None:
    first = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert abs(read_image(tmp_path / "a.jpg", 3).mean() - 200) < 2


def test_subfolders_are_read_and_other_files_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", unicodedata.normalize("NFD", "p1/é.png"), ".hidden/a.png"):
        save(DRAWN, tmp_path / name)
    for name in ("b.heic", "c.HEIC", "p1/notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        assert list(list_pictures(tmp_path)) == ["a", unicodedata.normalize("NFC", "p1/é")]
    assert "not read: .heic (2, such as b.heic), .txt (1, such as p1/notes.txt)" in caplog.text


@pytest.mark.parametrize(("shape", "size", "box"), [((40, 80), (32, 32), (8, 24, 0, 32)), ((80, 40), (32, 64), (0, 32, 24, 40))])
def test_padding_keeps_the_aspect(shape: tuple[int, int], size: tuple[int, int], box: tuple[int, ...]) -> None:
    top, bottom, left, right = box
    expected = np.zeros(size, np.uint8)
    expected[top:bottom, left:right] = 7
    assert np.array_equal(resize_mask(np.full(shape, 7, np.uint8), size, keep_aspect=True), expected)
    assert np.array_equal(resize_image(np.full((*shape, 3), 7, np.uint8), size, keep_aspect=True), np.dstack([expected] * 3))
    assert (resize_mask(np.full(shape, 7, np.uint8), size) == 7).all()

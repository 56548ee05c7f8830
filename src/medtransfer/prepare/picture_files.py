"""Read picture files as uint8 images and integer masks, and scale intensities."""

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from medtransfer.data.intensities import PERCENTILES
from medtransfer.data.picture_folders import SUFFIXES, PictureFolder, list_folder, orientation, upright
from medtransfer.data.resizing import Size
from medtransfer.errors import InputError, refuse_folder
from medtransfer.prepare.conversions import Conversions
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import check_picture
from medtransfer.wording import composed

WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
JPEG = ("JPEG", "MPO")  # a phone's MPO is a JPEG with a second picture after it, which viewers do not show
PHOTOMETRIC = 262  # tag of TIFF; where it is 0, white is zero: Pillow inverts 8 bits, but not more
STRAIGHT = {"RGBa": "RGBA", "La": "LA"}  # a mode of colours multiplied by their alpha channel: the mode of these colours
NOT_ZERO = ("CMYK", "HSV", "YCbCr")  # modes in which black is not all zeros
OPAQUE = {"RGBA": "RGB", "RGBX": "RGB", "LA": "L", "PA": "P"}  # a mode with an alpha channel: the mode without

Scaling = Callable[[np.ndarray, Path], np.ndarray]
log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class RawMask:
    """What a mask file holds.

    Attributes:
        values: integers (h, w), upright by the EXIF orientation.
        meaning: `labels`, or `palette indices`.
        lossy: whether the file's compression changes values, as JPEG does.
    """

    values: np.ndarray
    meaning: str
    lossy: bool


@dataclass(frozen=True)
class Header:
    """What the header of a picture says.

    Attributes:
        size: (height, width) as it is shown, pixels.
        grey: whether it has one channel; a palette counts as colour.
        wide: whether it is grey of 16 bits or more, or of real numbers.
        deep_colour: whether it has 16 bits per colour channel, of which the upper 8 are read.
        turned: whether an EXIF orientation says that it is shown otherwise than it is stored.
    """

    size: Size
    grey: bool
    wide: bool
    deep_colour: bool
    turned: bool


def list_pictures(folder: Path) -> dict[str, Path]:
    """List the picture files below a folder by their relative paths without suffix, and log which files are passed over.

    Raises:
        InputError: the folder cannot be read, or two files differ in their suffix only.
    """
    listed = scan_folder(folder)
    if others := listed.describe_passed_over():
        log.warning("prepare: files below %s that are no pictures are not read: %s", folder, others)
    return by_name(folder, listed)


def scan_folder(folder: Path, leave_out: Path | None = None) -> PictureFolder:
    """List a folder and its subfolders, see `list_folder`.

    Raises:
        InputError: one cannot be read, or is named like a picture.
    """
    listed = list_folder(folder, leave_out)
    try:
        with os.scandir(folder) as entries:
            wrong = sorted(entry.path for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_dir())
    except OSError as error:
        refuse_folder(error)
    if wrong:
        raise InputError(f"expected a picture at {wrong[0]}, but it is a folder; move it away or rename it")
    return listed


def by_name(folder: Path, listed: PictureFolder) -> dict[str, Path]:
    """Return the pictures of a folder by their relative paths without suffix; raise InputError if two have the same."""
    pictures: dict[str, Path] = {}
    for relative in listed.pictures:
        name = composed(Path(relative).with_suffix("").as_posix())
        if other := pictures.get(name):
            both = f"{other.relative_to(folder)} and {relative}"
            raise InputError(f"expected one picture per name in {folder}, but got {both}; rename one")
        pictures[name] = folder / relative
    return pictures


def open_picture(path: Path) -> ImageFile.ImageFile:
    """Open a picture without reading its pixels.

    Raises:
        InputError: the file is not a picture, or holds several pages.
    """
    require_file(path, "a picture", "replace it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path)
            pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(f"expected a picture in {path}, but it cannot be read ({in_one_line(error)}); replace the file") from None
    if pages > 1:
        raise InputError(f"expected a single 2-D picture in {path}, but it holds {pages} pages; save every page as a separate file")
    check_picture(picture, path)
    return picture


def read_header(path: Path) -> Header:
    """Read the header of a picture; raise InputError if it is none."""
    with open_picture(path) as picture:
        turn = 1 if picture.format == "PNG" and "exif" not in picture.info else orientation(picture)  # else a PNG is decoded
        size = picture.size if turn > 4 and picture.format != "TIFF" else picture.size[::-1]  # Pillow turns the size of a TIFF
        grey = picture.mode in ("1", "L", "LA", "La", *WIDE)
        deep = not grey and any(";16" in str(tile.args) for tile in picture.tile)
        return Header(size, grey, picture.mode in WIDE, deep, turn > 1)


def read_image(path: Path, channels: int, scale: Scaling | None = None, conversions: Conversions | None = None) -> np.ndarray:
    """Read a picture as uint8 (h, w, channels), upright by its EXIF orientation as viewers show it.

    8-bit values are kept, transparency is dropped, and grey is repeated to 3 channels if these are requested.

    Args:
        path: a picture file.
        channels: 1 or 3.
        scale: maps 16-bit and float grey to uint8; None for the picture's own percentiles.
        conversions: notes whether the picture is coloured or transparent; None: it is not looked at.

    Raises:
        InputError: the file is not a picture, is truncated or holds NaN, or only its transparency varies.
    """
    with open_picture(path) as file:
        white_is_zero = file.format == "TIFF" and file.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
        picture = _decode(file, path, conversions)
        if "transparency" in picture.info and picture.mode == "P":
            picture = _drop_alpha(picture.convert("RGBA"), path, conversions)
        elif "transparency" in picture.info and picture.mode in ("L", "RGB") and conversions is not None:  # of one colour
            conversions.see_alpha(path, np.asarray(picture.convert("RGBA"))[..., 3])
        if conversions is not None:
            conversions.see(path, picture)
        if picture.mode in WIDE:
            pixels = (scale or PERCENTILES.scale)(np.asarray(picture), path)[..., None]  # (h, w, 1)
            pixels = 255 - pixels if white_is_zero else pixels
        else:
            mode = "L" if channels == 1 else "RGB"
            picture = picture.convert("RGB") if picture.mode == "LAB" else picture  # Pillow converts it to nothing else
            pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode))  # to the same mode it would copy
            pixels = pixels.reshape(*pixels.shape[:2], channels)
    return pixels.copy() if pixels.shape[-1] == channels else np.repeat(pixels, channels, axis=-1)


def read_stored(path: Path) -> np.ndarray:
    """Read the pixels of a picture in its own mode, upright and without transparency; raise InputError if it is damaged."""
    with open_picture(path) as file:
        return np.asarray(_decode(file, path))


def read_labels(path: Path) -> np.ndarray:
    """Read a mask as raw label values, integers (h, w), see `read_mask`."""
    return read_mask(path).values


def read_mask(path: Path, grey_palette: bool = False) -> RawMask:
    """Read a mask, upright by its EXIF orientation; transparency is dropped.

    Args:
        path: a picture file.
        grey_palette: whether a palette whose colours are all grey is read by these, so that a palette which begins with white
            does not invert the mask. Any other palette is read as its indices, not its colours.

    Raises:
        InputError: the file is not a picture or is truncated, its colour channels differ or are CIELAB, or only its transparency
            varies.
    """
    with open_picture(path) as file:
        picture, lossy = _decode(file, path), _is_lossy(file, path)
        if picture.mode == "P" and not (grey_palette and _has_grey_palette(picture)):
            return RawMask(np.asarray(picture), "palette indices", lossy)
        if picture.mode in ("1", "L", *WIDE):
            values = np.asarray(picture)
            return RawMask(values.astype(np.uint8) if picture.mode == "1" else values, "labels", lossy)
        _refuse_lab(picture, path)
        pixels = np.asarray(picture.convert("RGB"))
    if not (pixels == pixels[..., :1]).all():
        raise InputError(
            f"expected a mask with one value per pixel in {path}, but its colour channels differ; "
            "save the number of each pixel's class as its grey value"
        )
    return RawMask(pixels[..., 0], "labels", lossy)


def read_nonzero(path: Path) -> np.ndarray:
    """Read a binary mask of any encoding as uint8 (h, w) of 0 and 1: a pixel is 1 if any colour is not zero.

    So palette index 1, grey 76, grey 255 and pure red all mean 1; a palette is read by its index, transparency is dropped.

    Raises:
        InputError: the file is not a picture or is truncated, its colours are CIELAB, or only its transparency varies.
    """
    with open_picture(path) as file:
        picture = _decode(file, path)
        _refuse_lab(picture, path)
        pixels = np.asarray(picture.convert("RGB") if picture.mode in NOT_ZERO else picture)
    return ((pixels if pixels.ndim == 2 else pixels.any(axis=-1)) != 0).view(np.uint8)


def _refuse_lab(picture: Image.Image, path: Path) -> None:
    """Raise InputError for a mask in CIELAB, whose black and other values are not exact after conversion."""
    if picture.mode == "LAB":
        raise InputError(f"expected a mask with exact values in {path}, but its colours are CIELAB; save it as grey")


def _is_lossy(picture: ImageFile.ImageFile, path: Path) -> bool:
    if picture.format == "WEBP":
        with path.open("rb") as file:
            return b"VP8L" not in file.read(4096)  # the chunk of lossless pixels
    return picture.format in JPEG


def _has_grey_palette(picture: Image.Image) -> bool:
    """Return whether all colours of a palette picture are grey, and different where its indices are."""
    colours, indices = np.asarray(picture.convert("RGB")), np.asarray(picture)
    if not (colours == colours[..., :1]).all():
        return False
    pairs = np.flatnonzero(np.bincount((256 * indices.astype(np.int32) + colours[..., 0]).ravel()))
    return len(set((pairs % 256).tolist())) == len(set((pairs // 256).tolist()))


def check_same_size(image: np.ndarray, mask: np.ndarray, image_path: Path, mask_path: Path) -> None:
    """Raise InputError if an image and its mask differ in height or width."""
    if image.shape[:2] == mask.shape[:2]:
        return
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
    turned = [path for path in (image_path, mask_path) if path.suffix != ".npy" and read_header(path).turned]
    remedy = "replace the file that is wrong"
    if turned and (height, width) == (mask_width, mask_height):
        remedy = f"{turned[0]} is turned by its EXIF orientation, as viewers do: turn the other file too, or remove the tag"
    raise InputError(
        f"expected a mask of {height}x{width} pixels (height x width) like {image_path}, but {mask_path} has "
        f"{mask_height}x{mask_width}; {remedy}"
    )


def _decode(picture: ImageFile.ImageFile, path: Path, conversions: Conversions | None = None) -> Image.Image:
    """Read the pixels of a picture, turn it upright, and drop its transparency.

    Raises:
        InputError: the file is damaged, or only its transparency varies: then the drawing is there.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shown = upright(picture)
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(
            f"expected a whole picture in {path}, but it cannot be read ({in_one_line(error)}); replace the file"
        ) from None
    return _drop_alpha(shown, path, conversions)


def _drop_alpha(picture: Image.Image, path: Path, conversions: Conversions | None = None) -> Image.Image:
    """Return a picture without its alpha channel, or raise InputError if the drawing is there: all colours are the same."""
    straight = picture.convert(STRAIGHT[picture.mode]) if picture.mode in STRAIGHT else picture
    if straight.mode not in OPAQUE:
        return picture
    pixels = np.asarray(straight)
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if (colours == colours[0, 0]).all() and not (alpha == alpha[0, 0]).all():
        raise InputError(
            f"expected a drawing in the colours of {path}, but they are constant while its alpha channel varies; save the alpha "
            "channel as a grey picture"
        )
    if conversions is not None and straight.mode != "RGBX":  # whose fourth channel means nothing
        conversions.see_alpha(path, alpha)
    return straight.convert(OPAQUE[straight.mode])

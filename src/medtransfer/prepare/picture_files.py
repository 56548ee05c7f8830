"""Read picture files as uint8 images and integer masks; scale intensities and resize."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Size, list_entries
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import check_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
PERCENTILES = (0.5, 99.5)
PERCENTILE_RULE = f"percentiles {PERCENTILES[0]} and {PERCENTILES[1]} map to 0 and 255, clipped"


def list_pictures(folder: Path) -> dict[str, Path]:
    """List the picture files of a folder by stem.

    Raises:
        InputError: two files have the same stem.
    """
    pictures: dict[str, Path] = {}
    for path in list_entries(folder):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in pictures:
            raise InputError(
                f"expected one picture per name in {folder}, but got {pictures[path.stem].name} and {path.name}; rename one"
            )
        pictures[path.stem] = path
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
            pages = getattr(picture, "n_frames", 1)
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(f"expected a picture in {path}, but it cannot be read ({in_one_line(error)}); replace the file") from None
    if pages > 1:
        raise InputError(f"expected a single 2-D picture in {path}, but it holds {pages} pages; save every page as a separate file")
    check_picture(picture, path)
    return picture


def is_grey(path: Path) -> bool:
    """Return whether a picture has one channel; a palette counts as colour."""
    with open_picture(path) as picture:
        return picture.mode in ("1", "L", "LA", "La", *WIDE)


def read_image(path: Path, channels: int) -> np.ndarray:
    """Read a picture as uint8 (h, w, channels).

    8-bit values are kept, transparency is dropped, and grey is repeated to 3 channels if these are requested; 16-bit and
    float grey is scaled by its own percentiles (`scale_intensities`).

    Args:
        path: a PNG, JPEG, TIFF or BMP file.
        channels: 1 or 3.

    Raises:
        InputError: the file is not a picture, is truncated or holds NaN.
    """
    with open_picture(path) as picture:
        _decode(picture, path)
        if picture.mode in WIDE:
            pixels = scale_intensities(np.asarray(picture), path)[..., None]  # (h, w, 1)
        else:
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
            pixels = pixels.reshape(*pixels.shape[:2], channels)
    return np.repeat(pixels, channels // pixels.shape[-1], axis=-1)


def read_labels(path: Path) -> np.ndarray:
    """Read a mask as raw label values, integers (h, w).

    A palette picture is read as its indices, not its colours; transparency is dropped.

    Raises:
        InputError: the file is not a picture, is truncated, or its colour channels differ.
    """
    with open_picture(path) as picture:
        _decode(picture, path)
        if picture.mode == "1":
            return np.asarray(picture).astype(np.uint8)
        if picture.mode in ("L", "P", *WIDE):
            return np.asarray(picture)
        pixels = np.asarray(picture.convert("L" if picture.mode in ("LA", "La") else "RGB"))
    if pixels.ndim == 2:
        return pixels
    if not (pixels == pixels[..., :1]).all():
        raise InputError(f"expected a mask with one value per pixel in {path}, but its colour channels differ; save it as grey")
    return pixels[..., 0]


def read_nonzero(path: Path) -> np.ndarray:
    """Read a binary mask of any encoding as uint8 (h, w) of 0 and 1: a pixel is 1 if any colour is not zero.

    So palette index 1, grey 76, grey 255 and pure red all mean 1; a palette is read by its index.

    Raises:
        InputError: the file is not a picture or is truncated.
    """
    with open_picture(path) as picture:
        _decode(picture, path)
        pixels = np.asarray(picture.convert("RGB") if picture.mode == "RGBA" else picture)
    return (pixels if pixels.ndim == 2 else pixels.any(axis=-1)).astype(bool).astype(np.uint8)


def scale_intensities(values: np.ndarray, path: Path) -> np.ndarray:
    """Scale intensities of any range to uint8: the percentiles 0.5 and 99.5 become 0 and 255.

    If the two are equal, minimum and maximum are used instead; a constant array becomes 0.

    Args:
        values: intensities, any shape; a volume is scaled as a whole.
        path: path of the file, for the message.

    Raises:
        InputError: a value is NaN or infinite.
    """
    values = values.astype(np.float64)
    if bad := int((~np.isfinite(values)).sum()):
        raise InputError(f"expected finite intensities in {path}, but {bad} of {values.size} are NaN or infinite; repair the file")
    low, high = np.percentile(values, PERCENTILES)
    if high <= low:
        low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def resize_image(image: np.ndarray, size: Size) -> np.ndarray:
    """Resize uint8 (h, w, C) to size + (C,), bilinear and antialiased."""
    if image.shape[:2] == size:
        return image
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR)).reshape(*size, image.shape[-1])


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize uint8 (h, w) to `size`, nearest neighbour, which creates no new labels."""
    if mask.shape == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


def check_same_size(image: np.ndarray, mask: np.ndarray, image_path: Path, mask_path: Path) -> None:
    """Raise InputError if an image and its mask differ in height or width."""
    if image.shape[:2] != mask.shape[:2]:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
        raise InputError(
            f"expected a mask of {height}x{width} pixels like {image_path}, but {mask_path} has {mask_height}x{mask_width}; "
            "replace the file that is wrong"
        )


def _decode(picture: Image.Image, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.load()
    except Exception as error:  # decoders raise nearly any exception for a damaged picture
        raise InputError(
            f"expected a whole picture in {path}, but it cannot be read ({in_one_line(error)}); replace the file"
        ) from None

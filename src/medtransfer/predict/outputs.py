"""Write what was predicted for an image in its own geometry: PNG of pictures, TIFF pages of stacks, NIfTI of volumes."""

import gzip
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image as Pillow

from medtransfer.data.colours import colour_of, to_colours
from medtransfer.data.volumes import ENDINGS, stack
from medtransfer.data.volumes.nifti import open_nifti
from medtransfer.predict.images import Image, Pixels
from medtransfer.predict.legend import add_legend, add_title
from medtransfer.records import IGNORE, atomic_path, write_bytes
from medtransfer.tasks.overlays import enlarge, paint

SLICES = 12  # of an overlay, at most
LEAST_SIDE, SIDE = 256, 1024  # pixels of the longer side of a picture in an overlay: smaller ones are enlarged, larger ones reduced
COMPRESSION = 4  # of the PNG files of overlays; the default, 6, takes twice as long and makes them up to a seventh smaller


def encode_labels(path: Path, image: Image, pixels: Pixels, labels: np.ndarray) -> bytes:
    """Return the content of a file of labels uint8 (N, H, W), in the format that the path's ending names."""
    if path.suffix not in (".png", ".tif"):
        return _encode_volume(image, pixels, stack(labels, pixels.axis))
    pages, content = [Pillow.fromarray(page) for page in labels], BytesIO()
    for page in pages:
        page.putpalette(_palette())
    if path.suffix == ".png":
        pages[0].save(content, format="PNG")
    else:
        pages[0].save(content, format="TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=pages[1:])
    return content.getvalue()


def write_probabilities(path: Path, image: Image, pixels: Pixels, probabilities: np.ndarray) -> None:
    """Write probabilities float32 (N, outputs, H, W): (outputs, H, W) as .npy, or NIfTI (x, y, z, outputs)."""
    if path.suffix == ".npy":
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, probabilities[0])
    else:
        volume = stack(np.moveaxis(probabilities, 1, -1), pixels.axis)  # (x, y, z, outputs)
        write_bytes(path, _encode_volume(image, pixels, volume))


def draw_overlay(pixels: Pixels, labels: np.ndarray, classes: Sequence[str], truth: np.ndarray | None = None) -> bytes:
    """Draw the image beside itself with the classes painted on it; of a volume slices that show any, evenly spread.

    Args:
        pixels: the image.
        labels: predicted labels uint8 (N, H, W).
        classes: names of the classes.
        truth: reference labels uint8 (N, H, W), which are painted on the image between both; None without.

    Returns:
        The content of a PNG file.
    """
    painted = [labels] if truth is None else [truth, labels]
    any_class = np.logical_or.reduce([masks.any(axis=(1, 2)) for masks in painted])
    shown = np.flatnonzero(any_class) if len(labels) > 1 and any_class.any() else np.arange(len(labels))
    chosen = shown[np.linspace(0, len(shown) - 1, min(SLICES, len(shown))).round().astype(int)]
    order = "" if truth is None else "image, reference, prediction"
    rows = []
    for index in chosen:
        row = _side_by_side(pixels.slices[index], [masks[index] for masks in painted])
        number = f"slice {index} of 0 to {len(labels) - 1}" if len(labels) > 1 else ""
        title = ": ".join(filter(None, [number, order]))
        rows.append(add_title(row, title) if title else row)
    colours = {name: colour_of(label) for label, name in enumerate(classes, start=1)}
    if truth is not None and (truth[chosen] == IGNORE).any():
        colours["ignored"] = colour_of(IGNORE)
    content = BytesIO()
    Pillow.fromarray(add_legend(np.concatenate(rows), colours)).save(content, format="PNG", compress_level=COMPRESSION)
    return content.getvalue()


def measure(labels: np.ndarray, pixels: Pixels, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per class: its pixels, in mm² for one slice and in ml for a volume where the spacing is known."""
    volume = pixels.geometry.voxel_volume if pixels.geometry else None
    area = pixels.geometry.pixel_spacing(pixels.axis) if pixels.geometry and len(labels) == 1 else None
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)
    return [
        {
            "class": name, "label": label, "pixels": int(counts[label]),
            "mm2": int(counts[label]) * area[0] * area[1] if area else None,
            "ml": int(counts[label]) * volume / 1000 if volume and len(labels) > 1 else None,
        }
        for label, name in enumerate(classes, start=1)
    ]  # fmt: skip


def _palette() -> list[int]:
    colours = [(0.0, 0.0, 0.0), *(to_rgb(colour_of(label)) for label in range(1, 256))]
    return [round(255 * part) for colour in colours for part in colour]


def _encode_volume(image: Image, pixels: Pixels, values: np.ndarray) -> bytes:
    """Return a compressed NIfTI with the header of the input, or the affine of a DICOM series."""
    values = np.ascontiguousarray(values)
    if image.path.name.lower().endswith(ENDINGS):
        source = open_nifti(image.path)
        header = source.header.copy()
        header.set_data_dtype(values.dtype)
        header["cal_min"] = header["cal_max"] = 0
        flat = len(source.shape) == 2 and values.ndim == 3  # a single slice without a third axis
        written = type(source)(values[..., 0] if flat else values, source.affine, header)
    else:
        geometry = pixels.geometry
        assert geometry is not None
        affine = np.diag([*(geometry.spacing or (1, 1, 1)), 1.0]) if geometry.affine is None else geometry.affine
        written = nib.Nifti1Image(values, affine)  # type: ignore[attr-defined]
        written.header.set_xyzt_units("mm")
    return gzip.compress(written.to_bytes(), mtime=0)


def _side_by_side(picture: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return a picture (H, W, C) beside itself with each of some masks (H, W) painted on it: uint8 (h, (1 + masks) * w, 3)."""
    times = max(1, LEAST_SIDE // max(picture.shape[:2]))
    share = min(1.0, SIDE / max(picture.shape[:2]))
    colour = enlarge(to_colours(picture), times)
    parts = [colour, *(paint(colour, enlarge(mask, times), outline=round(1 / share)) for mask in masks)]
    if share < 1:
        size = (max(1, round(share * colour.shape[1])), max(1, round(share * colour.shape[0])))
        parts = [np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8) for part in parts]
    return np.concatenate(parts, axis=1)

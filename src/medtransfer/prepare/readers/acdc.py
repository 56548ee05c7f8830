"""Read the ACDC cardiac MRI folders: short-axis slices of the ED and ES frames, three classes.

Source: Automated Cardiac Diagnosis Challenge, https://www.creatis.insa-lyon.fr/Challenge/acdc/ (registration).
Citation: `CITATION` below. One raw example (a patient's folder):

    training/patient002/Info.cfg                        ED: 1, ES: 12, Group: DCM, Height, NbFrame, Weight
    training/patient002/patient002_frame01.nii.gz       int16 (232, 256, 10), spacing 1.37 x 1.37 x 10 mm
    training/patient002/patient002_frame01_gt.nii.gz    uint8 (232, 256, 10), labels 0 1 2 3

Official counts: 100 patients in training/ (1902 slices), 50 in testing/ (1076); slices with an empty mask count too.
The volumes' axes are (x, y, z); pictures are stored with y as rows, not flipped or rotated.
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import PERCENTILE_RULE, resize_image, resize_mask, scale_intensities
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    Size,
    is_folder,
    list_entries,
    pair_up,
    pixel_labels,
    read_options,
    require_folder,
    whole_picture,
)
from medtransfer.records import in_one_line, require_file
from medtransfer.records.untrusted import unpacked_size

CITATION = (
    "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al., Deep Learning Techniques for Automatic MRI Cardiac "
    "Multi-structures Segmentation and Diagnosis: Is the Problem Solved?, IEEE Transactions on Medical Imaging 37 (11), "
    "2514-2525, 2018, doi:10.1109/TMI.2018.2837502"
)
CLASSES = ("RV cavity", "myocardium", "LV cavity")
EXPECTED = {"train": 1902, "test": 1076}
FOLDERS = {"train": "training", "test": "testing"}
MOST_VOXELS = 2**27  # of a volume, about fifty times the dataset's largest
HEADER = 2**16  # bytes that may precede the voxels
REPLACE = "replace the file"
REMEDY = "`root` must name the folder that holds training/patientNNN and testing/patientNNN"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the ED and ES volumes of all patients; only headers are read.

    Args:
        root: the folder that holds training/ and testing/; a subset may lack one of them.
        size: (height, width) of the stored pictures, pixels.
        options: must be empty.

    Raises:
        InputError: a folder, Info.cfg, frame or mask is missing, or a header cannot be read.
    """
    read_options(options, {}, "acdc")
    require_folder(root, REMEDY)
    items = tuple(
        item for split, name in FOLDERS.items() if is_folder(root / name) for item in _list_split(root, name, split, size)
    )
    if not items:
        raise InputError(f"expected patients in {root}/training or {root}/testing, but there are none; {REMEDY}")
    return Scan(
        CLASSES, 1, size, "rotate-flip", CITATION, f"{PERCENTILE_RULE}, per volume", EXPECTED, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size),
    )  # fmt: skip


def _list_split(root: Path, name: str, split: str, size: Size) -> Iterator[Item]:
    for folder in (path for path in list_entries(root / name) if path.is_dir() and path.name.startswith("patient")):
        for image, mask in _list_frames(folder):
            source = image.relative_to(root).as_posix()
            slices = _open_volume(image).shape[2]
            _open_volume(mask)  # checks the header
            files = (image, mask, folder / "Info.cfg")
            yield Item(split, folder.name, source, files, slices, partial(_load, image, mask, size))


def _list_frames(folder: Path) -> list[tuple[Path, Path]]:
    named = {path.name: path for path in list_entries(folder)}
    pattern = re.compile(rf"{re.escape(folder.name)}_frame(\d{{1,9}})(_gt)?\.nii\.gz")
    matches = [match for match in map(pattern.fullmatch, named) if match]
    images = {match[1]: named[match[0]] for match in matches if not match[2]}
    masks = {match[1]: named[match[0]] for match in matches if match[2]}
    frames = {int(number): (image, mask) for number, image, mask in pair_up(images, masks, folder)}
    phases = _read_info(folder / "Info.cfg")
    for phase, number in phases.items():
        if number not in frames:
            raise InputError(
                f"expected the {phase} frame {folder.name}_frame{number:02d}.nii.gz in {folder}, but it does not exist; "
                "restore it, or correct Info.cfg"
            )
    return [frames[number] for number in phases.values()]


def _read_info(path: Path) -> dict[str, int]:
    require_file(path, "the frame numbers ED and ES", "restore the file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"expected the frame numbers ED and ES in {path}, but it cannot be read; restore the file") from None
    matches = {phase: re.search(rf"^{phase}\s*:\s*(\d{{1,9}})\s*$", text, re.MULTILINE) for phase in ("ED", "ES")}
    if missing := [phase for phase, match in matches.items() if match is None]:
        raise InputError(f"expected a line such as `{missing[0]}: 1` in {path}, but there is none; restore the file")
    return {phase: int(match[1]) for phase, match in matches.items() if match}


def _load(image_path: Path, mask_path: Path, size: Size) -> Iterator[Picture]:
    volume, labels = _read_volume(image_path), _read_volume(mask_path)
    if volume.shape != labels.shape:
        raise InputError(
            f"expected a mask of {volume.shape} voxels like {image_path}, but {mask_path} has {labels.shape}; "
            "replace the file that is wrong"
        )
    if unknown := sorted(set(np.unique(labels).tolist()) - {0, 1, 2, 3}):
        raise InputError(f"expected the labels 0, 1, 2, 3 in {mask_path}, but got {unknown[:8]}; restore the file")
    images = scale_intensities(volume, image_path).T  # (x, y, z) -> (z, y, x)
    masks = labels.astype(np.uint8).T
    for z, (image, mask) in enumerate(zip(images, masks, strict=True)):
        yield Picture(resize_image(image[..., None], size), resize_mask(mask, size), z)


def _open_volume(path: Path) -> Any:
    """Return nibabel's lazy proxy of a volume, after checking the shape and type that its header claims."""
    require_file(path, "a NIfTI volume", REPLACE)
    try:
        proxy = nib.load(path).dataobj  # type: ignore[attr-defined]
        shape, dtype = proxy.shape, proxy.dtype
    except Exception as error:  # nibabel raises nearly any exception for a damaged header
        raise InputError(f"expected a NIfTI volume in {path}, but it cannot be read ({in_one_line(error)}); {REPLACE}") from None
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        raise InputError(f"expected a 3-D volume of at most {MOST_VOXELS} voxels in {path}, but its shape is {shape}; {REPLACE}")
    if dtype.kind not in "iuf":
        raise InputError(f"expected whole or real numbers in {path}, but its voxels are {dtype}; {REPLACE}")
    return proxy


def _read_volume(path: Path) -> np.ndarray:
    """Read a volume; raise InputError if its size differs from its header's claim or its checksum is wrong."""
    proxy = _open_volume(path)
    claimed = math.prod(proxy.shape) * proxy.dtype.itemsize
    try:
        unpacked = unpacked_size(path, claimed + HEADER)
        if not claimed <= unpacked <= claimed + HEADER:
            raise ValueError(f"{claimed} bytes of voxels, but {'more than ' * (unpacked > claimed)}{unpacked} in all")
        return np.asarray(proxy)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise InputError(f"expected a whole NIfTI volume in {path}, but it is damaged ({in_one_line(error)}); {REPLACE}") from None

"""Read the ACDC cardiac MRI folders: short-axis slices of the ED and ES frames, three classes.

Source: Automated Cardiac Diagnosis Challenge, https://www.creatis.insa-lyon.fr/Challenge/acdc/ (registration).
Citation: `CITATION` below. One raw example (a patient's folder):

    training/patient002/Info.cfg                        ED: 1, ES: 12, Group: DCM, Height, NbFrame, Weight
    training/patient002/patient002_frame01.nii.gz       int16 (232, 256, 10), spacing 1.37 x 1.37 x 10 mm
    training/patient002/patient002_frame01_gt.nii.gz    uint8 (232, 256, 10), labels 0 1 2 3

Official counts: 100 patients in training/ (1902 slices), 50 in testing/ (1076); slices with an empty mask count too.
The volumes' axes are (x, y, z); pictures are stored with y as rows, not flipped or rotated. A mask whose header says that its
axes are flipped or permuted is turned onto its image.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation

from medtransfer.data.intensities import PERCENTILES
from medtransfer.data.resizing import resize_image, resize_mask, resize_spacing
from medtransfer.data.volumes import (
    Geometry,
    acquisition_axis,
    cut,
    format_lengths,
    load_labels,
    load_volume,
    read_geometry,
    turn_onto,
)
from medtransfer.errors import InputError
from medtransfer.prepare.faults import attempt_all
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    Size,
    check_split_folders,
    is_folder,
    list_entries,
    list_folders,
    pair_up,
    pixel_labels,
    read_options,
    require_folder,
    whole_picture,
)
from medtransfer.prepare.readers.volume_axes import axes_of, compare_axes
from medtransfer.records import ImageRule, require_file

CITATION = (
    "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al., Deep Learning Techniques for Automatic MRI Cardiac "
    "Multi-structures Segmentation and Diagnosis: Is the Problem Solved?, IEEE Transactions on Medical Imaging 37 (11), "
    "2514-2525, 2018, doi:10.1109/TMI.2018.2837502"
)
CLASSES = ("RV cavity", "myocardium", "LV cavity")
EXPECTED = {"train": 1902, "test": 1076}
FOLDERS = {"train": "training", "test": "testing"}
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
    check_split_folders(root, FOLDERS.values())
    items = tuple(
        item for split, name in FOLDERS.items() if is_folder(root / name) for item in _list_split(root, name, split, size)
    )
    pairs = [(item.source, read_geometry(item.files[0]), item.files[1]) for item in items]
    if not items:
        raise InputError(f"expected patients in {root}/training or {root}/testing, but there are none; {REMEDY}")
    return Scan(
        CLASSES, 1, size, "rotate-flip", CITATION, f"{PERCENTILES}, per volume", EXPECTED, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size), notes=compare_axes(pairs),
        image_rule=lambda: ImageRule("percentiles", PERCENTILES.low, PERCENTILES.high, over="volume", axis=2, axes=_axes(items)),
    )  # fmt: skip


def _axes(items: Sequence[Item]) -> str | None:
    return axes_of(read_geometry(item.files[0]) for item in items)


def _list_split(root: Path, name: str, split: str, size: Size) -> Iterator[Item]:
    folders = list_folders(root / name)
    if strange := [path for path in folders if not path.name.startswith("patient")]:
        raise InputError(
            f"expected folders named patientNNN in {root / name}, but got {strange[0].name}; rename it or move it away"
        )
    frames = [frame for folder in folders for frame in _list_frames(folder)]
    geometries = attempt_all(frames, lambda frame: _read_frame(*frame), lambda frame: frame)
    for (image, mask), geometry in zip(frames, geometries, strict=True):
        source, patient = image.relative_to(root).as_posix(), image.parent
        files = (image, mask, patient / "Info.cfg")
        yield Item(split, patient.name, source, files, geometry.shape[2], partial(_load, image, mask, size))


def _read_frame(image: Path, mask: Path) -> Geometry:
    """Return where the voxels of an image are; a mask elsewhere is refused before any work."""
    geometry = _read_geometry(image)
    turn_onto(geometry, _read_geometry(mask))
    return geometry


def _read_geometry(path: Path) -> Geometry:
    geometry = read_geometry(path)
    if geometry.channels > 1:
        raise InputError(f"expected a 3-D volume in {path}, but it has {geometry.channels} channels; replace the file")
    if acquisition_axis(geometry.spacing) != 2:
        raise InputError(
            f"expected slices along the third axis of {path}, but its spacing is {format_lengths(geometry.spacing or ())} mm; "
            "permute the axes of the volume and its mask, or correct the header"
        )
    return geometry


def _list_frames(folder: Path) -> list[tuple[Path, Path]]:
    pattern = re.compile(rf"{re.escape(folder.name)}_frame(\d{{1,9}})(_gt)?\.nii(\.gz)?")
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for path in list_entries(folder):
        if match := pattern.fullmatch(path.name):
            files, frame = masks if match[2] else images, str(int(match[1]))
            if (other := files.setdefault(frame, path)) != path:
                raise InputError(f"expected one file per frame in {folder}, but got {other.name} and {path.name}; move one away")
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
        text = path.read_text(encoding="utf-8-sig")  # Windows editors write a mark first
    except UnicodeDecodeError:
        raise InputError(f"expected the frame numbers ED and ES in {path}, but it cannot be read; restore the file") from None
    matches = {phase: re.search(rf"^{phase}\s*:\s*(\d{{1,9}})\s*$", text, re.MULTILINE) for phase in ("ED", "ES")}
    if missing := [phase for phase, match in matches.items() if match is None]:
        raise InputError(f"expected a line such as `{missing[0]}: 1` in {path}, but there is none; restore the file")
    return {phase: int(match[1]) for phase, match in matches.items() if match}


def _load(image_path: Path, mask_path: Path, size: Size) -> Iterator[Picture]:
    image, mask = load_volume(image_path), load_labels(mask_path)
    labels = apply_orientation(mask.values[..., 0], turn_onto(image.geometry, mask.geometry))
    if unknown := sorted(set(np.unique(labels).tolist()) - {0, 1, 2, 3}):
        raise InputError(f"expected the labels 0, 1, 2, 3 in {mask_path}, but got {unknown[:8]}; restore the file")
    images = cut(PERCENTILES.scale(image.values, image_path), axis=2)  # (x, y, z, 1) -> (z, y, x, 1)
    masks = cut(labels.astype(np.uint8), axis=2)
    spacing = resize_spacing(image.geometry.pixel_spacing(axis=2), images.shape[1:3], size)
    for z, (pixels, classes) in enumerate(zip(images, masks, strict=True)):
        yield Picture(resize_image(pixels, size), resize_mask(classes, size), z, spacing)

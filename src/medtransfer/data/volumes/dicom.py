"""Read DICOM series: one volume from the single-frame files of a series, ordered by their place in the patient."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.volumes.dicom_pixels import fill_padding, read_pixels
from medtransfer.data.volumes.dicom_tags import describe_header, is_dicom, read_header, read_number, read_numbers
from medtransfer.data.volumes.geometry import SHIFT, Geometry
from medtransfer.errors import InputError

UNEVEN = 0.01  # share of the spacing by which the distance of two slices may differ from it; headers are rounded
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SOP classes: of segments, of labels
STANDARD = "1.2.840.10008"  # what the numbers of classes that are not private begin with
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and posterior, NIfTI to the right and anterior
SAME = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")  # in all files of a volume


def is_segmentation(path: Path) -> bool:
    """Return whether a file is a DICOM segmentation object, which is no image; raise InputError if it is damaged."""
    return is_dicom(path) and read_header(path).get("SOPClassUID") in SEGMENTATIONS


def is_image(path: Path) -> bool:
    """Return whether a file is DICOM with an image, and no segmentation; raise InputError if it is damaged."""
    return is_dicom(path) and not _is_no_image(read_header(path))


def find_series(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the DICOM files among paths by the UID of their series, in the order of the series' numbers and UIDs.

    Other files, segmentations, and objects without pixels, such as reports and structure sets, are left out. A damaged file may be
    of any series: it is in each, so that the reading of them names it, and no series is read without it.
    """
    return {uid: list(files) for uid, files in _by_series(paths, keep=False).items()}


def _by_series(paths: Iterable[Path], keep: bool) -> dict[str, dict[Path, Any]]:
    """Return what `find_series` does, each file with its header, or None for a damaged one, and for all unless they are kept.

    Headers of thousands of files take gigabytes.
    """
    series: dict[str, dict[Path, Any]] = defaultdict(dict)
    numbers, damaged = dict[str, str](), dict[Path, Any]()
    for path in filter(is_dicom, paths):
        try:
            header = read_header(path)
            if _is_no_image(header):
                continue
            _require_size(header, path)
            uid = str(header.get("SeriesInstanceUID", ""))
            series[uid][path] = header if keep else None
            if uid not in numbers:
                numbers[uid] = describe_header(header).get("SeriesNumber", "")
        except InputError:
            damaged[path] = None
    if damaged and not series:
        return {"": damaged}

    def order(uid: str) -> tuple[float, str]:
        return (int(numbers[uid]) if numbers[uid] else np.inf), uid

    return {uid: series[uid] | damaged for uid in sorted(series, key=order)}


def read_series(paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
    """Read the files of one series.

    Args:
        paths: its files, in any order.

    Returns:
        Values (x, y, z, 1), with slope and intercept applied: columns, rows, slices along the normal; and their geometry.

    Raises:
        InputError: a file is broken, has several frames or colours, or the slices are not those of one evenly spaced volume.
    """
    return _read(dict.fromkeys(paths))


def read_folder(folder: Path) -> tuple[np.ndarray, Geometry]:
    """Read the only series of a folder, as `read_series` does; raise InputError, too, if there are several, or none."""
    return _read(_only_series(folder))


def read_folder_geometry(folder: Path) -> Geometry:
    """Read the headers of the only series of a folder; errors as in `read_folder`."""
    return _arrange(_only_series(folder))[1]


def _read(files: Mapping[Path, Any]) -> tuple[np.ndarray, Geometry]:
    """Read the files of one series; those whose header is None are read twice."""
    ordered, geometry = _arrange(files)
    slices = [read_pixels(path) for path in ordered]
    values, padding = (np.stack([part.T for part in parts], axis=-1) for parts in zip(*slices, strict=True))
    return fill_padding(values, padding)[..., None], geometry  # (columns, rows, slices, 1)


def read_slice(path: Path) -> np.ndarray:
    """Read a single file: values (rows, columns), with slope and intercept applied, white is high; errors as in `read_series`."""
    _check_single(read_header(path), path)
    return fill_padding(*read_pixels(path))


def series_files(folder: Path) -> list[Path]:
    """Return the files of the only series in a folder, sorted by name; raise InputError if there are several, or none."""
    return list(_only_series(folder, keep=False))


def _only_series(folder: Path, keep: bool = True) -> dict[Path, Any]:
    """Return the files of the only series in a folder with their headers, see `_by_series`."""
    series = _by_series(sorted(path for path in folder.iterdir() if path.is_file()), keep)
    if len(series) != 1:
        examples = ", ".join(next(iter(files)).name for files in series.values())
        raise InputError(
            f"expected one DICOM series in {folder}, but there are {len(series)}{f' (of {examples})' * bool(series)}; give each a "
            "folder of its own"
        )
    return next(iter(series.values()))


def _arrange(files: Mapping[Path, Any]) -> tuple[list[Path], Geometry]:
    """Return the files of a series in the order of their slices, and their geometry.

    Args:
        files: each with its header, or None for one to read.
    """
    paths, headers = list(files), [read_header(path) if header is None else header for path, header in files.items()]
    for header, path in zip(headers, paths, strict=True):
        _check_single(header, path)
    _check_alike(headers, paths)
    spacing, order, step = _pixel_spacing(headers[0], paths[0]), [0], None
    if len(paths) > 1:
        normal, positions = _positions(headers, paths)
        order = np.argsort(positions @ normal).tolist()
        step = _step(positions[order], normal, min(spacing or (np.inf,)), [paths[index] for index in order])
    header, first = headers[order[0]], paths[order[0]]
    affine = _affine(header, first, step)
    thickness = read_number(header, "SliceThickness", first, 1.0) if step is None else float(np.linalg.norm(step))
    width, height = int(header.Columns), int(header.Rows)
    geometry = Geometry(
        first if len(paths) == 1 else first.parent, (width, height, len(paths)), 1,
        (spacing[1], spacing[0], thickness) if spacing else None, {} if affine is None else {"dicom": affine},
    )  # fmt: skip
    return [paths[index] for index in order], geometry


def _is_no_image(header: Any) -> bool:
    """Return whether an object is a segmentation, or has no pixels by its SOP class, as a report, a structure set or a private one.

    A class of the standard that is not known has its number cut.
    """
    kind = header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID") or ""
    name, number = getattr(kind, "name", ""), str(kind)
    cut = name == number and (number.startswith(STANDARD) or STANDARD.startswith(number))
    without = "Rows" not in header and not cut and "Image Storage" not in name
    return without or header.get("SOPClassUID") in SEGMENTATIONS


def _require_size(header: Any, path: Path) -> None:
    if not (read_number(header, "Rows", path, 0) and read_number(header, "Columns", path, 0)):
        raise InputError(f"expected a DICOM image in {path}, but it cannot be read (it has no size); replace it")


def _check_single(header: Any, path: Path) -> None:
    _require_size(header, path)
    frames, samples = (int(read_number(header, name, path, 1)) for name in ("NumberOfFrames", "SamplesPerPixel"))
    if frames > 1 or samples > 1:
        kind = f"{frames} frames" if frames > 1 else f"{samples} colours"
        raise InputError(f"expected one grey frame in {path}, but it has {kind}; convert it to NIfTI or to pictures")


def _check_alike(headers: Sequence[Any], paths: Sequence[Path]) -> None:
    for name in SAME:
        for header, path in zip(headers, paths, strict=True):
            values = [read_numbers(headers[0], name, paths[0]), read_numbers(header, name, path)]
            if len(values[0]) != len(values[1]) or not np.allclose(values[0], values[1], atol=1e-3):
                raise InputError(
                    f"expected one {name} in all files of a series, but {paths[0]} has {values[0]} and {path} {values[1]}; move "
                    "the files of the other images away"
                )


def _positions(headers: Sequence[Any], paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal of the slices (3,), and the position of each slice (N, 3), mm."""
    for header, path in zip(headers, paths, strict=True):
        if not all(read_numbers(header, name, path) for name in ("ImagePositionPatient", "ImageOrientationPatient")):
            raise InputError(
                f"expected the position and orientation of every slice in its header, but {path} lacks them; name single files"
            )
    normal = np.cross(*np.reshape(read_numbers(headers[0], "ImageOrientationPatient", paths[0]), (2, 3)))
    return normal, np.array(
        [read_numbers(header, "ImagePositionPatient", path) for header, path in zip(headers, paths, strict=True)]
    )


def _step(positions: np.ndarray, normal: np.ndarray, pixel: float, paths: Sequence[Path]) -> np.ndarray:
    """Return the vector from one slice to the next, mm; it is not along the normal where the gantry was tilted.

    Args:
        positions: (N, 3) of the slices in their order, mm.
        normal: of the slices (3,).
        pixel: shorter side of a pixel, mm.
        paths: their files.

    Raises:
        InputError: two slices are at one place, the distances differ, or the slices are not along one line.
    """
    steps = np.diff(positions @ normal)
    if steps.min() <= UNEVEN * steps.max():
        index = int(steps.argmin())
        raise InputError(
            f"expected one slice at each position, but {paths[index]} and {paths[index + 1]} are at the same one, as phases of a "
            "sequence are; move all but one phase away"
        )
    if steps.max() - steps.min() > UNEVEN * steps.max():
        index = int(steps.argmax())
        raise InputError(
            f"expected slices at equal distances, but they are from {steps.min():.4g} to {steps.max():.4g} mm, the largest between "
            f"{paths[index]} and {paths[index + 1]}; restore the missing slices"
        )
    step: np.ndarray = (positions[-1] - positions[0]) / (len(positions) - 1)
    beside = positions - positions[0] - np.arange(len(positions))[:, None] * step  # (N, 3)
    beside -= np.outer(beside @ normal, normal)
    shifts = np.linalg.norm(beside, axis=1)
    if shifts.max() > SHIFT * pixel:
        index = int(shifts.argmax())
        raise InputError(
            f"expected the positions of all slices on one line, but {paths[index]} is {shifts[index]:.4g} mm beside the line from "
            f"{paths[0]} to {paths[-1]}; move the slices of another volume away, or resample the series to one grid"
        )
    return step


def _pixel_spacing(header: Any, path: Path) -> tuple[float, float] | None:
    """Return the height and width of a pixel, mm: of the patient, or of the detector of a radiograph."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if numbers := read_numbers(header, name, path):
            return numbers[0], numbers[1]
    return None


def _affine(header: Any, path: Path, step: np.ndarray | None) -> np.ndarray | None:
    """Return the affine from (column, row, slice) to the patient, mm to the right, anterior and superior.

    Of a single slice, which has no step to the next one, the third axis is the normal. Source: DICOM PS3.3, C.7.6.2.1.1, equation
    C.7.6.2.1-1, and of several slices nibabel's "DICOM affines": last minus first position, by the number of steps.
    """
    names = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    spacing, position, orientation = (read_numbers(header, name, path) for name in names)
    if not (spacing and position and orientation):
        return None
    along_columns, along_rows = np.reshape(orientation, (2, 3))
    affine = np.eye(4)
    affine[:3, 0] = along_columns * spacing[1]
    affine[:3, 1] = along_rows * spacing[0]
    normal = np.cross(along_columns, along_rows)
    affine[:3, 2] = normal * read_number(header, "SliceThickness", path, 1.0) if step is None else step
    affine[:3, 3] = position
    return TO_RAS @ affine

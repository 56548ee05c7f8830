"""Read DICOM series: one volume from the single-frame files of a series, ordered by their place in the patient."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.volumes.geometry import Geometry
from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file

PREAMBLE = 128  # bytes before the four letters that begin a DICOM file
UNEVEN = 0.01  # share of the spacing by which the distance of two slices may differ from it; headers are rounded
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SOP classes: of segments, of labels
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and posterior, NIfTI to the right and anterior
SAME = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")  # in all files of a volume


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM files do, whatever its name."""
    try:
        with path.open("rb") as file:
            file.seek(PREAMBLE)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def is_segmentation(path: Path) -> bool:
    """Return whether a file is a DICOM segmentation object, which is no image; raise InputError if it is damaged."""
    return is_dicom(path) and read_header(path).get("SOPClassUID") in SEGMENTATIONS


def is_image(path: Path) -> bool:
    """Return whether a file is DICOM, and no segmentation; raise InputError if it is damaged."""
    return is_dicom(path) and not is_segmentation(path)


def find_series(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the DICOM files among paths by their series, in the order of first appearance.

    Other files, and segmentations, are left out.
    """
    series: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if is_dicom(path) and (header := read_header(path)).get("SOPClassUID") not in SEGMENTATIONS:
            series[str(header.get("SeriesInstanceUID", ""))].append(path)
    return dict(series)


def read_series(paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
    """Read the files of one series.

    Args:
        paths: its files, in any order.

    Returns:
        Values (x, y, z, 1), with slope and intercept applied: columns, rows, slices along the normal; and their geometry.

    Raises:
        InputError: a file is broken, has several frames or colours, or the slices are not those of one evenly spaced volume.
    """
    ordered, geometry = _arrange(paths)
    return np.stack([_read_pixels(path).T for path in ordered], axis=-1)[..., None], geometry  # (columns, rows, slices, 1)


def read_series_geometry(paths: Sequence[Path]) -> Geometry:
    """Read the headers of one series; arguments and errors as in `read_series`."""
    return _arrange(paths)[1]


def read_slice(path: Path) -> np.ndarray:
    """Read a single file: values (rows, columns), with slope and intercept applied, white is high; errors as in `read_series`."""
    _check_single(read_header(path), path)
    return _read_pixels(path)


def series_files(folder: Path) -> list[Path]:
    """Return the files of the only series in a folder, sorted by name; raise InputError if there are several, or none."""
    series = find_series(sorted(path for path in folder.iterdir() if path.is_file()))
    if len(series) != 1:
        for path in (path for files in series.values() for path in files):
            if "Rows" not in read_header(path):  # its end is missing, and perhaps that of the series' name
                raise InputError(f"expected a DICOM image in {path}, but it cannot be read (it has no size); replace it")
        examples = ", ".join(files[0].name for files in series.values())
        raise InputError(
            f"expected one DICOM series in {folder}, but there are {len(series)}{f' (of {examples})' * bool(series)}; give each a "
            "folder of its own"
        )
    return next(iter(series.values()))


def _arrange(paths: Sequence[Path]) -> tuple[list[Path], Geometry]:
    """Return the files of a series in the order of their slices, and their geometry."""
    headers = [read_header(path) for path in paths]
    for header, path in zip(headers, paths, strict=True):
        _check_single(header, path)
    _check_alike(headers, paths)
    places = _places(headers, paths)
    order = list(np.argsort(places))
    step = _step([places[index] for index in order], [paths[index] for index in order])
    first, folder = headers[order[0]], paths[order[0]]
    affine = _affine(first, step)
    spacing = _pixel_spacing(first)
    thickness = step or float(first.get("SliceThickness") or 1.0)
    geometry = Geometry(
        folder if len(paths) == 1 else folder.parent, (int(first.Columns), int(first.Rows), len(paths)), 1,
        (spacing[1], spacing[0], thickness) if spacing else None, {} if affine is None else {"dicom": affine},
    )  # fmt: skip
    return [paths[index] for index in order], geometry


def read_header(path: Path) -> Any:
    """Read a DICOM file without its pixels; raise InputError if it is damaged."""
    import pydicom

    require_file(path, "a DICOM file", "replace it")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom raises nearly any exception for a damaged file
        raise InputError(f"expected a DICOM file in {path}, but it cannot be read ({in_one_line(error)}); replace it") from None


def _check_single(header: Any, path: Path) -> None:
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)
    if frames > 1 or samples > 1:
        kind = f"{frames} frames" if frames > 1 else f"{samples} colours"
        raise InputError(f"expected one grey frame in {path}, but it has {kind}; convert it to NIfTI or to pictures")


def _check_alike(headers: Sequence[Any], paths: Sequence[Path]) -> None:
    for name in SAME:
        for header, path in zip(headers, paths, strict=True):
            values = [[float(number) for number in np.atleast_1d(item.get(name, []))] for item in (headers[0], header)]
            if len(values[0]) != len(values[1]) or not np.allclose(values[0], values[1], atol=1e-3):
                raise InputError(
                    f"expected one {name} in all files of a series, but {paths[0]} has {values[0]} and {path} {values[1]}; move "
                    "the files of the other images away"
                )


def _places(headers: Sequence[Any], paths: Sequence[Path]) -> list[float]:
    """Return the position of each slice along the normal of the slices, mm."""
    if len(headers) == 1:
        return [0.0]
    for header, path in zip(headers, paths, strict=True):
        if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
            raise InputError(
                f"expected the position and orientation of every slice in its header, but {path} lacks them; name single files"
            )
    normal = np.cross(*np.reshape([float(number) for number in headers[0].ImageOrientationPatient], (2, 3)))
    return [float(normal @ [float(number) for number in header.ImagePositionPatient]) for header in headers]


def _step(places: Sequence[float], paths: Sequence[Path]) -> float | None:
    """Return the distance of neighbouring slices, mm, or None for a single slice.

    Raises:
        InputError: two slices are at one place, or the distances differ.
    """
    if len(places) == 1:
        return None
    steps = np.diff(places)
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
    return float(steps.mean())


def _pixel_spacing(header: Any) -> tuple[float, float] | None:
    """Return the height and width of a pixel, mm: of the patient, or of the detector of a radiograph."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if numbers := header.get(name):
            return float(numbers[0]), float(numbers[1])
    return None


def _affine(header: Any, step: float | None) -> np.ndarray | None:
    """Return the affine from (column, row, slice) to the patient, mm to the right, anterior and superior.

    Source: DICOM PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    spacing = header.get("PixelSpacing")
    if spacing is None or "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
        return None
    along_columns, along_rows = np.reshape([float(number) for number in header.ImageOrientationPatient], (2, 3))
    affine = np.eye(4)
    affine[:3, 0] = along_columns * float(spacing[1])
    affine[:3, 1] = along_rows * float(spacing[0])
    affine[:3, 2] = np.cross(along_columns, along_rows) * (step or float(header.get("SliceThickness") or 1.0))
    affine[:3, 3] = [float(number) for number in header.ImagePositionPatient]
    return TO_RAS @ affine


def _read_pixels(path: Path) -> np.ndarray:
    """Read the values of a slice (rows, columns), with slope and intercept applied; white is high in any photometric form."""
    import pydicom

    try:
        data = pydicom.dcmread(path)
        values = data.pixel_array
    except Exception as error:  # of the decoders, too
        raise InputError(
            f"expected pixels in {path}, but they cannot be read ({in_one_line(error)}); replace the file, or convert it to "
            "uncompressed DICOM"
        ) from None
    slope, intercept = float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0)
    if (slope, intercept) != (1, 0):
        values = values * slope + intercept
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() - values
    return values

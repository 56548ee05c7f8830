"""Lists of images, and DICOM series made by pydicom, whose voxels are where the standard says."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RTStructureSetStorage,
    generate_uid,
)

from medtransfer.data.volumes import acquisition_axis, read_geometry, turn_onto
from medtransfer.data.volumes.dicom import find_series, read_series, read_slice
from medtransfer.errors import InputError
from medtransfer.predict import pixels
from medtransfer.predict.channel_files import list_cases
from medtransfer.predict.images import _list_series, list_images, read_pixels
from medtransfer.predict.reference_masks import find_masks, refuse_masks
from medtransfer.prepare.readers.contract import match_group
from medtransfer.records import ImageRule

OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # direction of a row of pixels, and of a column; mm to the left, posterior, superior
ORIGIN, SPACING, STEP = np.array([-30.0, 12.5, 80.0]), (0.7, 0.9), 3.0  # height and width of a pixel


def write_slice(path: Path, pixels: np.ndarray, index: int = 0, series: str = "1.2.3", **tags: object) -> Path:
    """Write one CT slice; `index` is its place along the normal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "Modality": "CT",
        "SeriesInstanceUID": series,
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "RescaleSlope": 2,
        "RescaleIntercept": -1024,
        "PixelSpacing": list(SPACING), "ImageOrientationPatient": OBLIQUE, "SliceThickness": 5,
        "ImagePositionPatient": [round(float(x), 6) for x in ORIGIN + index * STEP * normal], "InstanceNumber": 99 - index, **tags,
    }  # fmt: skip
    for name, value in values.items():
        if value is not None:
            setattr(data, name, value)
    data.PixelData = pixels.astype(np.int64).astype(np.uint16).tobytes()
    pydicom.dcmwrite(path, data)
    return path


def write_series(folder: Path, volume: np.ndarray, **tags: object) -> list[Path]:
    """Write the slices (N, rows, columns) under names that say nothing of their order."""
    return [write_slice(folder / f"{'cabedf'[index % 6]}{index}", pixels, index, **tags) for index, pixels in enumerate(volume)]


def test_a_voxel_of_a_series_is_where_the_standard_says(tmp_path: Path) -> None:
    """PS3.3 C.7.6.2.1.1: position + column direction x column index x width + row direction x row index x height, in LPS."""
    volume = np.random.default_rng(0).integers(0, 4000, (5, 6, 7))
    values, geometry = read_series(write_series(tmp_path / "s", volume))
    assert values.shape == (7, 6, 5, 1) and geometry.shape == (7, 6, 5)
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    for column, row, index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (3, 2, 4)):
        assert values[column, row, index, 0] == 2 * volume[index, row, column] - 1024
        place = (
            ORIGIN + index * STEP * normal + np.array(OBLIQUE[:3]) * SPACING[1] * column + np.array(OBLIQUE[3:]) * SPACING[0] * row
        )
        found = geometry.affine @ [column, row, index, 1]
        assert np.allclose(found[:3], place * [-1, -1, 1], atol=1e-5)  # to the right and anterior
    assert geometry.spacing == pytest.approx((0.9, 0.7, 3.0)) and geometry.voxel_volume == pytest.approx(0.9 * 0.7 * 3)


def write_tilted(folder: Path, volume: np.ndarray, shift: float = 2.0, **tags: object) -> list[Path]:
    """Write axial slices (N, rows, columns) 4 mm apart, each `shift` mm to the back of the one below, as of a tilted gantry."""
    return [
        write_slice(folder / f"{9 - index}.dcm", pixels, index, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                    ImagePositionPatient=[0, shift * index, 4 * index], **{"PixelSpacing": [1, 1], **tags})
        for index, pixels in enumerate(volume)
    ]  # fmt: skip


def test_the_slices_of_a_tilted_gantry_are_where_their_positions_say(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 4000, (5, 6, 7))
    values, geometry = read_series(write_tilted(tmp_path / "s", volume))
    assert np.array_equal(values[..., 0], 2 * volume.transpose(2, 1, 0) - 1024)
    assert np.allclose(geometry.affine, [[-1, 0, 0, 0], [0, -1, -2, 0], [0, 0, 4, 0], [0, 0, 0, 1]], atol=1e-12)
    assert geometry.spacing == pytest.approx((1, 1, np.sqrt(20))) and acquisition_axis(geometry.spacing) == 2
    assert geometry.voxel_volume == pytest.approx(4)  # mm³: 1 x 1 by the 4 mm between two planes
    assert geometry.pixel_spacing(2) == (1, 1) and geometry.pixel_spacing(1) == pytest.approx((np.sqrt(20), 1))
    assert geometry.pixel_spacing(0) is None  # (y, z) is a parallelogram


@pytest.mark.parametrize(("shift", "is_known"), [(0.02, True), (0.08, False)])
def test_a_tilt_of_a_degree_leaves_no_rectangles_but_rounding_does(shift: float, is_known: bool, tmp_path: Path) -> None:
    geometry = read_series(write_tilted(tmp_path / "s", np.zeros((5, 6, 7)), shift))[1]
    assert (geometry.pixel_spacing(0) is not None) is is_known


def test_a_mask_on_a_tilted_series_has_its_shear(tmp_path: Path) -> None:
    image = read_series(write_tilted(tmp_path / "s", np.zeros((5, 6, 7))))[1]
    labels = np.arange(210, dtype=np.uint8).reshape(7, 6, 5)
    sheared = np.array([[-1.0, 0, 0, 0], [0, -1, -2, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    flipped = sheared.copy()
    flipped[:, 2], flipped[:3, 3] = -sheared[:, 2], 4 * sheared[:3, 2]  # from the last slice to the first
    for affine, stored in ((sheared, labels), (flipped, labels[..., ::-1])):
        nib.save(nib.Nifti1Image(stored, affine), tmp_path / "m.nii.gz")
        turn = turn_onto(image, read_geometry(tmp_path / "m.nii.gz"))
        assert np.array_equal(nib.orientations.apply_orientation(stored, turn), labels)
    nib.save(nib.Nifti1Image(labels, np.diag([-1.0, -1, 4, 1])), tmp_path / "m.nii.gz")
    with pytest.raises(InputError, match="a mask on the voxels of"):
        turn_onto(image, read_geometry(tmp_path / "m.nii.gz"))
    assert read_geometry(tmp_path / "m.nii.gz").voxel_volume == pytest.approx(4)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 3), (3, 1)])
def test_a_slice_beside_the_line_of_the_others_is_refused(spacing: tuple[int, int], tmp_path: Path) -> None:
    paths = write_tilted(tmp_path / "s", np.zeros((5, 6, 7)), PixelSpacing=list(spacing))
    data = pydicom.dcmread(paths[3])
    for moved, fits in ((6.2, True), (6.3, False)):  # mm; a quarter of a pixel's shorter side is tolerated
        data.ImagePositionPatient = [0, moved, 12]
        data.save_as(paths[3])
        if fits:
            assert read_series(paths)[0].shape == (7, 6, 5, 1)
    with pytest.raises(
        InputError, match=r"all slices on one line, but .*6\.dcm is 0\.3 mm beside the line from .*9\.dcm to .*5\.dcm"
    ):
        read_series(paths)


def test_distances_that_differ_by_rounding_put_no_slice_beside_the_line(tmp_path: Path) -> None:
    """Slices 100 mm apart, one of them .4 mm too far: more than a quarter of a pixel, but along the normal."""
    paths = write_tilted(tmp_path / "s", np.zeros((4, 6, 7)))
    for path, height in zip(paths, (0, 100.4, 200, 300), strict=True):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient = [0, 0, height]
        data.save_as(path)
    assert read_series(paths)[1].spacing == pytest.approx((1, 1, 100))


def test_the_order_of_files_does_not_count(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", np.random.default_rng(0).integers(0, 4000, (5, 6, 7)))
    assert np.array_equal(read_series(paths)[0], read_series(paths[::-1])[0])


def test_a_radiograph_has_the_spacing_of_its_detector_and_white_is_high(tmp_path: Path) -> None:
    pixels = np.arange(12).reshape(3, 4)
    tags = {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.3], "ImagePositionPatient": None, "ImageOrientationPatient": None,
            "PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": None, "RescaleIntercept": None}  # fmt: skip
    values, geometry = read_series([write_slice(tmp_path / "x.dcm", pixels, **tags)])
    assert np.array_equal(values[..., 0, 0].T, 2**16 - 1 - pixels)
    assert geometry.affine is None and geometry.spacing == pytest.approx((0.3, 0.2, 5.0))


@pytest.mark.parametrize(
    ("stored", "inverted", "tags"),
    [(lambda v: v, lambda v: 4095 - v, {"BitsStored": 12, "HighBit": 11}),
     (lambda v: v, lambda v: 65535 - v, {}),
     (lambda v: v - 2000, lambda v: -1 - (v - 2000), {"PixelRepresentation": 1})],
    ids=["12 bits", "16 bits", "signed"],
)  # fmt: skip
def test_an_inverted_series_is_read_as_its_original(stored: Callable, inverted: Callable, tags: dict, tmp_path: Path) -> None:
    """By the range of the bits stored, not by the maximum of each slice: slices of different maxima keep their differences."""
    volume = np.random.default_rng(0).integers(0, 1000, (4, 6, 7)) * np.arange(1, 5)[:, None, None]
    tags = {"Modality": "MR", "RescaleIntercept": -50, **tags}
    read = read_series(write_series(tmp_path / "a", stored(volume), **tags))[0]
    copy = write_series(tmp_path / "b", inverted(volume), PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.array_equal(read[..., 0], 2 * stored(volume).transpose(2, 1, 0) - 50)
    assert np.array_equal(read_series(copy)[0], read)


@pytest.mark.parametrize("tags", [{}, {"Modality": "OT", "RescaleType": "HU"}])
def test_hounsfield_units_do_not_depend_on_how_they_are_shown(tags: dict, tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.2: MONOCHROME1 says which value is shown as white, after slope and intercept (C.11.1)."""
    volume = np.random.default_rng(0).integers(0, 2000, (3, 6, 7))
    paths = write_series(tmp_path / "s", volume, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.array_equal(read_series(paths)[0][..., 0], 2 * volume.transpose(2, 1, 0) - 1024)


@pytest.mark.parametrize(
    ("tags", "stored"),
    [({"PixelPaddingValue": -2000, "PixelRepresentation": 1}, -2000), ({"PixelPaddingValue": 63536}, 63536),
     ({"PixelPaddingValue": 0}, 0), ({"PixelPaddingValue": 9000, "PixelPaddingRangeLimit": 9500}, 9200),
     ({"PixelPaddingValue": 9500, "PixelPaddingRangeLimit": 9000}, 9000),
     ({"PixelPaddingValue": 4095, "PhotometricInterpretation": "MONOCHROME1", "Modality": "MR", "BitsStored": 12, "HighBit": 11},
      4095)],
)  # fmt: skip
def test_padding_has_the_lowest_value_of_the_series(tags: dict, stored: int, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(100, 4000, (3, 6, 7))
    inside = volume.copy()
    volume[:, :2] = stored
    sign = -1 if "PhotometricInterpretation" in tags else 1
    expected = (inside if sign == 1 else 4095 - inside) * 2 - 1024
    expected[:, :2] = expected[:, 2:].min()
    paths = write_series(tmp_path / "s", volume, **tags)
    assert np.array_equal(read_series(paths)[0][..., 0], expected.transpose(2, 1, 0))
    alone = expected[0].copy()
    alone[:2] = alone[2:].min()
    assert np.array_equal(read_slice(paths[0]), alone)


def test_an_image_of_padding_alone_stays_as_it_is(tmp_path: Path) -> None:
    values = read_series(write_series(tmp_path / "s", np.full((3, 4, 4), 7), PixelPaddingValue=7))[0]
    assert (values == 2 * 7 - 1024).all()


def test_a_padding_value_beyond_the_bits_of_the_pixels_is_none(tmp_path: Path) -> None:
    """It has 16 bits whatever the pixels have: 300 is not 44 of 8 bits."""
    path = write_slice(tmp_path / "x.dcm", np.zeros((2, 2)), PixelPaddingValue=300, RescaleSlope=None, RescaleIntercept=None)
    data = pydicom.dcmread(path)
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = bytes([44, 5, 44, 200])
    data.save_as(path)
    assert np.array_equal(read_slice(path), [[44, 5], [44, 200]])


def test_overlays_in_the_bits_above_the_values_are_not_inverted(tmp_path: Path) -> None:
    pixels = np.array([[0, 4095], [4096, 5000]])
    tags = {"Modality": "MR", "BitsStored": 12, "HighBit": 11, "RescaleSlope": None, "RescaleIntercept": None}
    read = read_slice(write_slice(tmp_path / "x.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **tags))
    assert np.array_equal(read, 4095 - pixels % 4096)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(lambda paths: paths.pop(2), "slices at equal distances, .* 3 to 6 mm, .*restore the missing slices"),
     (lambda paths: write_slice(paths[1], np.zeros((6, 7)), 0), "one slice at each position"),
     (lambda paths: write_slice(paths[1], np.zeros((5, 7)), 1), "one Rows in all files"),
     (lambda paths: write_slice(paths[1], np.zeros((6, 7)), 1, ImagePositionPatient=None), "position and orientation of"),
     (lambda paths: write_slice(paths[1], np.zeros((6, 7)), 1, NumberOfFrames=3), "one grey frame .* 3 frames; convert"),
     (lambda paths: paths[1].write_bytes(paths[1].read_bytes()[:-20]), "expected pixels in"),
     (lambda paths: write_slice(paths[1], np.zeros((6, 7)), 1, BitsStored=None), "expected pixels in .*Bits Stored"),
     (lambda paths: paths[1].write_bytes(b"x" * 200), "expected a DICOM file")],
)  # fmt: skip
def test_files_that_are_no_volume_are_refused(spoil: Callable, message: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", np.zeros((5, 6, 7)))
    spoil(paths)
    with pytest.raises(InputError, match=message):
        read_series(paths)


def test_decomposed_names_are_those_of_composed_masks(tmp_path: Path) -> None:
    """As macOS writes them and archives keep them; a mask, a folder and a pattern may be written either way."""
    written, typed = (unicodedata.normalize(form, "Müller") for form in ("NFD", "NFC"))
    assert written != typed
    for folder, name in (("images", written), ("masks", typed)):
        (tmp_path / folder / name).mkdir(parents=True)
        for ending in ("a.png", f"{name}.png"):
            Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / folder / name / ending)
        write_series(tmp_path / folder / f"{name}2", np.zeros((2, 4, 4)))
    images = list_images(tmp_path / "images")
    assert sorted(image.name for image in images) == [f"{typed}/{typed}", f"{typed}/a", f"{typed}2"]
    pictures = [image for image in images if not image.is_volume]
    assert find_masks(pictures, tmp_path / "masks", "").keys() == {f"{typed}/{typed}", f"{typed}/a"}
    for pattern in (typed, written):
        assert [case.name for case in list_cases(tmp_path / "images", [f"{pattern}/{{case}}"])] == [typed, "a"]
        assert match_group(written, f"({pattern})", tmp_path) == typed
    assert list_images(tmp_path / "images" / written / f"{written}.png")[0].name == typed


def test_a_folder_is_listed_with_all_kinds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "sub/b.jpg", "c_mask.png", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    (tmp_path / "v.nii.gz").touch()
    (tmp_path / "notes.txt").write_text("x")
    write_series(tmp_path / "ct", np.zeros((2, 4, 4)))
    for series in ("1.2.4", "1.2.5"):
        write_series(tmp_path / "two" / series[-1], np.zeros((2, 4, 4)), series=series)
    for path in sorted((tmp_path / "two").glob("*/*")):
        path.rename(tmp_path / "two" / f"{path.parent.name}{path.name}")
    listed = {image.name: (image.is_volume, len(image.files)) for image in list_images(tmp_path, "_mask")}
    assert listed == {
        "a": (False, 1), "sub/b": (False, 1), "v": (True, 1), "ct": (True, 2), "two-1": (True, 2), "two-2": (True, 2)
    }  # fmt: skip
    assert "1 file is passed over in" in caplog.text and "notes.txt" in caplog.text


def write_two(folder: Path, **numbers: int | None) -> dict[str, Path]:
    """Write two series into one folder, the first by name of the higher UID."""
    paths = {}
    for name, uid in (("a", "1.2.9"), ("b", "1.2.8")):
        pixels = np.full((4, 4), ord(name))
        paths[name] = write_slice(
            folder / f"{name}.dcm", pixels, series=uid, SeriesNumber=numbers.get(name), SeriesDescription=f"T {name}"
        )
    return paths


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [({"a": 4, "b": 301}, {"two-4": "a", "two-301": "b"}), ({"a": 301, "b": 4}, {"two-4": "b", "two-301": "a"}),
     ({"a": 7, "b": 7}, {"two-1": "b", "two-2": "a"}), ({}, {"two-1": "b", "two-2": "a"}),
     ({"a": 3}, {"two-1": "a", "two-2": "b"})],
)  # fmt: skip
def test_series_of_one_folder_are_named_by_their_numbers(
    numbers: dict[str, int], expected: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    paths = write_two(tmp_path / "two", **numbers)
    images = list_images(tmp_path)
    assert {image.name: image.files for image in images} == {name: (paths[own],) for name, own in expected.items()}
    assert [image.name for image in images] == list(expected)
    for image in images:
        own = expected[image.name]
        assert image.series["SeriesInstanceUID"] == {"a": "1.2.9", "b": "1.2.8"}[own]
        assert image.series["SeriesDescription"] == f"T {own}"
        assert image.series.get("SeriesNumber") == (str(numbers[own]) if own in numbers else None)
    first, own = next(iter(expected.items()))
    assert f"predict: {first} is one of 2 series in {tmp_path / 'two'}: SeriesInstanceUID 1.2." in caplog.text
    assert f"SeriesDescription T {own}" in caplog.text


def test_a_damaged_series_number_is_none(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", np.ones((2, 4, 4)), SeriesNumber=12345)
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"12345", b"1/../"))
    (image,) = list_images(tmp_path)
    assert image.name == "s" and len(image.files) == 2 and image.series == {"SeriesInstanceUID": "1.2.3"}
    write_slice(tmp_path / "s/other", np.ones((4, 4)), series="1.2.9", SeriesNumber=3)
    assert [image.name for image in list_images(tmp_path)] == ["s-1", "s-2"]


def test_a_further_series_does_not_move_the_names_of_others(tmp_path: Path) -> None:
    write_two(tmp_path / "two", a=4, b=301)
    before = {image.name: image.files for image in list_images(tmp_path)}
    write_slice(tmp_path / "two/0.dcm", np.zeros((4, 4)), series="1.2.1", SeriesNumber=5)
    after = {image.name: image.files for image in list_images(tmp_path)}
    assert list(after) == ["two-4", "two-5", "two-301"] and before.items() <= after.items()


def test_what_is_passed_over_is_said_once_also_where_masks_are_beside_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, "x.png x_gt.png y.png y_gt.png")
    (tmp_path / "notes.txt").touch()
    masks = find_masks(list_images(tmp_path, "_gt"), tmp_path, "_gt")
    assert masks == {name: tmp_path / f"{name}_gt.png" for name in "xy"}
    assert [record.getMessage().count("notes.txt") for record in caplog.records] == [1]


def test_a_dicom_file_is_found_by_its_content(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "IM0001", np.zeros((4, 4)))
    assert find_series([path, Path(__file__), tmp_path]) == {"1.2.3": [path]}
    assert [image.is_volume for image in list_images(path)] == [True]


def test_a_damaged_slice_is_of_every_series_that_it_may_be_of(tmp_path: Path) -> None:
    """Else the series that it is of would be read without it."""
    for name in ("1.2.3", "1.2.4"):
        paths = [write_slice(tmp_path / "s" / f"{name}-{index}", np.ones((4, 4)), index, series=name) for index in range(3)]
    broken, whole = paths[-1], paths[-1].read_bytes()
    for length in (133, 250, 400):
        broken.write_bytes(whole[:length])
        found = find_series(sorted((tmp_path / "s").iterdir()))
        assert [members[-1] for members in found.values()] == [broken, broken] and list(map(len, found.values())) == [4, 3]
        for image in list_images(tmp_path):
            with pytest.raises(InputError, match=re.escape(str(broken))):
                read_pixels(image, ImageRule("percentiles", 1, 99, over="volume", axis=2), 1, None)
    assert find_series([broken]) == {"": [broken]}


def test_an_object_of_an_unknown_class_of_the_standard_may_be_damaged(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "s", np.ones((2, 4, 4)))
    path = write_slice(tmp_path / "s" / "new", np.ones((4, 4)), 2)
    data = pydicom.dcmread(path)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.999")
    del data.Rows
    data.save_as(path)
    assert find_series([*slices, path]) == {"1.2.3": [*slices, path]}


def test_objects_without_pixels_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "s", np.ones((2, 4, 4)))
    for name, kind in (("plan", RTStructureSetStorage), ("report", BasicTextSRStorage), ("DICOMDIR", MediaStorageDirectoryStorage),
                       ("private", UID("1.3.12.2.1107.5.9.1"))):  # fmt: skip
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SeriesInstanceUID = kind, f"1.2.{len(name)}"
        data.save_as(tmp_path / "s" / name)
    (image,) = list_images(tmp_path)
    assert len(image.files) == 2 and "4 files are passed over" in caplog.text


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "there are none"), (["a.png", "a.nii.gz"], "one image per name"), (["notes.txt"], "there are none")],
)  # fmt: skip
def test_a_folder_without_clear_images_is_refused(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("masks", "fitting"),
    [
        (["1_seg", "2_seg"], "_seg"),
        (["1", "2"], "''"),  # in their own folder
        (["10", "1_seg", "20", "2_seg"], "_seg"),  # 10 and 20 are masks of others
        (["1_img", "1_mask", "2_img", "2_mask"], "_mask"),
        (["1_a", "1_b", "2_a", "2_b"], None),  # any of both
        (["1_seg"], None),
    ],
)
def test_the_suffix_that_fits_all_images_is_proposed(masks: list[str], fitting: str | None, tmp_path: Path) -> None:
    for path in (*(f"images/{name}" for name in "12"), *(f"masks/{name}" for name in masks)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{path}.png")
    with pytest.raises(InputError) as error:
        find_masks(list_images(tmp_path / "images"), tmp_path / "masks", "_other")
    assert str(error.value).endswith("(--mask-suffix)" if fitting is None else f"is set by `--mask-suffix {fitting}`")


def test_images_are_never_proposed_as_their_own_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="correct predict.masks"):
        find_masks(list_images(Path()), tmp_path, "_gt")


def test_masks_are_found_by_name(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a_gt.tif"):
        Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    a, b = list_images(tmp_path, "_gt")
    assert find_masks([a], tmp_path, "_gt") == {"a": tmp_path / "a_gt.tif"}
    assert find_masks([a], tmp_path / "b.png", "") == {"a": tmp_path / "b.png"}
    with pytest.raises(InputError, match=r"b.png has none named b_gt \(1 such\)"):
        find_masks([a, b], tmp_path, "_gt")
    Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "b_gt.png")
    with pytest.raises(
        InputError, match=r"a.png has none named a_mask \(2 such\); the suffix that fits is set by `--mask-suffix _gt`"
    ):
        find_masks([a, b], tmp_path, "_mask")
    with pytest.raises(InputError, match="a folder of masks for 2 images"):
        find_masks([a, b], tmp_path / "a_gt.tif", "")
    with pytest.raises(InputError, match="masks of the images at .*none, but it does not exist; correct predict.masks"):
        find_masks([a, b], tmp_path / "none", "")


@pytest.mark.parametrize(("name", "message"), [("x.docx", r"\.tiff, .*but got .*x\.docx, .*convert"), ("y.png", "does not exist")])
def test_a_file_that_is_no_image_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.docx").write_text("no picture")
    with pytest.raises(InputError, match=message):
        list_images(tmp_path / name)


def write_images(folder: Path, names: str) -> None:
    """Write a file for each name: noise, or two labels if its name ends with `?`, which it then loses."""
    rng = np.random.default_rng(0)
    for name in names.split():
        path = folder / name.rstrip("?")
        path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.integers(0, 2 if name.endswith("?") else 200, (9, 9, 3), dtype=np.uint8)
        nib.save(nib.Nifti1Image(values, np.eye(4)), path) if path.suffix == ".gz" else Pillow.fromarray(values[..., 0]).save(path)


@pytest.mark.parametrize(
    ("names", "number", "example", "remedy"),
    [
        ("x.png x_gt.png y.png", "1 of the 3", "x_gt.png", "add `--mask-suffix _gt`"),
        ("p_frame01.nii.gz p_frame01_gt.nii.gz p_4d.nii.gz", "1 of the 3", "p_frame01_gt.nii.gz", "add `--mask-suffix _gt`"),
        ("a/x.jpg a/x_Segmentation.png", "1 of the 2", "a/x_Segmentation.png", "add `--mask-suffix _Segmentation`"),
        ("x.png x-lung_masks.png", "1 of the 2", "x-lung_masks.png", "add `--mask-suffix -lung_masks`"),
        ("x.tif y.tif x_lesion.png? y_lesion.png?", "2 of the 4", "x_lesion.png", "add `--mask-suffix _lesion`"),
        ("v.nii.gz v_heart.nii.gz?", "1 of the 2", "v_heart.nii.gz", "add `--mask-suffix _heart`"),
        ("c/c_t1.nii.gz c/c_t2.nii.gz c/c_seg.nii.gz?", "1 of the 3", "c_seg.nii.gz", "add `--mask-suffix _seg`"),
        ("x.png x_mask_1.png x_mask_2.png", "2 of the 3", "x_mask_1.png", r"move what is named \*_mask_1, \*_mask_2 to another"),
        ("images/x.png masks/x.png", "1 of the 2", "masks/x.png", "name the folder of the images alone"),
        ("my_segmentation/a/x.png my_segmentation/masks/x.png", "1 of the 2", "masks/x.png", "name the folder of the images alone"),
        ("imagesTr/c_0000.nii.gz labelsTr/c.nii.gz", "1 of the 2", "labelsTr/c.nii.gz", "name the folder of the images alone"),
        ("a/I_01.jpg b/2. Groundtruths/I_01_EX.tif", "1 of the 2", "I_01_EX.tif", "name the folder of the images alone"),
    ],
)
def test_masks_among_images_are_named_with_the_remedy(names: str, number: str, example: str, remedy: str, tmp_path: Path) -> None:
    write_images(tmp_path, names.replace("2. ", "2."))
    expected = (
        rf"{number} files seem to be masks of others, such as {tmp_path}/.*{example}; {remedy}.*, or predict them like images"
    )
    with pytest.raises(InputError, match=expected):
        refuse_masks(list_images(tmp_path), tmp_path)


@pytest.mark.parametrize(
    "names",
    ["x.png y_gt.png", "c.nii.gz c_0000.nii.gz", "x.png x_2.png x_flipped.png", "masks/x.png masks/y.png", "gt5/x.png b/y.png",
     "x.png? x_2.png?", "xgt.png x.png", "x_t1.png y_seg.png", "x_gt.png x_mask.png", "a.png a/b_gt.png", "1.png 10.png 1-0.png"],
)  # fmt: skip
def test_images_that_are_named_alike_are_no_masks(names: str, tmp_path: Path) -> None:
    write_images(tmp_path, names)
    refuse_masks(list_images(tmp_path), tmp_path)


def test_channels_of_a_case_are_found_by_ending_or_pattern(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b_0000.nii.gz", "b_0001.nii.gz", "sub/a_0000.nii", "sub/a_0001.nii", "b_0002.nii.gz", "t1/c.nii", "t2/c.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases = list_cases(tmp_path, ["_0001", "_0000.nii.gz"][:1] + ["_0000"])
    assert [(case.name, [part.name for part in case.parts], case.is_volume) for case in cases] == [
        ("b", ["b_0001.nii.gz", "b_0000.nii.gz"], True), ("sub/a", ["a_0001.nii", "a_0000.nii"], True)
    ]  # fmt: skip
    assert "3 files in" in caplog.text and "are of no channel" in caplog.text
    (case,) = list_cases(tmp_path, ["t1/{case}.nii", "t2/{case}"])
    assert case.name == "c" and case.files == case.parts == (tmp_path / "t1/c.nii", tmp_path / "t2/c.nii")
    for channels, message in (
        (["_0000", "_0002"], "the channel _0002 of the case sub/a in .*, but there is none"),
        (["_7"], "files of the channels _7 in .*, but there are none"),
        (["../{case}"], "option predict.channels to be a folder or a pattern"),
    ):
        with pytest.raises(InputError, match=message):
            list_cases(tmp_path, channels)
    with pytest.raises(InputError, match="a folder of cases, since predict.channels names 1 channels"):
        list_cases(tmp_path / "t1/c.nii", ["_0000"])


def test_the_series_of_channels_have_a_folder_each(tmp_path: Path) -> None:
    for name in ("p1/t1", "p1/t2"):
        write_series(tmp_path / name, np.zeros((3, 4, 4)))
    (case,) = list_cases(tmp_path, ["/t1", "/t2"])
    assert case.name == "p1" and case.is_volume and case.parts == (tmp_path / "p1/t1", tmp_path / "p1/t2")
    assert len(case.files) == 6


@pytest.mark.parametrize(
    ("directions", "said"), [((-1, -1, 1), ""), ((1, -1, 1), "point to RPS"), ((-1, 1, 1), "point to LAS"), (None, "")]
)
def test_a_volume_whose_axes_are_turned_is_noticed(
    directions: tuple[int, int, int] | None, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NIfTI: x, y and z of the affine grow to the right, anterior and superior."""
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
    volume = nib.Nifti1Image(values, np.diag([*(directions or (1, 1, 1)), 1]))
    if directions is None:
        volume.set_sform(None, 0)
        volume.set_qform(None, 0)
    nib.save(volume, tmp_path / "case.nii.gz")
    (image,) = list_images(tmp_path)
    rule = ImageRule("percentiles", 1, 99, over="volume", axis=2, axes="LPS")
    assert read_pixels(image, rule, 1, None).slices.shape[0] == 7
    assert ("volumes that the model was trained on to LPS" in caplog.text) == bool(said) and said in caplog.text
    caplog.clear()
    read_pixels(image, replace(rule, axes=None), 1, None)
    assert not caplog.text


def test_axes_that_no_volume_of_the_target_had_are_noticed_where_they_differed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule = ImageRule("percentiles", 1, 99, over="volume", axis=2, axes="LPS,SLP")
    for name, signs in (("known", (-1, -1, 1)), ("other", (1, 1, 1))):
        values = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([*signs, 1])), tmp_path / f"{name}.nii.gz")
    known, other = list_images(tmp_path)
    read_pixels(known, rule, 1, None)
    assert not caplog.text
    read_pixels(other, rule, 1, None)
    assert "other.nii.gz point to RAS, but those of the volumes that the model was trained on to LPS or SLP" in caplog.text


@pytest.mark.parametrize(
    ("taken", "of", "count", "refused", "noted"),
    [
        ([0], 1, 1, "", False),
        ([0], 1, 5, "expected 1 channel in .*, as the model's target has, but got 5, which may be frames", False),
        ([0, 2], 4, 4, "", False),
        ([0, 2], 4, 5, "expected 4 channels in .*, but got 5", False),
        ([0, 2], 4, 3, "expected 4 channels in .*, but got 3", False),
        ([0, 1], 4, 2, "", False),  # the others were left out of the file before
        ([0, 2], 4, 2, "expected at least 3 channels in .*, but got 2", False),
        ([0, 2], 4, 1, "expected at least 3 channels in .*, but got 1; where every channel is a file, name them", False),
        ([0], None, 5, "", True),  # of a model of an earlier version
        ([0], None, 1, "", False),
    ],
)
def test_a_volume_of_other_channels_than_the_target_had_is_refused(
    taken: list[int],
    of: int | None,
    count: int,
    refused: str,
    noted: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7, count)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1, -1, 1, 1])), tmp_path / "case.nii.gz")
    (image,) = list_images(tmp_path)
    monkeypatch.setattr(pixels, "_NOTED", set())
    rule = ImageRule("percentiles", 0, 100, over="volume", axis=2, channels=taken, of_channels=of)
    if refused:
        with pytest.raises(InputError, match=refused):
            read_pixels(image, rule, len(taken), None)
        return
    for _ in range(2):
        slices = read_pixels(image, rule, len(taken), None).slices
    span = [(values[..., channel].min(), values[..., channel].max()) for channel in taken]
    expected = [(values[..., c].T - low) / (high - low) * 255 for c, (low, high) in zip(taken, span, strict=True)]
    assert np.abs(slices - np.stack(expected, axis=-1)).max() <= 1
    assert caplog.text.count("predict: ") == noted
    assert ("of the 5 channels of images such as" in caplog.text and "only channel 0, counted from 0" in caplog.text) == noted


def test_a_dicom_file_that_ends_anywhere_is_named(tmp_path: Path) -> None:
    """In its header it loses what a volume needs, one thing after the other."""
    first, last = write_series(tmp_path / "s", np.ones((2, 4, 4)))
    whole = last.read_bytes()
    for length in range(140, len(whole), 11):
        last.write_bytes(whole[:length])
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "s"))):
            read_series([first, last])
    last.write_bytes(whole)
    assert read_series([first, last])[0].shape == (4, 4, 2, 1)


def test_what_is_dicom_is_known_by_its_files(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", np.zeros((2, 4, 4)))
    Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "v.nii.gz").touch()
    assert {image.name: image.is_dicom for image in list_images(tmp_path)} == {"ct": True, "a": False, "v": False}
    write_slice(tmp_path / "x.dcm", np.zeros((4, 4)))
    assert list_images(tmp_path / "x.dcm")[0].is_dicom


class _Counted(list[Path]):
    """Counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[Path]:
        self.passes += 1
        return super().__iter__()


def test_the_files_are_gone_through_once_for_all_folders(tmp_path: Path) -> None:
    """Once for each folder took a minute where there are a thousand of 50 slices."""
    volume = np.zeros((2, 4, 4))
    written = [write_series(tmp_path / f"p{number}", volume, SeriesInstanceUID=f"1.2.{number}") for number in range(4)]
    files = _Counted([slices[place] for place in (0, 1) for slices in written])  # folders by turns
    images = _list_series(tmp_path, files)
    assert [image.name for image in images] == ["p0", "p1", "p2", "p3"]
    assert [set(image.files) for image in images] == [set(slices) for slices in written]
    assert files.passes == 1

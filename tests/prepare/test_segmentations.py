"""DICOM segmentations as masks, written by highdicom: labels decide, and positions."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from tests.prepare.test_volume_readers import load, scan
from tests.prepare.volume_layouts import SHAPE, save, write_dicom

from medtransfer.data.volumes import read_geometry
from medtransfer.data.volumes.geometry import place_on
from medtransfer.data.volumes.segmentations import read_segments
from medtransfer.errors import InputError
from medtransfer.predict.images import Pixels, list_images
from medtransfer.predict.reference_masks import find_masks, read_reference
from medtransfer.prepare.mask_values import read_rule

LIVER = np.zeros(SHAPE, bool)  # (x, y, z)
LIVER[2:7, 3:9, 1:3] = True
TUMOUR = np.zeros(SHAPE, bool)
TUMOUR[8:10, 1:3, 2] = True


def write_seg(series: Path, path: Path, segments: Mapping[str, np.ndarray], **changed: Any) -> Path:
    """Write masks (x, y, z) as a segmentation of a series; its empty frames are left out."""
    import highdicom as hd

    slices = [pydicom.dcmread(file) for file in sorted(series.glob("*.dcm"))]
    slices.sort(key=lambda data: data.ImagePositionPatient[2])
    study, frame = generate_uid(), generate_uid()
    for data in slices:
        data.StudyInstanceUID, data.FrameOfReferenceUID, data.SliceThickness = study, frame, 8
        data.Modality = "CT"
        for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
                     "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            setattr(data, name, "")
    described = [
        hd.seg.SegmentDescription(
            number, label, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        ) for number, label in enumerate(segments, start=1)
    ]  # fmt: skip
    pixels = np.stack(list(segments.values()), axis=-1).transpose(2, 1, 0, 3).astype(np.uint8)  # (slices, rows, columns, S)
    made = hd.seg.Segmentation(
        slices, pixels, changed.get("kind", "BINARY"), described, generate_uid(), 2, generate_uid(), 1, "none", "none", "1", "1"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two series; the second has no tumour, so that the liver has another number in it."""
    root = write_dicom(tmp_path / "raw", cases=2)
    for file in (root / "masks").iterdir():
        file.unlink()
    write_seg(root / "images/case0", root / "masks/case0.dcm", {"tumour": TUMOUR, "liver": LIVER})
    write_seg(root / "images/case1", root / "masks/case1.dcm", {"liver": LIVER})
    return root


def masks(described: Any, case: int) -> np.ndarray:
    return np.stack([picture.labels for picture in load(described, case)]).transpose(2, 1, 0)  # (x, y, z)


def test_segments_are_classes_by_their_labels(root: Path) -> None:
    described = scan("dicom", root, classes=["liver", "tumour"])
    assert described.notes == () and [len(item.files) for item in described.items] == [4, 4]
    assert np.array_equal(masks(described, 0), LIVER + 2 * TUMOUR)
    assert np.array_equal(masks(described, 1), LIVER)
    joined = scan("dicom", root, labels={"liver": "foreground", "tumour": "foreground"})
    assert np.array_equal(masks(joined, 0), LIVER | TUMOUR)
    ignored = scan("dicom", root, classes=["liver"], labels={"tumour": "ignore"})
    assert ignored.ignore and np.array_equal(masks(ignored, 0), LIVER + np.uint8(255) * TUMOUR)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"segments labelled 'foreground' in .*case0.dcm, but got 'tumour', 'liver'; .*{tumour: foreground}"),
        ({"classes": ["liver"]}, "segments labelled 'liver' in .*case0.dcm, but got 'tumour'"),
        ({"labels": {"liver": "lung"}}, "option labels to map to one of background, foreground, ignore, but got 'lung'"),
    ],
)
def test_segments_without_a_class_are_named(options: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(InputError, match=message):
        scan("dicom", root, **options)


def test_a_segmentation_beside_its_series_is_no_slice(root: Path, tmp_path: Path) -> None:
    for case in ("case0", "case1"):
        (root / f"masks/{case}.dcm").rename(root / f"images/{case}/seg.dcm")
    described = scan("dicom", root, classes=["liver", "tumour"], masks="images/{case}/seg.dcm")
    assert np.array_equal(masks(described, 0), LIVER + 2 * TUMOUR)
    assert [image.name for image in list_images(root / "images")] == ["case0", "case1"]


def test_label_maps_are_read_and_fractions_refused(root: Path) -> None:
    series, geometry = root / "images/case0", read_geometry(root / "images/case0")
    path = write_seg(series, root / "maps/a.dcm", {"liver": LIVER, "tumour": TUMOUR}, kind="LABELMAP")
    found = read_segments(path, geometry)
    assert list(found) == ["liver", "tumour"] and np.array_equal(found["liver"], LIVER) and np.array_equal(found["tumour"], TUMOUR)
    path = write_seg(series, root / "maps/b.dcm", {"liver": LIVER}, kind="FRACTIONAL")
    with pytest.raises(InputError, match=r"binary or of labels, in .*b.dcm, but it cannot be read \(its type is FRACTIONAL\)"):
        read_segments(path, geometry)


def test_overlapping_classes_and_other_voxels_are_refused(root: Path, tmp_path: Path) -> None:
    write_seg(root / "images/case0", root / "masks/case0.dcm", {"liver": LIVER, "tumour": LIVER})
    described = scan("dicom", root, classes=["liver", "tumour"])
    with pytest.raises(InputError, match="one class per pixel"):
        load(described)
    other = write_dicom(tmp_path / "other", cases=1, step=5)
    with pytest.raises(InputError, match=r"a mask on the voxels of .*12x10x3 of 1.5x2x5 mm.*, but .*case1.dcm has other voxels"):
        read_segments(root / "masks/case1.dcm", read_geometry(other / "images/case0"))


def test_values_of_a_part_are_placed_where_they_are(root: Path, tmp_path: Path) -> None:
    """A box is cut out, its axes are permuted and flipped, and it comes back to its place."""
    image = read_geometry(root / "images/case0")
    values = np.random.default_rng(0).integers(1, 9, (4, 5, 2))
    whole = np.zeros(SHAPE, int)
    whole[3:7, 2:7, 1:3] = values
    affine = np.eye(4)
    affine[:3, 3] = [6, 2, 1]  # of voxel 0 along the flipped first axis
    affine[0, 0] = -1
    place = image.affine @ affine
    assert np.array_equal(place_on(image, values[::-1], place, tmp_path), whole)
    assert np.array_equal(place_on(image, values[::-1].transpose(1, 2, 0), place[:, [1, 2, 0, 3]], tmp_path), whole)
    place[:3, 3] += image.affine[:3, 1] * 4
    with pytest.raises(InputError, match="a mask inside .*case0, but .* reaches beyond it"):
        place_on(image, values, place, tmp_path)


def test_reference_masks_may_be_segmentations(root: Path) -> None:
    images = list_images(root / "images")
    paths = find_masks(images, root / "masks", "")
    rule = read_rule({0: "background", 1: "liver", 2: "tumour"}, ["liver", "tumour"], None, segments=True)
    pixels = Pixels(np.zeros((3, 10, 12, 1), np.uint8), read_geometry(root / "images/case0"))
    assert np.array_equal(read_reference(images[0], pixels, paths["case0"], rule).transpose(2, 1, 0), LIVER + 2 * TUMOUR)
    (root / "masks/case1.dcm").unlink()
    save(root / "masks/case1.nii.gz", LIVER.astype(np.uint8), np.diag([-1.5, -2, 8, 1]))
    paths = find_masks(images, root / "masks", "")
    assert np.array_equal(read_reference(images[1], pixels, paths["case1"], rule).transpose(2, 1, 0), LIVER)


def test_without_its_package_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"highdicom cannot be imported; install it with `pip install 'medtransfer\[dicom-seg\]'`"):
        read_segments(root / "masks/case0.dcm", read_geometry(root / "images/case0"))

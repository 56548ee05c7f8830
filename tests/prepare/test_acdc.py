"""ACDC folders: slices, orientation, and frames of Info.cfg."""

import logging
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.prepare.readers.acdc import scan
from medtransfer.records import PreparedTarget

Run = Callable[..., PreparedTarget]


def write_volume(path: Path, values: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(values, np.diag([-1.4, -1.4, 10, 1])), path)


def write_patient(folder: Path, image: np.ndarray, mask: np.ndarray) -> Path:
    """Write one patient whose ED and ES frames are the given volumes (x, y, z)."""
    home = folder / "training" / "patient001"
    home.mkdir(parents=True)
    (home / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\n")
    for frame in ("01", "09"):
        write_volume(home / f"patient001_frame{frame}.nii.gz", image)
        write_volume(home / f"patient001_frame{frame}_gt.nii.gz", mask)
    write_volume(home / "patient001_4d.nii.gz", np.zeros((2, 2, 2, 3), np.int16))
    return folder


def load_first(root: Path, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(picture.image[..., 0], picture.labels) for picture in scan(root, size, {}).items[0].load()]


def test_slices_are_transposed_scaled_and_numbered(tmp_path: Path) -> None:
    image = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)  # (x, y, z)
    mask = (np.arange(24) % 4).astype(np.uint8).reshape(4, 3, 2)
    root = write_patient(tmp_path, image, mask)
    items = scan(root, (3, 4), {}).items
    assert [(item.split, item.group, item.pictures) for item in items] == [("train", "patient001", 2)] * 2
    low, high = np.percentile(image, (0.5, 99.5))
    expected = np.rint(np.clip((image - low) / (high - low), 0, 1) * 255)
    for z, (pixels, labels) in enumerate(load_first(root, (3, 4))):
        assert np.array_equal(pixels, expected[:, :, z].T)
        assert np.array_equal(labels, mask[:, :, z].T)


def test_empty_masks_and_constant_volumes_are_kept(tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.full((8, 8, 3), 7, np.int16), np.zeros((8, 8, 3), np.uint8))
    pairs = load_first(root, (4, 4))
    assert len(pairs) == 3
    assert all(not image.any() and not mask.any() for image, mask in pairs)


def test_resizing_makes_no_new_labels(tmp_path: Path) -> None:
    mask = np.zeros((16, 16, 1), np.uint8)
    mask[4:12, 4:12] = 3
    root = write_patient(tmp_path, np.random.default_rng(0).normal(size=(16, 16, 1)), mask)
    assert set(np.unique(load_first(root, (11, 7))[0][1])) == {0, 3}


def test_sample_frames_differ_and_the_heart_beats(run: Run) -> None:
    prepared = run("acdc")
    first = prepared.index[prepared.index["group"] == "patient001"]
    areas = {source: int((prepared.masks[lines["row"]] == 3).sum()) for source, lines in first.groupby("source")}
    diastole, systole = areas.values()
    assert systole < 0.7 * diastole


def test_pixels_have_their_size_after_resizing(tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.zeros((4, 6, 2), np.int16), np.zeros((4, 6, 2), np.uint8))  # x 4, y 6, each 1.4 mm
    pictures = list(scan(root, (3, 8), {}).items[0].load())
    assert all(picture.spacing == pytest.approx((2.8, 0.7)) for picture in pictures)


def test_a_mirrored_mask_is_stored_as_its_image(run: Run, copy: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    root = copy("acdc")
    upright = np.array(run("acdc").masks)
    for path in root.rglob("*_gt.nii.gz"):
        mask = nib.load(path)
        values, side = np.asarray(mask.dataobj), mask.shape[0]
        flipped = np.diag([1.4, 1.4, 10, 1.0])
        flipped[:2, 3] = -1.4 * (side - 1)
        nib.save(nib.Nifti1Image(values[::-1, ::-1], flipped), path)
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        mirrored = run("acdc", root=root)
    assert np.array_equal(mirrored.masks, upright)
    assert "LPS with masks RAS in 8 such as training/patient001/patient001_frame01.nii.gz; masks are turned" in caplog.text


def test_volumes_that_point_another_way_are_named(tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.zeros((4, 4, 2), np.int16), np.zeros((4, 4, 2), np.uint8))
    assert scan(root, (4, 4), {}).notes == ()
    for kind in ("", "_gt"):
        nib.save(
            nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.diag([1.4, -1.4, 10, 1])),
            root / f"training/patient001/patient001_frame09{kind}.nii.gz",
        )
    (note,) = scan(root, (4, 4), {}).notes
    assert (
        "LPS with masks LPS in 1 such as" in note
        and "RPS with masks RPS in 1 such as training/patient001/patient001_frame09" in note
    )


def test_a_mask_elsewhere_is_refused_when_its_header_is_read(tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.zeros((8, 8, 3), np.int16), np.zeros((8, 8, 3), np.uint8))
    write_volume(root / "training/patient001/patient001_frame09_gt.nii.gz", np.zeros((8, 7, 3), np.uint8))
    with pytest.raises(InputError, match=r"expected a mask on the voxels of \S*frame09.nii.gz"):
        scan(root, (4, 4), {})


def test_a_fourth_axis_of_length_1_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    image = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)
    plain = load_first(write_patient(tmp_path / "a", image, np.zeros((4, 3, 2), np.uint8)), (3, 4))
    root = write_patient(tmp_path / "b", image[..., None], np.zeros((4, 3, 2, 1), np.uint8))
    (root / "training/patient001/Info.cfg").write_bytes(b"\xef\xbb\xbfED: 1\r\nES: 9\r\n")
    pairs = load_first(root, (3, 4))
    assert len(pairs) == 2
    assert all(np.array_equal(one, other) for one, other in zip(sum(pairs, ()), sum(plain, ()), strict=True))


def test_unpacked_volumes_are_read_but_not_two_of_a_frame(tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.ones((4, 3, 2), np.int16), np.zeros((4, 3, 2), np.uint8))
    home = root / "training/patient001"
    for path in home.glob("*frame*.nii.gz"):
        nib.save(nib.load(path), path.with_suffix(""))
    with pytest.raises(InputError, match=r"one file per frame .* patient001_frame01.nii and patient001_frame01.nii.gz"):
        scan(root, (3, 4), {})
    for path in home.glob("*frame*.nii.gz"):
        path.unlink()
    assert len(load_first(root, (3, 4))) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test", "training/ and testing/ of .*, but got test/ too"),
        ("validation", "but got validation/ too"),
        ("training/subject2", "folders named patientNNN in .*training, but got subject2"),
    ],
)
def test_folders_that_would_not_be_read_are_refused(name: str, message: str, tmp_path: Path) -> None:
    root = write_patient(tmp_path, np.ones((4, 3, 2), np.int16), np.zeros((4, 3, 2), np.uint8))
    (root / "training/.ipynb_checkpoints").mkdir()
    scan(root, (3, 4), {})
    (root / name).mkdir()
    with pytest.raises(InputError, match=message):
        scan(root, (3, 4), {})


def test_a_test_set_without_masks_says_what_to_do(copy: Callable[[str], Path]) -> None:
    root = copy("acdc")
    for path in (root / "testing").rglob("*_gt.nii.gz"):
        path.unlink()
    with pytest.raises(InputError, match=r"masks in .*testing/patient004, but there are none .*`split: {test: .*`subset: true`"):
        scan(root, (3, 4), {})

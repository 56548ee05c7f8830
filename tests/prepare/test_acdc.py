"""ACDC folders: slices, orientation, and frames of Info.cfg."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

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

"""Volumes: masks are turned onto their images by the affines of their headers, or refused."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation
from PIL import Image as Picture

from medtransfer.data.volumes import acquisition_axis, cut, load_volume, read_geometry, stack, turn_onto
from medtransfer.errors import InputError

AFFINE = np.array([[-1.4, 0, 0, 90], [0, -1.4, 0, 120], [0, 0, 10, -30], [0, 0, 0, 1]])
TILT = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # by 37 degrees about z
SHAPE = (6, 5, 3)
VALUES = np.arange(90, dtype=np.int16).reshape(SHAPE)


def save(path: Path, values: np.ndarray, affine: np.ndarray | None, **codes: int) -> Path:
    image = nib.Nifti1Image(values, affine)
    for name, code in codes.items():
        getattr(image, f"set_{name}")(image.get_sform() if affine is None else affine, code=code)
    nib.save(image, path)
    return path


def read_volume(path: Path) -> np.ndarray:
    return load_volume(path).values[..., 0]


def match_axes(image: Path, mask: Path) -> np.ndarray:
    return turn_onto(read_geometry(image), read_geometry(mask))


def pair(folder: Path, mask: np.ndarray, affine: np.ndarray | None, image_affine: np.ndarray | None = AFFINE) -> tuple[Path, Path]:
    return save(folder / "image.nii.gz", VALUES, image_affine), save(folder / "mask.nii.gz", mask, affine)


def moved(order: Sequence[int], flips: Sequence[int], affine: np.ndarray = AFFINE) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip the voxels, and compute the affine that keeps each at its place: mm of voxel (i, j, k) by hand."""
    values = VALUES.transpose(order)
    columns, origin = affine[:3, list(order)], affine[:3, 3].copy()
    for axis in flips:
        values = np.flip(values, axis)
        origin += columns[:, axis] * (values.shape[axis] - 1)
        columns[:, axis] *= -1
    return values, np.vstack([np.column_stack([columns, origin]), [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [AFFINE, TILT @ AFFINE], ids=["upright", "tilted"])
@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), ()), ((0, 1, 2), (0, 1)), ((0, 1, 2), (2,)), ((1, 0, 2), ()), ((2, 0, 1), (0, 2))]
)
def test_a_flipped_or_permuted_mask_is_turned_back(
    order: Sequence[int], flips: Sequence[int], affine: np.ndarray, tmp_path: Path
) -> None:  # fmt: skip
    files = pair(tmp_path, *moved(order, flips, affine), image_affine=affine)
    assert np.array_equal(apply_orientation(read_volume(files[1]), match_axes(*files)), VALUES)


def test_rounded_headers_are_the_same_place(tmp_path: Path) -> None:
    rounded = AFFINE.copy()
    rounded[0, 0], rounded[0, 3] = -1.41, 90.1
    files = pair(tmp_path, VALUES, rounded)
    assert np.array_equal(match_axes(*files), [[0, 1], [1, 1], [2, 1]])


@pytest.mark.parametrize(
    ("values", "affine", "message"),
    [
        (VALUES, AFFINE + np.array([[0, 0, 0, 1.0]] + [[0] * 4] * 3), "origin 91.0, 120.0, -30.0"),
        (VALUES, TILT @ AFFINE, "origin 0.0, 150.0, -30.0"),
        (VALUES, np.diag([-1.4, -1.4, 8, 1]) + AFFINE * [0, 0, 0, 1] - np.diag([0, 0, 0, 1]), "1.4x1.4x8 mm"),
        (VALUES, np.eye(4), "1x1x1 mm, axes RAS"),
        (VALUES[:, :, :2], AFFINE, "6x5x2 of"),
        (VALUES.transpose(1, 0, 2), AFFINE, "5x6x3 of"),
    ],
)
def test_a_mask_elsewhere_is_refused_with_both_files(values: np.ndarray, affine: np.ndarray, message: str, tmp_path: Path) -> None:
    image, mask = pair(tmp_path, values, affine)
    with pytest.raises(InputError) as error:
        match_axes(image, mask)
    assert all(part in str(error.value) for part in (str(image), str(mask), message)), error.value


def test_stacks_without_a_place_are_compared_by_their_size(tmp_path: Path) -> None:
    image, mask = tmp_path / "image.tif", tmp_path / "mask.tif"
    for path, pages in ((image, 4), (mask, 3)):
        first, *others = [Picture.fromarray(np.full((5, 7), page, np.uint8)) for page in range(pages)]
        first.save(path, save_all=True, append_images=others)
    with pytest.raises(InputError) as refused:
        match_axes(image, mask)
    assert str(refused.value) == (
        f"expected a mask on the voxels of {image} (7x5x4), but {mask} has other voxels (7x5x3); replace the file that is wrong"
    )


def test_a_header_without_a_code_says_nothing(tmp_path: Path) -> None:
    image, mask = pair(tmp_path, VALUES[::-1], None)
    assert np.array_equal(match_axes(image, mask), [[0, 1], [1, 1], [2, 1]])
    assert (read_geometry(image).axes, read_geometry(mask).axes) == ("LPS", "unknown")


def test_the_qform_counts_where_there_is_no_sform(tmp_path: Path) -> None:
    values, affine = moved((0, 1, 2), (0,))
    image = save(tmp_path / "image.nii.gz", VALUES, AFFINE, sform=0, qform=1)
    mask = save(tmp_path / "mask.nii.gz", values, affine, sform=0, qform=1)
    assert nib.load(image).header["sform_code"] == 0
    assert np.array_equal(apply_orientation(read_volume(mask), match_axes(image, mask)), VALUES)


def test_forms_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    image = save(tmp_path / "image.nii.gz", VALUES, AFFINE, sform=1, qform=1)
    mask = nib.Nifti1Image(VALUES, AFFINE)
    mask.set_sform(AFFINE, code=1)
    mask.set_qform(moved((0, 1, 2), (0,))[1], code=1)
    nib.save(mask, tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"mask\.nii\.gz.*image\.nii\.gz, but they contradict each other"):
        match_axes(image, tmp_path / "mask.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(6, 5, 3, 1), (6, 5, 3, 1, 1)])
def test_further_axes_of_length_1_are_dropped(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"image{suffix}", VALUES.reshape(shape), AFFINE)
    assert np.array_equal(read_volume(path), VALUES)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1.4, 1.4, 10), 2),
        ((10, 1.4, 1.4), 0),
        ((0.7, 3, 0.7), 1),
        ((1, 1, 1), 2),
        ((0.9, 0.9, 0.8), 2),
        ((1.25, 1, 1), 0),
        (None, 2),
    ],
)
def test_the_largest_spacing_is_that_of_the_slices(spacing: tuple[float, float, float] | None, axis: int) -> None:
    assert acquisition_axis(spacing) == axis


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_slices_are_cut_and_stacked_along_any_axis(axis: int, channels: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(*SHAPE, *channels))
    slices = cut(values, axis)
    for index in range(SHAPE[axis]):
        within = values.take(index, axis)  # (first, second) of the other two axes
        assert np.array_equal(slices[index], within.swapaxes(0, 1))
    assert np.array_equal(stack(slices, axis), values)


def test_channels_are_the_fourth_axis(tmp_path: Path) -> None:
    values = np.stack([VALUES, VALUES + 1], axis=-1)
    volume = load_volume(save(tmp_path / "image.nii.gz", values, AFFINE))
    assert np.array_equal(volume.values, values) and volume.geometry.channels == 2
    assert volume.geometry.shape == SHAPE and volume.geometry.spacing == pytest.approx((1.4, 1.4, 10))
    assert volume.geometry.pixel_spacing(axis=0) == pytest.approx((10, 1.4))


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("unknown", 1), ("meter", 1000), ("micron", 0.001)])
def test_the_spacing_is_in_millimetres(unit: str, scale: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([-2, 3, 4, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "image.nii")
    assert read_geometry(tmp_path / "image.nii").spacing == pytest.approx((2 * scale, 3 * scale, 4 * scale))


def test_an_affine_that_counts_voxels_leaves_the_spacing_to_the_zooms(tmp_path: Path) -> None:
    """So are the headers of ACDC: the sform, of code 2, is diag(-1, -1, 1), and pixdim is in mm."""
    image = nib.Nifti1Image(VALUES, np.diag([-1.0, -1.0, 1.0, 1.0]))
    image.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), 2)
    image.set_qform(None, 0)
    image.header.set_zooms((1.4, 1.4, 10.0))
    nib.save(image, tmp_path / "image.nii")
    assert nib.load(tmp_path / "image.nii").affine[0, 0] == -1
    assert read_geometry(tmp_path / "image.nii").spacing == pytest.approx((1.4, 1.4, 10))


def test_a_header_of_ones_without_a_code_knows_no_spacing(tmp_path: Path) -> None:
    assert read_geometry(save(tmp_path / "image.nii", VALUES, None)).spacing is None


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a volume \(.nii.gz, .nii, .*\) at .*image.mha"):
        load_volume(tmp_path / "image.mha")

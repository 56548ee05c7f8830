"""Readers of volumes: the official layouts, channels, axes, spacings, labels, and what is refused."""

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tests.prepare.volume_layouts import (
    AFFINE,
    SHAPE,
    describe,
    labels,
    save,
    volume,
    write_dicom,
    write_folder,
    write_msd,
    write_nnunet,
)

from medtransfer.data.volumes import dicom, load_labels
from medtransfer.data.volumes.dicom_tags import read_header
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.readers.contract import Picture, Scan
from medtransfer.prepare.stage import prepare
from medtransfer.records import IGNORE, PreparedTarget

SIZE = (SHAPE[1], SHAPE[0])  # so that nothing is resized
BOTH = {"labels": {0: "background", 1: "foreground"}}


def scan(reader: str, root: Path, size: tuple[int, int] = SIZE, **options: Any) -> Scan:
    return READERS[reader](root, size, options)


def load(described: Scan, item: int = 0) -> list[Picture]:
    return list(described.items[item].load())


def scaled(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values.astype(np.float64), (0.5, 99.5))
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def check_pixels(pictures: list[Picture], image: np.ndarray, mask: np.ndarray) -> None:
    """Compare slices with a volume (x, y, z[, C]) and its labels, z by z."""
    channels = image[..., None] if image.ndim == 3 else image
    whole = np.stack([scaled(channels[..., c]) for c in range(channels.shape[-1])], axis=-1)
    assert [picture.slice for picture in pictures] == list(range(image.shape[2]))
    for z, picture in enumerate(pictures):
        assert np.array_equal(picture.image, whole[:, :, z].swapaxes(0, 1))
        assert np.array_equal(picture.labels, mask[:, :, z].T)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".tif"])
def test_nnunet_raw_data_are_read_with_their_test_split(ending: str, tmp_path: Path) -> None:
    described = scan("nnunet", write_nnunet(tmp_path, ending=ending))
    assert described.classes == ("PZ", "TZ") and described.channels == 1 and not described.ignore
    assert [(item.split, item.source, item.pictures) for item in described.items] == [
        *(("train", f"imagesTr/Tr_{case:03d}_0000{ending}", 3) for case in range(4)),
        *(("test", f"imagesTs/Ts_{case:03d}_0000{ending}", 3) for case in range(2)),
    ]
    check_pixels(load(described), volume(200), labels())
    assert load(described)[0].spacing == (None if ending == ".tif" else pytest.approx((2, 1.5)))


def test_nnunet_version_1_and_unlabelled_tests(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, tests=0)
    save(root / "imagesTs/Ts_000_0000.nii.gz", volume(0))
    listed = [{"image": f"./imagesTr/Tr_{case:03d}.nii.gz", "label": f"./labelsTr/Tr_{case:03d}.nii.gz"} for case in range(4)]
    describe(root, {
        "name": "Prostate", "modality": {"0": "T2"}, "labels": {"0": "background", "1": "PZ", "2": "TZ"}, "numTraining": 5,
        "training": listed,
    })  # fmt: skip
    described = scan("nnunet", root)
    assert [item.split for item in described.items] == [None] * 4 and described.classes == ("PZ", "TZ")
    assert described.notes[0].endswith("announces 5 training cases, but 4 are there")
    assert "imagesTs have no labels in labelsTs" in described.notes[1]
    with pytest.raises(InputError, match="Tr_000_0000…, as nnU-Net names it; set `reader: nnunet`"):
        scan("msd", root)


def test_the_key_dataset_names_files_anywhere(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, cases=2, tests=0)
    for name in ("imagesTr/Tr_000_0000.nii.gz", "labelsTr/Tr_000.nii.gz"):
        (root / "elsewhere").mkdir(exist_ok=True)
        (root / name).rename(root / "elsewhere" / Path(name).name)
    entry = {"a": {"images": ["elsewhere/Tr_000_0000.nii.gz"], "label": "elsewhere/Tr_000.nii.gz"}}
    write = {
        "channel_names": {"0": "T2"},
        "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    described = scan("nnunet", describe(root, write | {"dataset": entry}))
    (item,) = described.items
    assert item.source == "elsewhere/Tr_000_0000.nii.gz"
    check_pixels(load(described), volume(200), labels())


def test_three_channels_of_nnunet_are_three_of_a_picture(tmp_path: Path) -> None:
    described = scan("nnunet", write_nnunet(tmp_path, channels=3))
    assert described.channels == 3 and len(described.items[0].files) == 4
    check_pixels(load(described), np.stack([volume(200 + channel) for channel in range(3)], axis=-1), labels())
    chosen = scan("nnunet", tmp_path, channels=["ADC"])
    assert chosen.channels == 1
    check_pixels(load(chosen), volume(201), labels())
    repeated = scan("nnunet", tmp_path, channels=[0, 1, 1])
    check_pixels(load(repeated), np.stack([volume(200), volume(201), volume(201)], axis=-1), labels())


def test_any_number_of_channels_is_stored(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "nnunet", channels=4)
    four = np.stack([volume(200 + channel) for channel in range(4)], axis=-1)
    assert scan("nnunet", root).channels == 4
    check_pixels(load(scan("nnunet", root)), four, labels())
    check_pixels(load(scan("nnunet", root, channels=["PD", "T2"])), four[..., [3, 0]], labels())
    described = scan("msd", write_msd(tmp_path / "msd", modalities=("FLAIR", "T1w", "t1gd", "T2w")))
    check_pixels(load(described, 2), volume(2, (*SHAPE, 4)), labels(1))
    for name, number in (("t1", 5), ("t2", 6)):
        save(tmp_path / f"nifti/images/a_{name}.nii.gz", volume(number))
    save(tmp_path / "nifti/masks/a.nii.gz", labels(1))
    described = scan("nifti", tmp_path / "nifti", images=["images/{case}_t1", "images/{case}_t2"])
    check_pixels(load(described), np.stack([volume(5), volume(6)], axis=-1), labels(1))
    prepared = prepare(
        "t", reader="nnunet", root=root, size=SIZE, subset=False, split="official", validation=0.0, allow_duplicates=False,
        options={}, out=tmp_path / "out",
    )  # fmt: skip
    assert prepared.info.channels == prepared.info.input_channels == 4 and prepared.images.shape == (18, *SIZE, 4)
    preview = np.asarray(Image.open(prepared.folder / "preview.png"))
    assert preview.any() and prepared.verify()


@pytest.mark.parametrize(
    ("options", "channels", "of_channels", "turned", "axes"),
    [
        ({}, [0, 1, 2, 3], 4, (-1, -1, 1), "LPS"),
        ({"channels": [1, 3]}, [1, 3], 4, (1, 1, 1), "LPS,RAS"),
    ],
)
def test_the_rule_for_new_images_knows_their_channels_and_axes(
    options: dict[str, Any], channels: list[int], of_channels: int, turned: tuple[int, int, int], axes: str, tmp_path: Path
) -> None:
    root = write_nnunet(tmp_path / "nnunet", channels=4)
    for part, values in (("images", volume), ("labels", lambda seed: labels())):
        for path in (root / f"{part}Tr").glob("Tr_000*"):
            save(path, values(0), AFFINE * np.array([*(-np.array(turned[:2])), turned[2], 1]))
    described = scan("nnunet", root, **options)
    load(described)
    assert described.image_rule is not None
    rule = described.image_rule()
    assert (rule.channels, rule.of_channels, rule.axes) == (channels, of_channels, axes)


def test_nnunet_png_keep_their_values(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(256, size=(*SIZE, 3), dtype=np.uint8)
    for folder, pixels in (("imagesTr/a_0000.png", rgb), ("labelsTr/a.png", labels()[..., 0].T)):
        (tmp_path / folder).parent.mkdir()
        Image.fromarray(pixels).save(tmp_path / folder)
    names = {"0": "R", "1": "G", "2": "B"}
    root = describe(tmp_path, {
        "channel_names": names, "labels": {"background": 0, "PZ": 1, "TZ": 2}, "numTraining": 1, "file_ending": ".png",
    })  # fmt: skip
    (picture,) = load(scan("nnunet", root))
    assert np.array_equal(picture.image, rgb) and np.array_equal(picture.labels, labels()[..., 0].T)


@pytest.mark.parametrize(
    ("regions", "order", "classes", "numbers"),
    [
        ({"whole": [1, 2], "core": [2]}, [1, 2], ("whole (label 1)", "core"), {"whole": [1, 2], "core": [2]}),
        ({"whole": [1, 2], "core": 2}, [1, 2], ("whole (label 1)", "core"), {"whole": [1, 2], "core": [2]}),
        ({"core": 1, "whole": [2, 1]}, [2, 1], ("core", "whole (label 2)"), {"core": [1], "whole": [1, 2]}),
        ({"whole": [1, 2]}, [1], ("whole (label 1)", "whole (label 2)"), {"whole": [1, 2]}),
        ({"core": [1], "ignore": 2}, [1], ("core",), {"core": [1]}),
    ],
)
def test_the_classes_of_regions_are_the_values_of_the_masks(
    regions: dict[str, Any], order: list[int], classes: tuple[str, ...], numbers: dict[str, list[int]], tmp_path: Path
) -> None:
    root = write_nnunet(tmp_path, labels={"background": 0, **regions}, regions_class_order=order)
    described = scan("nnunet", root)
    assert described.classes == classes and "the regions" in described.notes[0] and described.regions == numbers
    check_pixels(load(described), volume(200), np.where(labels() == 2, IGNORE, labels()) if "ignore" in regions else labels())
    assert not scan("nnunet", root, regions={}).regions


def test_raw_values_of_regions_are_mapped_as_those_of_masks(tmp_path: Path) -> None:
    """The values of dataset.json or of the option, whichever classes the option `labels` makes of them."""
    root = write_nnunet(tmp_path, labels={"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1, 2])
    turned = {"classes": ["inner", "outer"], "labels": {0: "background", 1: "outer", 2: "inner"}}
    assert scan("nnunet", root, **turned).regions == {"whole": [1, 2], "core": [1]}
    for regions in ({"rim": [1]}, {"rim": 1}, {"rim": ["outer"]}, {"rim": ["outer", 1]}):
        assert scan("nnunet", root, **turned, regions=regions).regions == {"rim": [2]}
    assert scan("nifti", write_folder(tmp_path / "nifti", ".nii.gz"), **BOTH, regions={"all": [1]}).regions == {"all": [1]}


@pytest.mark.parametrize("regions", [{"a": []}, {"a": [0]}, {"a": [3]}, {"a": ["PT"]}, {"a": [True]}, {"": [1]}, [1], {"a": [[1]]}])
def test_regions_of_something_else_are_refused(regions: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="option regions to (map names|list classes)"):
        scan("nnunet", write_nnunet(tmp_path), regions=regions)


def test_regions_are_in_the_record_and_in_its_fingerprint(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "raw")

    def run() -> PreparedTarget:
        return prepare(
            "t", reader="nnunet", root=root, size=SIZE, subset=False, split="official", validation=0.0, allow_duplicates=False,
            options={}, out=tmp_path,
        )  # fmt: skip

    plain = run().info
    changed = {"background": 0, "PZ": 1, "TZ": 2, "gland": [1, 2]}
    write_nnunet(root, labels=changed)
    region = run().info  # of the same files and settings: dataset.json is no source
    assert (plain.regions, region.regions) == ({}, {"PZ": [1], "TZ": [2], "gland": [1, 2]})
    assert region.classes == plain.classes and region.fingerprint != plain.fingerprint
    assert plain.fingerprint == digest([plain.arrays, plain.classes, plain.input, plain.augmentation])


def test_the_label_ignore_is_left_out(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, labels={"background": 0, "PZ": 1, "ignore": 2})
    described = scan("nnunet", root)
    assert described.classes == ("PZ",) and described.ignore
    expected = np.where(labels() == 2, IGNORE, labels())
    check_pixels(load(described), volume(200), expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, "2"]}}, r"the region 'whole' in .* to list whole numbers, but got \[1, '2'\]"),
        ({"labels": {"PZ": 0, "TZ": 1}}, "label 0 to be the background in .*, but it is 'PZ'"),
        ({"labels": {"background": 0, "PZ": 1}}, r"the labels \[0, 1\] in .*Tr_000.nii.gz, but got \[2\]"),
        ({"labels": None}, "`labels` with a name for every number"),
        ({"channel_names": {"1": "T2"}}, "`channel_names` or `modality` with keys 0, 1, …"),
        ({"channel_names": {"0": "T2", "1": "ADC"}}, r"expected 2 channels \(T2, ADC\) in every case, but .*Tr_000_0000.* has 1"),
        ({"file_ending": ".mha"}, "`file_ending` of NIfTI or a picture .*, but got '.mha'; convert"),
        ({"dataset": {"a": {"images": ["../x.nii.gz"], "label": "y.nii.gz"}}}, "images and label of each case below"),
    ],
)
def test_what_nnunet_would_not_take_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(scan("nnunet", write_nnunet(tmp_path, **changed)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagesTr/Tr_009.nii.gz", r"<case>_<channel>.nii.gz, such as .*, but got Tr_009.nii.gz; .*`reader: msd`"),
        ("imagesTr/Tr_000_0002.nii.gz", "channels 0000, 0001, … of the case Tr_000 .*, but got 0000, 0002"),
        ("imagesTr/Tr_009_0000.nii.gz", "a mask for every image, but .*Tr_009_0000.nii.gz has none"),
        ("labelsTr/Tr_009.nii.gz", "an image for every mask, but .*labelsTr/Tr_009.nii.gz has none"),
    ],
)
def test_files_that_do_not_fit_nnunet_are_named(name: str, message: str, tmp_path: Path) -> None:
    save(write_nnunet(tmp_path) / name, volume(0))
    with pytest.raises(InputError, match=message):
        scan("nnunet", tmp_path)


def test_classes_without_labels_name_a_mask_and_its_values(tmp_path: Path) -> None:
    save(tmp_path / "images/a.nii.gz", volume(0))
    save(tmp_path / "masks/a.nii.gz", labels())
    values = ", ".join(map(str, np.unique(labels())))
    with pytest.raises(
        InputError, match=rf"look at .*masks.a\.nii\.gz: it has the values {values} .*`labels: \{{0: background, 1: x"
    ):
        scan("nifti", tmp_path, classes=["x", "y"])


@pytest.mark.parametrize("modalities", [("MRI",), ("FLAIR", "T1", "T2")])
def test_the_decathlon_is_read(modalities: tuple[str, ...], tmp_path: Path) -> None:
    described = scan("msd", write_msd(tmp_path, modalities=modalities))
    assert described.classes == ("left atrium",) and described.channels == len(modalities)
    assert described.citation.startswith("LeftAtrium: M. Antonelli")
    assert any("1 test images" in note for note in described.notes)
    shape = SHAPE if len(modalities) == 1 else (*SHAPE, 3)
    check_pixels(load(described, 2), volume(2, shape), labels(1))
    with pytest.raises(InputError, match=r"but got 'CT'"):
        scan("msd", tmp_path, channels=["CT"])


def test_ct_is_scaled_over_its_training_volumes(tmp_path: Path) -> None:
    root = write_msd(tmp_path / "raw", modalities=("CT",))
    prepared = prepare(
        "t", reader="msd", root=root, size=SIZE, subset=False, split={"test": 0.34, "seed": 0}, validation=0.0,
        allow_duplicates=False, options={}, out=tmp_path / "out",
    )  # fmt: skip
    groups = sorted(set(prepared.samples("train")["group"]))
    raw = np.concatenate([volume(int(Path(group).name[3:6])).ravel() for group in groups])
    low, high = np.percentile(raw.astype(np.float64), (0.5, 99.5))
    assert f"per dataset ({low:g} and {high:g}, of training images)" in prepared.info.scaling
    for row in (0, 7, 17):  # of training and test cases
        sample = prepared.index.iloc[row]
        values = volume(int(Path(sample["source"]).name[3:6]))[:, :, sample["slice"]].T.astype(np.float64)
        assert np.array_equal(prepared.images[row][..., 0], np.rint(np.clip((values - low) / (high - low), 0, 1) * 255))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ([], "the list `training` of cases"),
        ([{"image": "imagesTr/la_000.nii.gz"}], "cases {image, label}"),
        ([{"image": "imagesTr/x.nii.gz", "label": "labelsTr/la_000.nii.gz"}], "imagesTr/x.nii.gz, which .* lists, but it does not"),
        ([{"image": "../x.nii.gz", "label": "labelsTr/la_000.nii.gz"}], "files below"),
    ],
)
def test_a_broken_list_of_the_decathlon_is_refused(training: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        scan("msd", write_msd(tmp_path, training=training))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif"])
def test_folders_of_volumes(ending: str, tmp_path: Path) -> None:
    described = scan("tiff" if ending == ".tif" else "nifti", write_folder(tmp_path, ending))
    assert [(item.split, item.group) for item in described.items] == [(None, f"images/case{n}{ending}") for n in range(4)]
    values = volume(1) * 2
    check_pixels(load(described, 1), values.astype(np.uint16) if ending == ".tif" else values, labels(1))


def test_patterns_name_channels_and_cases(tmp_path: Path) -> None:
    for split, case in (("train", "p1/a"), ("train", "p1/b"), ("test", "p2/a")):
        for number, name in enumerate(("t1", "t2", "flair")):
            save(tmp_path / split / case / f"{name}.nii.gz", volume(number))
        save(tmp_path / split / case / "seg.nii.gz", labels(1))
    save(tmp_path / "train/p1/a/extra.nii.gz", volume(9))
    options = {"images": ["{case}/flair.nii.gz", "{case}/t1.nii.gz", "{case}/t2.nii.gz"], "masks": "{case}/seg.nii.gz"}
    described = scan("nifti", tmp_path, group="(p[0-9])/", **options)
    assert [(item.split, item.group) for item in described.items] == [("train", "p1"), ("train", "p1"), ("test", "p2")]
    assert "1 volume is not read, since neither `images` nor `masks` matches, such as" in described.notes[0]
    check_pixels(load(described), np.stack([volume(2), volume(0), volume(1)], axis=-1), labels(1))
    (tmp_path / "train/p1/b/t2.nii.gz").unlink()
    with pytest.raises(InputError, match=r"volume {case}/t2.nii.gz of the case p1/b"):
        scan("nifti", tmp_path, **options)


def test_a_case_that_a_pattern_names_twice_is_the_same(tmp_path: Path) -> None:
    """As in BraTS, whose files repeat the name of their folder; a file of another case there is not read."""
    for case in ("brats_1", "brats_12"):
        for number, name in enumerate(("t1", "t2")):
            save(tmp_path / case / f"{case}_{name}.nii.gz", volume(number))
        save(tmp_path / case / f"{case}_seg.nii.gz", labels(1))
    save(tmp_path / "brats_12/brats_1_t1.nii.gz", volume(9))
    described = scan("nifti", tmp_path, images=["{case}/{case}_t1", "{case}/{case}_t2"], masks="{case}/{case}_seg.nii.gz")
    assert [item.source for item in described.items] == [f"{case}/{case}_t1.nii.gz" for case in ("brats_1", "brats_12")]
    assert described.notes[0].startswith("1 volume is not read") and described.notes[0].endswith("/brats_12/brats_1_t1.nii.gz")
    check_pixels(load(described, 1), np.stack([volume(0), volume(1)], axis=-1), labels(1))


def test_a_suffix_tells_masks_from_images_in_one_folder(tmp_path: Path) -> None:
    for case in "ab":
        save(tmp_path / f"{case}.nii.gz", volume(0))
        save(tmp_path / f"{case}_seg.nii.gz", labels(1))
    described = scan("nifti", tmp_path, images="{case}.nii.gz", masks="{case}_seg.nii.gz")
    assert [item.source for item in described.items] == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_cut_along_the_largest_spacing(axis: int, tmp_path: Path) -> None:
    lengths = [1.5, 2.0, 2.5]
    lengths[axis] = 8
    save(tmp_path / "images/a.nii.gz", volume(0), np.diag([*lengths, 1]))
    save(tmp_path / "masks/a.nii.gz", labels(1), np.diag([*lengths, 1]))
    others = [other for other in range(3) if other != axis]
    size = (SHAPE[others[1]], SHAPE[others[0]])
    described = scan("nifti", tmp_path, size)
    pictures = load(described)
    whole = scaled(volume(0))
    assert len(pictures) == described.items[0].pictures == SHAPE[axis]
    for index, picture in enumerate(pictures):
        assert np.array_equal(picture.image[..., 0], whole.take(index, axis).T)
        assert np.array_equal(picture.labels, labels(1).take(index, axis).T)
        assert picture.spacing == pytest.approx((lengths[others[1]], lengths[others[0]]))
    assert scan("nifti", tmp_path, size, axis=1).items[0].pictures == SHAPE[1]


def test_spacings_follow_the_size(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ".nii.gz", cases=1)  # 12 x 10 voxels of 1.5 x 2 mm
    assert load(scan("nifti", root, (5, 24)))[0].spacing == pytest.approx((4, 0.75))
    padded = load(scan("nifti", root, (24, 24), keep_aspect=True))[0]  # to 20 x 24 pixels, and then 4 rows of padding
    assert padded.spacing == pytest.approx((1, 0.75)) and not padded.image[:2].any()


@pytest.mark.parametrize(
    ("scaling", "limits"),
    [
        ([50, 150], lambda values: (50, 150)),
        ({"window": [50, 150]}, lambda values: (50, 150)),
        ({"percentiles": [5, 95]}, lambda values: np.percentile(values.astype(np.float64), (5, 95))),
        ({"z-score": 2}, lambda values: values.astype(np.float64).mean() + np.array([-2, 2]) * values.astype(np.float64).std()),
        (
            {"z-score": [-1, 4]},
            lambda values: values.astype(np.float64).mean() + np.array([-1, 4]) * values.astype(np.float64).std(),
        ),
    ],
)
def test_intensity_rules(scaling: Any, limits: Any, tmp_path: Path) -> None:
    described = scan("nifti", write_folder(tmp_path, ".nii.gz", cases=1), scaling=scaling)
    low, high = limits(volume(0))
    expected = np.rint(np.clip((volume(0).astype(np.float64) - low) / (high - low), 0, 1) * 255)
    assert np.abs(load(described)[1].image[..., 0] - expected[:, :, 1].T).max() <= 1  # a mean may round otherwise
    assert "map to 0 and 255, clipped" in described.scaling()


def test_a_star_in_a_pattern_stands_for_any_name(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        save(tmp_path / patient / f"{patient}_a.nii.gz", volume(1))
        save(tmp_path / patient / f"{patient}_a_gt.nii.gz", labels(1))
    options = {"images": "*/{case}.nii.gz", "masks": "*/{case}_gt.nii.gz"}
    assert [item.group for item in scan("nifti", tmp_path, group="(.+)_", **options).items] == ["p1", "p2"]
    with pytest.raises(InputError, match=r"to each of x, y, but it is not set; look at .*p1_a_gt.nii.gz: it has the values 0, 1 "):
        scan("nifti", tmp_path, classes=["x", "y"], **options)
    for kind in ("a", "a_gt"):
        save(tmp_path / "p2" / f"p1_{kind}.nii.gz", labels(1))
    with pytest.raises(InputError, match="one volume of p1_a in .*; move one away, or let {case} stand for the folder, too"):
        scan("nifti", tmp_path, **options)


def test_patterns_without_files_are_named(tmp_path: Path) -> None:
    options = {"images": "{case}/t1.nii.gz", "masks": "{case}/seg.nii.gz"}
    root = write_folder(tmp_path, ".nii.gz")
    with pytest.raises(InputError, match=r"but there are none; check the layout and `root`; by the options images are '{case}/t1"):
        scan("nifti", root, **options)
    with pytest.raises(InputError, match=r"expected masks in .*, but there are none; correct the options: images are '{case}/t1"):
        scan("nifti", root, classes=["x", "y"], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "image"}, "the option scaling to be one of volume, group, dataset"),
        ({"scaling": {"z-score": 0}}, "low < high"),
        ({"scaling": {"percentiles": [5, 101]}}, "low < high"),
        ({"scaling": {"percentiles": [5, 95], "over": "patient"}}, "one of volume, group, dataset"),
        ({"scaling": {"gamma": 2}}, "an intensity rule"),
        ({"axis": 3}, "the option axis to be 0, 1, 2 or null, but got 3"),
        ({"channels": [1]}, "the option channels to list numbers or names of 0, but got 1"),
        ({"channels": [0] * 65}, "at most 64 channels, but .* has 65"),
        ({"images": "../images"}, "the option images to be a folder or a pattern"),
        ({"group": "case"}, "a group in parentheses in the option group, .*, but case has none"),
        ({"classes": ["x", "y"]}, "the option labels to map"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        scan("nifti", write_folder(tmp_path, ".nii.gz"), **options)


def test_masks_are_turned_and_strange_ones_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ".nii.gz", cases=2)
    flipped = AFFINE * np.array([-1, 1, 1, 1])
    flipped[0, 3] = AFFINE[0, 0] * (SHAPE[0] - 1)
    save(root / "masks/case0.nii.gz", labels(1)[::-1], flipped)
    described = scan("nifti", root)
    check_pixels(load(described), volume(0), labels(1))
    assert "the axes of the volumes differ" in described.notes[-1]
    save(root / "masks/case0.nii.gz", np.stack([labels(1)] * 2, axis=-1))
    with pytest.raises(InputError, match="a mask of one channel in .*case0.nii.gz, but it has 2"):
        scan("nifti", root)
    save(root / "masks/case0.nii.gz", labels(1)[:-1])
    with pytest.raises(InputError, match="a mask on the voxels of .*case0"):
        scan("nifti", root)


def test_masks_of_other_values(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ".nii.gz", cases=1)
    soft = (labels(1) * 0.7).astype(np.float32)
    save(root / "masks/case0.nii.gz", soft)
    with pytest.raises(InputError, match=r"the labels \[0, 255\] in .*case0.nii.gz, but got \[0.69"):
        load(scan("nifti", root))
    check_pixels(load(scan("nifti", root, threshold=0.5)), volume(0), labels(1))


def test_several_cases_of_a_patient_are_noticed(tmp_path: Path) -> None:
    for name in ("patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame08"):
        save(tmp_path / f"images/{name}.nii.gz", volume(0))
        save(tmp_path / f"masks/{name}.nii.gz", labels(1))
    (note,) = scan("nifti", tmp_path).notes
    assert "2 are named patient001_…; if these are one patient, set the option `group`, such as `'(.+)[_-]'`, or" in note
    described = scan("nifti", tmp_path, group="(.+)[_-]")
    assert described.notes == () and {item.group for item in described.items} == {"patient001", "patient002"}
    save(tmp_path / "images/extra.nii.gz", volume(0))
    save(tmp_path / "masks/extra.nii.gz", labels(1))
    (note,) = scan("nifti", tmp_path).notes
    assert "if these are one patient, set the option `group`, or a draw" in note  # extra has no patient before a number


def test_unequal_pages_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ".tif", cases=1)
    pages = [Image.fromarray(np.zeros((10, 12), np.uint16)), Image.fromarray(np.zeros((10, 12), np.uint8))]
    pages[0].save(root / "images/case0.tif", save_all=True, append_images=[*pages[1:], pages[0]])
    with pytest.raises(InputError, match="pages of one size and mode in .*case0.tif"):
        load(scan("tiff", root))


def test_unknown_spacings_of_some_are_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import nibabel as nib

    root = write_folder(tmp_path, ".nii.gz", cases=2)
    for kind, values in (("images", volume(0)), ("masks", labels(1))):
        nib.save(nib.Nifti1Image(values, None), root / kind / "case0.nii.gz")
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        described = scan("nifti", root)
    assert load(described)[0].spacing is None
    assert any("1 of 2 volumes say nothing of their spacing" in note for note in described.notes)


def test_the_case_of_another_number_of_channels_is_the_odd_one_wherever_it_is(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ".nii.gz", cases=4)
    save(root / "images/case0.nii.gz", volume(0, (*SHAPE, 3)))
    with pytest.raises(InputError, match=r"expected 1 channel in every case, but .*case0.nii.gz has 3 \(1 such\)"):
        scan("nifti", root)


def test_labels_that_a_slope_missed_by_little_are_rounded(tmp_path: Path) -> None:
    """As nibabel stores floats in int16: the slope of labels 0 to 2 is written in single precision."""
    root, both = write_folder(tmp_path, ".nii.gz", cases=1), {"classes": ["a", "b"], "labels": {0: "background", 1: "a", 2: "b"}}
    image = nib.Nifti1Image(labels(2).astype(np.float32), AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, root / "masks/case0.nii.gz")
    stored = nib.load(root / "masks/case0.nii.gz")
    assert stored.dataobj.slope != 1 and not set(np.unique(stored.get_fdata())) <= {0, 1, 2}
    check_pixels(load(scan("nifti", root, **both)), volume(0), labels(2))
    with pytest.raises(InputError, match=r"it has the values 0, 1, 2 .*`labels: \{0: background, 1: a, 2: b\}`"):
        scan("nifti", root, classes=["a", "b"])


@pytest.mark.parametrize(("near", "rounded"), [(0.9995, True), (0.998, False)])
def test_masks_with_values_between_are_not_rounded(near: float, rounded: bool, tmp_path: Path) -> None:
    values = np.array([[[0.0, 2.0, near]]], np.float32)
    save(tmp_path / "m.nii", values)
    assert np.array_equal(load_labels(tmp_path / "m.nii").values[..., 0], [[[0, 2, 1]]] if rounded else values)


@pytest.mark.parametrize("values", [[0, 1 / 65535], [0, 0.0005, 0.9995, 1], [0, 2e-6, 1]])
def test_small_fractions_are_no_background(values: list[float], tmp_path: Path) -> None:
    """A mask of 0 and 1 that was divided by 65535, and probabilities."""
    save(tmp_path / "m.nii", np.array([[values]], np.float64))
    assert load_labels(tmp_path / "m.nii").values.ravel().tolist() == values


def test_dicom_series_are_sorted_and_rescaled(tmp_path: Path) -> None:
    described = scan("dicom", write_dicom(tmp_path))
    assert [(item.source, item.pictures, len(item.files)) for item in described.items] == [
        (f"images/case{case}/0.dcm", 3, 4) for case in range(4)
    ]
    check_pixels(load(described, 1), volume(1).astype(np.uint16), labels(1))
    assert load(described)[0].spacing == pytest.approx((2, 1.5))
    units = volume(1).astype(np.uint16) * 2.0 - 1024
    low, high = -900, -700
    expected = np.rint(np.clip((units - low) / (high - low), 0, 1) * 255)
    assert np.array_equal(load(scan("dicom", tmp_path, scaling=[low, high]), 1)[2].image[..., 0], expected[:, :, 2].T)


def test_each_header_of_a_series_is_read_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read = write_dicom(tmp_path), Counter[Path]()

    def read_counted(path: Path) -> Any:
        read[path] += 1
        return read_header(path)

    monkeypatch.setattr(dicom, "read_header", read_counted)
    described = scan("dicom", root)
    assert len([path for path in read if path.parent.parent == root / "images"]) == 12
    assert sorted(read.values()) == [2] * 8 + [4] * 4  # for geometry, and a list of files; the first twice more, to find series
    read.clear()
    load(described)
    assert max(read.values()) == 1


def test_a_mask_is_turned_onto_its_series(tmp_path: Path) -> None:
    root = write_dicom(tmp_path, cases=1)
    turned = np.diag([1.5, -2, 8, 1])
    turned[0, 3] = -1.5 * (SHAPE[0] - 1)
    save(root / "masks/case0.nii.gz", labels(1)[::-1], turned)
    check_pixels(load(scan("dicom", root)), volume(0).astype(np.uint16), labels(1))
    save(root / "masks/case0.nii.gz", labels(1), np.diag([-1.5, -2, 5, 1]))
    with pytest.raises(InputError, match="a mask on the voxels of .*images/case0"):
        scan("dicom", root)


def test_phases_two_series_and_unread_series_are_named(tmp_path: Path) -> None:
    root = write_dicom(tmp_path, cases=2)
    shutil.copytree(root / "images/case1", root / "other")
    assert scan("dicom", root).notes[0].startswith("1 volume is not read, since neither `images` nor `masks` matches")
    shutil.copy(root / "images/case0/0.dcm", root / "images/case0/9.dcm")
    with pytest.raises(InputError, match=r"one slice at each position, but .*0.dcm and .*9.dcm|9.dcm and .*0.dcm"):
        scan("dicom", root)
    shutil.copy(root / "images/case1/0.dcm", root / "images/case0/9.dcm")
    with pytest.raises(InputError, match=r"one DICOM series in .*case0, but there are 2 \(of 0.dcm, 9.dcm\)"):
        scan("dicom", root)

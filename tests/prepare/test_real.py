"""The readers on real images: counts, label values, shapes, and masks that are not empty."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.stage import prepare
from medtransfer.records import PreparedTarget

pytestmark = pytest.mark.long

FRACTION = {"test": 0.2, "seed": 0}


def run(reader: str, root: Path, out: Path, size: tuple[int, int], **changes: object) -> PreparedTarget:
    settings = {"subset": True, "split": FRACTION, "validation": 0.0, "allow_duplicates": False, "options": {}} | changes
    return prepare("t", reader=reader, root=root, size=size, out=out, **settings)


def labels_of(prepared: PreparedTarget) -> set[int]:
    return set(np.unique(prepared.masks).tolist())


def test_acdc(realdata: Path, tmp_path: Path) -> None:
    prepared = run("acdc", realdata / "acdc", tmp_path, (64, 64))
    index = prepared.index
    assert len(index) == len(prepared.images) == 458
    assert index["group"].nunique() == 25 and prepared.samples("test")["group"].nunique() == 5
    assert index["source"].nunique() == 50
    assert labels_of(prepared) == {0, 1, 2, 3}
    assert all((prepared.masks[index.loc[index["source"] == source, "row"]] == 3).any() for source in index["source"].unique())
    assert len(prepared.info.sources) == 125
    volumes = [prepared.images[index.loc[index["source"] == source, "row"]] for source in index["source"].unique()]
    assert all(volume.max() > 200 and volume.min() < 20 for volume in volumes)


def test_acdc_slices_are_oriented_as_in_the_file(realdata: Path) -> None:
    items = READERS["acdc"](realdata / "acdc", (256, 232), {}).items
    slices, item = [item.pictures for item in items], items[0]
    assert (min(slices), max(slices), sum(slices)) == (6, 18, 458)
    assert len({nib.load(item.files[0]).shape[:2] for item in items}) > 10
    truth = np.asarray(nib.load(item.files[1]).dataobj)
    assert truth.shape == (232, 256, 10)
    masks = [picture.labels for picture in item.load()]
    assert np.array_equal(np.stack(masks), truth.T)


def test_the_nifti_reader_reads_acdc_alike(realdata: Path) -> None:
    labels = {0: "background", 1: "RV cavity", 2: "myocardium", 3: "LV cavity"}
    options = {
        "images": "{case}.nii.gz", "masks": "{case}_gt.nii.gz", "group": "(patient[0-9]+)/", "labels": labels,
        "classes": list(labels.values())[1:],
    }  # fmt: skip
    by_acdc, by_nifti = READERS["acdc"](realdata / "acdc", (64, 64), {}), READERS["nifti"](realdata / "acdc", (64, 64), options)
    assert by_acdc.classes == by_nifti.classes and by_acdc.channels == by_nifti.channels
    one, other = ({item.source: item for item in described.items} for described in (by_acdc, by_nifti))
    assert one.keys() == other.keys() and len(one) == 50
    for source in list(one)[::10]:
        assert (one[source].split, one[source].group, one[source].pictures) == (
            other[source].split, other[source].group, other[source].pictures
        )  # fmt: skip
        for expected, picture in zip(one[source].load(), other[source].load(), strict=True):
            assert np.array_equal(expected.image, picture.image) and np.array_equal(expected.labels, picture.labels)
            assert expected.slice == picture.slice and expected.spacing == pytest.approx(picture.spacing)


def test_a_subset_must_be_declared(realdata: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected 1902 train samples in .*acdc, but got 458 \(1444 fewer\)"):
        run("acdc", realdata / "acdc", tmp_path, (64, 64), subset=False)


def test_covid_qu(realdata: Path, tmp_path: Path) -> None:
    classes = ["COVID-19", "Non-COVID", "Normal"]
    prepared = run("covid-qu", realdata / "covid_qu_ex", tmp_path, (128, 128), options={"classes": classes})
    assert len(prepared.images) == 600 and prepared.info.counts == {"train": 480, "test": 120}
    assert labels_of(prepared) == {0, 1}
    ill = prepared.index["source"].str.contains("/COVID-19/")
    assert ill.sum() == 300 and (prepared.masks[prepared.index["row"]].any(axis=(1, 2)) == ill).all()


def link_idrid(realdata: Path, folder: Path, names: list[str]) -> Path:
    """Link a few photographs and their masks into the published layout."""
    for path in sorted((realdata / "idrid").rglob("*")):
        if any(path.name.startswith(name) for name in names):
            link = folder / path.relative_to(realdata / "idrid")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def test_idrid_in_small(realdata: Path, tmp_path: Path) -> None:
    root = link_idrid(realdata, tmp_path / "raw", ["IDRiD_01", "IDRiD_20", "IDRiD_44"])
    options = {"window": 112, "stride": 28, "tile": 56}
    prepared = run("idrid", root, tmp_path / "out", (280, 560), options=options, split={"test": 0.34, "seed": 0})
    assert prepared.info.counts == {"train": 238, "test": 50}
    assert labels_of(prepared) == {0, 1}
    assert prepared.masks.any(axis=(1, 2)).all()
    assert prepared.images.shape == (3, 280, 560, 3)


@pytest.mark.slow
def test_idrid_at_the_published_size(realdata: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        prepared = run("idrid", realdata / "idrid", tmp_path, (1120, 2240))
    assert prepared.images.shape == (54, 1120, 2240, 3)
    assert prepared.info.counts == {"train": 43 * 119, "test": 11 * 50}
    positives = prepared.masks.any(axis=(1, 2))
    assert positives.all()
    assert "prepare: " in caplog.text


@pytest.mark.slow
def test_idrid_masks_survive_224_pixels(realdata: Path) -> None:
    from medtransfer.data.resizing import resize_mask
    from medtransfer.prepare.picture_files import read_nonzero

    areas = [int(resize_mask(read_nonzero(path), (224, 224)).sum()) for path in sorted((realdata / "idrid").rglob("*_MA.tif"))]
    assert len(areas) == 54 and min(areas) > 0
    assert np.median(areas) == pytest.approx(43, abs=3)


def test_membranes_by_the_folder_reader(realdata: Path, tmp_path: Path) -> None:
    options = {"images": "image", "masks": "label", "classes": ["cell"]}
    prepared = run("folder", realdata / "isbi2012_membrane", tmp_path, (128, 128), subset=False, options=options)
    assert prepared.info.counts == {"train": 24, "test": 6}
    assert labels_of(prepared) == {0, 1}
    assert prepared.info.channels == 1
    assert 0.5 < prepared.masks.mean() < 0.9


def test_chestxray14_by_its_lists(realdata: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = realdata / "chestxray14"
    prepared = run("chestxray14", root, tmp_path / "a", (64, 64), split="official")
    assert prepared.info.counts == {"train": 390, "test": 40} and prepared.image_labels.shape == (430, 14)
    pneumonia = prepared.image_labels[:, prepared.info.classes.index("Pneumonia")]
    assert pneumonia.sum() == 224 and pneumonia[prepared.samples("test")["row"]].all()
    assert "no negative image in the split 'test' for Pneumonia" in caplog.text
    lists = {"train": "train_val_list.txt", "test": "val_list.txt"}
    options = {"task": "binary", "classes": ["Pneumonia"], "others": "negative", "split_lists": lists, "unlisted": "leave-out"}
    binary = run("chestxray14", root, tmp_path / "b", (64, 64), split="official", options=options)
    assert binary.info.counts == {"train": 300, "test": 90} and binary.info.channels == 1
    assert binary.index.groupby("group")["split"].nunique().max() == 1


def test_kermany_by_its_folders(realdata: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = realdata / "kermany_pneumonia/chest_xray"
    prepared = run("kermany", root, tmp_path, (64, 64), split="official", options={"splits": {"val": "train"}})
    assert prepared.info.counts == {"train": 616, "test": 230}
    ill = prepared.index["source"].str.contains("/PNEUMONIA/").to_numpy()
    assert np.array_equal(prepared.image_labels, ill) and ill.sum() == 428
    assert "person688_virus_1281.jpeg" in caplog.text and "NORMAL2-IM-0173-0001-0002.jpeg" in caplog.text  # stored twice


def test_covid_classes_and_lungs(realdata: Path) -> None:
    root = realdata / "covid_qu_ex"
    classes = READERS["image-folder"](root / "Infection Segmentation Data", (64, 64), {"images": "*/images"})
    assert classes.classes == ("COVID-19", "Non-COVID", "Normal") and len(classes.items) == 600
    lungs = READERS["covid-qu"](root, (64, 64), {"masks": "lung", "classes": list(classes.classes)})
    assert len(lungs.items) == 600 and lungs.classes == ("lung",)
    for item in classes.items[::60]:
        (picture,) = item.load()
        assert f"/{classes.classes[int(picture.labels)]}/images/" in item.source
    assert all(0.05 < picture.labels.mean() < 0.6 for item in lungs.items[::60] for picture in item.load())


def test_camvid_in_segnets_layout(realdata: Path, tmp_path: Path) -> None:
    root = realdata / "camvid/CamVid"
    frames = run("camvid", root, tmp_path / "a", (90, 120), split="official", options={"group": "frame"})
    assert frames.info.counts == {"train": 96, "validation": 16, "test": 32}
    assert labels_of(frames) == {*range(1, 12), 255}
    raw = np.asarray(Image.open(root / "trainannot/0001TP_006810.png").resize((120, 90), Image.Resampling.NEAREST))
    row = frames.index.loc[frames.index["source"] == "train/0001TP_006810.png", "row"].item()
    assert np.array_equal(frames.masks[row], np.where(raw == 11, 255, raw + 1))
    sequences = run("camvid", root, tmp_path / "b", (90, 120), split={"test": 0.25, "seed": 0}, options={"classes": ["car"]})
    assert sequences.index["group"].nunique() == 4 and sequences.samples("test")["group"].nunique() == 1
    assert labels_of(sequences) == {0, 1, 255}
    cars = run("camvid", root, tmp_path / "c", (90, 120), options={"classes": ["car"], "containing": True})
    with_cars = sum((np.asarray(Image.open(path)) == 8).any() for path in root.glob("*annot/*.png"))
    assert len(cars.images) == with_cars < 144

"""The stage: counts, reuse, duplicates, and failures that leave nothing half-written."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare import settings
from medtransfer.prepare.readers import READERS, folder
from medtransfer.prepare.readers.contract import Item, Labels, Picture, Scan
from medtransfer.prepare.stage import check_counts, prepare
from medtransfer.records import PreparedTarget, TargetInfo

Run = Callable[..., PreparedTarget]


def test_fewer_samples_than_expected_need_subset(run: Run) -> None:
    with pytest.raises(InputError, match=r"expected 1902 train samples in .*, but got 30 \(1872 fewer\); .*`subset: true`"):
        run("acdc", subset=False)


@pytest.mark.parametrize(
    ("expected", "subset", "message"),
    [
        ({"train": 30, "test": 10}, False, None),
        ({"train": 30, "test": 10}, True, None),
        ({"train": 29, "test": 10}, True, r"expected 29 train samples .* got 30 \(1 more\); remove"),
        ({"train": 29, "test": 10}, False, r"\(1 more\)"),
        ({"train": 30, "test": 11}, False, r"expected 11 test samples .* got 10 \(1 fewer\)"),
        ({"train": 30, "test": 11}, True, None),
        ({}, False, None),
    ],
)
def test_counts(expected: dict[str, int], subset: bool, message: str | None, samples: Path) -> None:
    scan = replace(READERS["acdc"](samples / "heart", (8, 8), {}), expected=expected)
    if message is None:
        check_counts(scan, subset, samples)
        return
    with pytest.raises(InputError, match=message):
        check_counts(scan, subset, samples)


def test_expected_counts_are_of_the_published_split(run: Run) -> None:
    prepared = run("acdc", split={"test": 0.5, "seed": 0})
    assert prepared.info.counts == {"train": 20, "test": 20}
    assert prepared.info.expected == {"train": 1902, "test": 1076}


def test_the_same_settings_and_files_are_reused(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    first = run("covid-qu")
    born = (first.folder / "images.npy").stat().st_ino
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        assert (run("covid-qu").folder / "images.npy").stat().st_ino == born
    assert "reused" in caplog.text
    assert (run("covid-qu", force=True).folder / "images.npy").stat().st_ino != born


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("setting", "these settings differ: validation 0.0, now 0.5; results on it so far are of other data"),
        ("source", "1 file is changed, such as Infection Segmentation Data/Train/COVID-19/images/"),
        ("array", "masks.npy is not as it was prepared"),
        ("record", "some of its files cannot be read"),
    ],
)
def test_any_change_prepares_again(
    what: str, reason: str, run: Run, copy: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    root = copy("covid-qu")
    folder = run("covid-qu", root=root).folder
    born = (folder / "images.npy").stat().st_ino
    changes = {"validation": 0.5} if what == "setting" else {}
    if what == "source":
        image = next((root / "Infection Segmentation Data" / "Train" / "COVID-19" / "images").iterdir())
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    elif what == "array":
        (folder / "masks.npy").write_bytes(b"")
    elif what == "record":
        (folder / "dataset.json").write_text("{}")
    prepared = run("covid-qu", root=root, **changes)
    assert f"t is made again, since {reason}" in caplog.text
    assert (prepared.folder / "images.npy").stat().st_ino != born
    assert TargetInfo.read(folder / "dataset.json") == prepared.info


def test_a_changed_split_file_prepares_again(run: Run, tmp_path: Path, samples: Path) -> None:
    stems = [Path(item.source).stem for item in READERS["covid-qu"](samples / "lungs", (8, 8), {}).items]
    path = tmp_path / "split.csv"
    for test in (0, 1):
        lines = [f"{stem},{'test' if number == test else 'train'}" for number, stem in enumerate(stems)]
        path.write_text("\n".join(["source,split", *lines]) + "\n")
        prepared = run("covid-qu", split={"file": str(path)})
        assert Path(prepared.samples("test")["source"][0]).stem == stems[test]


def test_a_target_without_masks(run: Run, samples: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def scan(*arguments: Any) -> Scan:
        masked = folder.scan(*arguments)
        items = [replace(item, load=partial(load, item)) for item in masked.items]
        return replace(masked, items=tuple(items), task="presence", labels=Labels("labels.npy", ()))

    def load(item: Item) -> Iterator[Picture]:
        return (replace(picture, labels=picture.labels.max()) for picture in item.load())

    masked = run("folder", out=samples.parent / "masked")
    monkeypatch.setitem(READERS, "folder", scan)
    prepared = run("folder").verify()
    assert prepared.info.arrays.keys() == {"images.npy", "labels.npy", "index.csv"} and prepared.info.task == "presence"
    assert {path.name for path in prepared.folder.iterdir()} == {*prepared.info.arrays, "dataset.json", "preview.png"}
    assert (masked.folder / "mask_counts.csv").is_file()
    assert np.array_equal(np.load(prepared.folder / "labels.npy"), masked.masks.max(axis=(1, 2)))
    assert np.array_equal(prepared.images, masked.images) and not prepared.has_masks
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        run("folder")
    assert "reused" in caplog.text
    (prepared.folder / "labels.npy").unlink()
    with pytest.raises(InputError, match=r"an array in .*labels\.npy, but there is none"):
        PreparedTarget.open(prepared.folder).verify()


def test_the_same_patient_under_two_numbers_is_refused(run: Run, copy: Callable[[str], Path], tmp_path: Path) -> None:
    root = copy("acdc")
    source, twin = root / "training" / "patient001", root / "testing" / "patient118"
    shutil.copytree(source, twin)
    for path in sorted(twin.glob("patient001*")):
        path.rename(twin / path.name.replace("patient001", "patient118"))
    with pytest.raises(InputError, match=r"patient001_frame01.nii.gz \(train\) and testing/patient118.*\(10 such"):
        run("acdc", root=root)
    assert not list(tmp_path.glob("out/*"))
    assert run("acdc", root=root, allow_duplicates=True).info.counts == {"train": 30, "test": 20}


def test_a_split_file_moves_one_patient_and_a_draw_keeps_twins_together(
    run: Run, copy: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    root = copy("acdc")
    for number in ("117", "118"):
        shutil.copytree(root / "training/patient001", twin := root / f"testing/patient{number}")
        for path in sorted(twin.glob("patient001*")):
            path.rename(twin / path.name.replace("patient001", f"patient{number}"))
    mask = nib.load(twin / "patient118_frame01_gt.nii.gz")
    nib.save(nib.Nifti1Image(np.roll(np.asarray(mask.dataobj), 1, 0), mask.affine), twin / "patient118_frame01_gt.nii.gz")
    (tmp_path / "split.csv").write_text("source,split\npatient117,train\npatient118,train\n")
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        index = run("acdc", root=root, split={"file": str(tmp_path / "split.csv")}, validation=0.3).index
    assert set(index.loc[index["split"] == "test", "group"]) == {"patient004"}
    assert index.loc[index["group"].isin(["patient001", "patient117", "patient118"]), "split"].nunique() == 1
    assert "patient001_frame01.nii.gz (" in caplog.text and "5 with other masks" in caplog.text
    assert "pictures are not in their published split" in caplog.text


@pytest.mark.parametrize("where", ["train", "test"])
def test_empty_masks_are_refused(where: str, run: Run, copy: Callable[[str], Path], tmp_path: Path) -> None:
    root = copy("covid-qu")
    folders = {"train": ("Train", "Val"), "test": ("Test",)}[where]
    for path in (path for name in folders for path in root.glob(f"*/{name}/*/infection masks/*.png")):
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    with pytest.raises(InputError, match=f"labels and background in the split '{where}', but all . are empty, such as that of"):
        run("covid-qu", root=root)
    assert not list(tmp_path.glob("out/*"))


def test_empty_and_full_masks_are_written_down(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "medtransfer")
    prepared = run("acdc")
    assert "; of the pixels of the train masks: RV cavity " in caplog.text
    rows = (prepared.folder / "mask_counts.csv").read_text().splitlines()
    held = [prepared.masks[prepared.samples("test")["row"]] == label for label in (1, 2, 3)]
    expected = [
        f"test,{name},10,{10 - int(mask.any(axis=(1, 2)).sum())},0" for name, mask in zip(prepared.info.classes, held, strict=True)
    ]
    assert rows[0] == "split,class,masks,empty,full,share"
    assert [row.rpartition(",")[0] for row in rows[5:8]] == expected
    pixels = prepared.masks[prepared.samples("test")["row"]]
    shares = [float(row.rpartition(",")[2]) for row in rows[5:8]]
    assert shares == pytest.approx([(pixels == label).mean() for label in (1, 2, 3)], abs=1e-6)


def test_a_target_of_an_older_reader_is_prepared_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("covid-qu")
    born = (first.folder / "images.npy").stat().st_ino
    monkeypatch.setattr(settings, "REVISION", settings.REVISION + 1)
    again = run("covid-qu")
    assert (again.folder / "images.npy").stat().st_ino != born and again.info.fingerprint == first.info.fingerprint


def test_a_failure_keeps_the_older_result(run: Run, copy: Callable[[str], Path]) -> None:
    root = copy("acdc")
    prepared = run("acdc", root=root)
    before = prepared.info
    path = root / "testing" / "patient004" / "patient004_frame09_gt.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError):
        run("acdc", root=root)
    assert PreparedTarget.open(prepared.folder).info == before
    assert [path.name for path in prepared.folder.parent.iterdir()] == ["t"]


def test_an_unknown_reader_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of acdc, covid-qu, idrid, folder, .*, but got 'mnist'"):
        prepare(
            "t", reader="mnist", root=samples, size=(8, 8), subset=True, split="official", validation=0.0,
            allow_duplicates=False, options={}, out=tmp_path / "out",
        )  # fmt: skip


def test_the_preview_shows_outlines_in_the_class_colours(run: Run) -> None:
    sheet = np.asarray(Image.open(run("acdc").folder / "preview.png"))
    for colour in ((230, 159, 0), (86, 180, 233), (204, 121, 167)):  # Okabe and Ito's
        samples, legend = ((part == colour).all(axis=2).sum() for part in (sheet[:-18], sheet[-18:]))
        assert samples > 100 and legend >= 100


def test_own_images_are_not_turned_upside_down_unless_asked(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A target of before is prepared again; with the option it is the target that it was, so that its results are found."""
    prepared = run("folder")
    assert prepared.info.augmentation == "affine"
    before = replace(prepared.info, augmentation="rotate-flip")
    before.write(prepared.folder / "dataset.json")
    with caplog.at_level(logging.INFO, logger="medtransfer"):
        assert run("folder").info == prepared.info
    assert "reused" not in caplog.text
    turned = run("folder", options={"masks": "infection masks", "augmentation": "rotate-flip"})
    assert turned.info.fingerprint == before.fingerprint != prepared.info.fingerprint
    with pytest.raises(InputError, match=r"option augmentation to be one of affine, rotate-flip, but got 'twirl'; "):
        run("folder", options={"masks": "infection masks", "augmentation": "twirl"})
    assert run("covid-qu").info.augmentation == "rotate-flip"  # as published


def test_the_augmentations_that_the_folder_reader_names_exist() -> None:
    from medtransfer.data.augmentation import AUGMENTATIONS

    assert set(folder.AUGMENTATIONS) <= AUGMENTATIONS.keys()

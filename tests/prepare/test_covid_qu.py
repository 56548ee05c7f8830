"""COVID-QU-Ex: the published folders and the four arrays, and the option `classes`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.readers.covid_qu import CLASSES, EXPECTED, scan
from medtransfer.records import PreparedTarget

Run = Callable[..., PreparedTarget]
TRAIN = "Infection Segmentation Data/Train/COVID-19"


def write_arrays(root: Path, images: np.ndarray, masks: np.ndarray) -> Path:
    for name in ("train_and_val", "test"):
        (root / name).mkdir(parents=True)
        np.save(root / name / "imgs.npy", images)
        np.save(root / name / "inf_masks.npy", masks)
    return root


def test_train_and_val_are_the_training_images(samples: Path) -> None:
    lungs = scan(samples / "lungs", (8, 8), {})
    assert [item.split for item in lungs.items] == ["train"] * 4 + ["test"]
    assert {Path(item.source).parts[1] for item in lungs.items} == {"Train", "Val", "Test"}
    assert lungs.expected == EXPECTED == {"train": 2330, "test": 583}


def test_other_classes_have_empty_masks(run: Run) -> None:
    prepared = run("covid-qu", options={"classes": list(CLASSES)})
    healthy = prepared.index[~prepared.index["source"].str.contains("/COVID-19/")]
    assert len(healthy) == 4
    assert not prepared.masks[healthy["row"]].any()
    assert prepared.info.expected == {}


def test_an_unknown_class_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match=r"the option classes .* but got \['Flu'\]"):
        run("covid-qu", options={"classes": ["Flu"]})


def test_arrays_and_folders_hold_the_same_pictures(samples: Path, tmp_path: Path) -> None:
    folders = scan(samples / "lungs", (16, 16), {})
    home = samples / "lungs" / TRAIN
    paths = sorted((home / "images").iterdir())
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    masks = np.stack([np.asarray(Image.open(home / "infection masks" / path.name)) for path in paths])
    arrays = scan(write_arrays(tmp_path, images, masks), (16, 16), {})
    assert [item.split for item in arrays.items] == ["train"] * len(paths) + ["test"] * len(paths)
    assert len({item.group for item in arrays.items}) == len(arrays.items)
    for row, item in enumerate(arrays.items[: len(paths)]):
        (picture,), (same,) = item.load(), folders.items[row].load()
        assert np.array_equal(picture.image, same.image) and np.array_equal(picture.labels, same.labels)
        assert picture.slice == row


def test_the_archive_of_kaggle_and_its_inner_folder_are_read(samples: Path, tmp_path: Path) -> None:
    inner = tmp_path / "Infection Segmentation Data" / "Infection Segmentation Data"
    shutil.copytree(samples / "lungs" / "Infection Segmentation Data", inner)
    (tmp_path / "Lung Segmentation Data").mkdir()
    published = [item.group for item in scan(samples / "lungs", (8, 8), {}).items]
    for root in (tmp_path, inner.parent, inner):
        assert [item.group for item in scan(root, (8, 8), {}).items] == published
    shutil.copytree(inner / "Train", inner.parent / "Train")
    with pytest.raises(InputError, match="once below .*, but got both"):
        scan(tmp_path, (8, 8), {})


@pytest.mark.parametrize("masks", ["missing", "empty"])
def test_a_test_set_without_masks_says_what_to_do(masks: str, copy: Callable[[str], Path]) -> None:
    root = copy("covid-qu")
    folder = root / "Infection Segmentation Data/Test/COVID-19/infection masks"
    shutil.rmtree(folder)
    if masks == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=r"masks in .*Test/COVID-19.*none for its 1 images; add them, or .*`subset: true`"):
        scan(root, (8, 8), {})


def test_a_folder_named_like_a_split_is_not_passed_over(copy: Callable[[str], Path]) -> None:
    root = copy("covid-qu")
    (root / "Infection Segmentation Data/Testing").mkdir()
    with pytest.raises(InputError, match="Train/ and Val/ and Test/ of .*, but got Testing/ too"):
        scan(root, (8, 8), {})


def test_lung_masks(samples: Path) -> None:
    infections, lungs = (scan(samples / "lungs", (8, 8), {"masks": kind}) for kind in ("infection", "lung"))
    assert lungs.classes == ("lung",) and [item.group for item in lungs.items] == [item.group for item in infections.items]
    assert {path.parent.name for item in lungs.items for path in item.files} == {"images", "lung masks"}
    with pytest.raises(InputError, match="option masks to be one of infection, lung, but got 'heart'"):
        scan(samples / "lungs", (8, 8), {"masks": "heart"})

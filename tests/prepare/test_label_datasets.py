"""Published datasets of classified images, in small: labels, patients, splits and official counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.prepare.conftest import CASES
from tests.prepare.label_layouts import FINDINGS14, picture, write_lines

from medtransfer.config.load import load_params
from medtransfer.errors import InputError
from medtransfer.prepare.readers import READERS, chestxray14
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.splits import assign_splits
from medtransfer.prepare.stage import check_counts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(samples: Path) -> Callable[..., Scan]:
    """`read(reader, **options)` describes the reader's sample."""

    def call(reader: str, root: Path | None = None, **options: Any) -> Scan:
        case = CASES[reader]
        return READERS[reader](root or samples / case["root"], case["size"], case["options"] | options)

    return call


def labels(described: Scan) -> list[Any]:
    return [picture.labels.tolist() for item in described.items for picture in item.load()]


def column(described: Scan, name: str) -> list[Any]:
    return [getattr(item, name) for item in described.items]


COUNTS = {
    "chestxray14": {"train": 86524, "test": 25596},
    "chexpert": {"train": 223414, "test": 234},
    "shenzhen": {"all": 662},
    "aptos": {"all": 3662},
    "patchcamelyon": {"all": 220025},
    "kermany": {"train": 5216, "validation": 16, "test": 624},
    "nih-four-findings": {"train": 2412, "test": 1962},
}  # as STUDIES' sources print them


@pytest.mark.parametrize("reader", COUNTS)
def test_official_counts_are_checked(reader: str, read: Callable[..., Scan], tmp_path: Path) -> None:
    described = read(reader)
    assert dict(described.expected) == COUNTS[reader]
    split, number = next(iter(COUNTS[reader].items()))
    named = "" if split == "all" else f"{split} "
    with pytest.raises(InputError, match=rf"expected {number} {named}samples in .*, but got \d+ \(\d+ fewer\); .*`subset: true`"):
        check_counts(described, False, tmp_path)
    check_counts(described, True, tmp_path)


def test_chestxray14(read: Callable[..., Scan]) -> None:
    described = read("chestxray14")
    expected = [[int(name in text.split("|")) for name in described.classes] for text in FINDINGS14]
    assert labels(described) == expected and [sum(row) for row in expected] == [2, 0, 1, 1, 0, 2]
    assert described.classes[0] == "Atelectasis" and described.classes[-1] == "Hernia" and len(described.classes) == 14
    assert column(described, "group") == ["00000001", "00000001", "00000002", "00000002", "00000003", "00000003"]
    assert column(described, "split") == ["train"] * 4 + ["test"] * 2
    assert (described.task, described.channels) == ("multilabel", 1)
    pneumonia = read("chestxray14", task="binary", classes=["Pneumonia"], others="negative")
    assert labels(pneumonia) == [0, 0, 0, 1, 0, 1] and pneumonia.classes == ("Pneumonia",)


def test_chestxray14_by_the_lists_of_its_authors(samples: Path, read: Callable[..., Scan], tmp_path: Path) -> None:
    by_table = read("chestxray14")
    (tmp_path / "images").symlink_to(samples / "chestxray14" / "images")
    lines = [f"{Path(i.source).name} {' '.join(map(str, row))}" for i, row in zip(by_table.items, labels(by_table), strict=True)]
    for name, part in (("train", lines[:2]), ("val", lines[2:4]), ("test", lines[4:])):
        write_lines(tmp_path / f"{name}.txt", *part)
    lists = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
    by_lists = read("chestxray14", tmp_path, lists=lists)
    assert labels(by_lists) == labels(by_table) and column(by_lists, "group") == column(by_table, "group")
    assert column(by_lists, "split") == ["train", "train", "validation", "validation", "test", "test"]
    assert dict(by_lists.expected) == {"train": 75312, "validation": 11212, "test": 25596}
    assert sum(by_lists.expected.values()) == sum(chestxray14.COUNTS.values()) == 112120
    assert labels(read("chestxray14", tmp_path, lists=lists, task="binary", classes=["Pneumonia"])) == [0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize(("policy", "edema"), [("ones", 1), ("zeros", 0), ("ignore", 255), ("lsr-ones", 254), ("lsr-zeros", 254)])
def test_chexpert(policy: str, edema: int, read: Callable[..., Scan]) -> None:
    described = read("chexpert", uncertain=policy)
    first = np.zeros(14, int)
    first[2], first[5] = 1, edema
    assert labels(described)[:2] == [first.tolist()] * 2 and labels(described)[2] == [1] + [0] * 13
    assert column(described, "split") == ["train"] * 3 + ["test"] * 2
    assert column(described, "group") == ["patient00001", "patient00001", "patient00002", "patient00003", "patient00004"]
    frontal = read("chexpert", uncertain=policy, where={"Frontal/Lateral": ["Frontal"]})
    assert len(frontal.items) == 4 and dict(frontal.left_out) == {"train": 1}
    five = read("chexpert", uncertain=policy, classes=["Cardiomegaly", "Edema"])
    assert labels(five)[0] == [1, edema]


def test_chexpert_needs_a_policy(read: Callable[..., Scan]) -> None:
    with pytest.raises(InputError, match="option uncertain to say what uncertain labels are, one of ones, zeros, ignore, lsr-ones"):
        read("chexpert", uncertain=None)


def test_rsna_pe(read: Callable[..., Scan]) -> None:
    described = read("rsna-pe")
    assert labels(described) == [0, 1] * 4 and described.channels == 3
    assert column(described, "group") == [f"st{exam}" for exam in (0, 0, 1, 1, 2, 2, 3, 3)]
    (picture_,) = described.items[0].load()
    channels = picture_.image.reshape(-1, 3)
    assert len(np.unique(channels, axis=0)) > 50 and (channels.std(axis=0) > 20).all()


def test_shenzhen(read: Callable[..., Scan]) -> None:
    described = read("shenzhen")
    assert labels(described) == [0, 1] * 3 and described.classes == ("tuberculosis",)
    assert len(set(column(described, "group"))) == 6 and column(described, "split") == [None] * 6
    assert any("not read: .txt (6" in note for note in described.notes)


def test_aptos(read: Callable[..., Scan]) -> None:
    described = read("aptos")
    assert labels(described) == [0, 1, 2, 3, 4] * 2 and described.task == "ordinal"
    assert described.classes == ("no DR", "mild", "moderate", "severe", "proliferative DR")


def test_kermany(read: Callable[..., Scan]) -> None:
    described = read("kermany")
    groups = dict(zip(column(described, "source"), column(described, "group"), strict=True))
    assert (
        groups["train/PNEUMONIA/person1_bacteria_1.jpeg"] == groups["train/PNEUMONIA/person1_bacteria_2.jpeg"] == "person1_bacteria"
    )
    assert groups["test/PNEUMONIA/person1_virus_6.jpeg"] == "person1_virus"
    assert groups["train/NORMAL/NORMAL2-IM-0229-0001.jpeg"] != groups["test/NORMAL/IM-0229-0001.jpeg"]
    assert [label == ("PNEUMONIA" in source) for source, label in zip(groups, labels(described), strict=True)] == [True] * 7
    assert dict(read("kermany", splits={"val": "train"}).expected) == {"train": 5232, "test": 624}


def test_nih_four_findings(read: Callable[..., Scan]) -> None:
    described = read("nih-four-findings")
    assert labels(described) == [0, 1, 2, 3, 4] * 2 and described.classes[-1] == "other" and len(described.classes) == 5
    assert dict(described.left_out) == {"train": 1, "test": 1}
    assert column(described, "split") == ["train"] * 5 + ["test"] * 5


def write_hdf5(root: Path) -> Path:
    """Write three files each of images, labels and slides: two patches of one slide, then one of another."""
    import h5py

    root.mkdir()
    for seed, part in enumerate(("train", "valid", "test")):
        stem = f"camelyonpatch_level_2_split_{part}"
        pixels = np.random.default_rng(seed).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
        for name, values in (("x", pixels), ("y", np.array([1, 0, 1], np.uint8).reshape(3, 1, 1, 1))):
            with h5py.File(root / f"{stem}_{name}.h5", "w") as file:
                file.create_dataset(name, data=values, compression="gzip")
        slides = [f"{number},True,True,{part}_{slide}" for number, slide in enumerate("aba")]
        write_lines(root / f"{stem}_meta.csv", ",tumor_patch,center_tumor_patch,wsi", *slides)
    return root


def test_patchcamelyon_in_hdf5(read: Callable[..., Scan], tmp_path: Path) -> None:
    root = write_hdf5(tmp_path / "raw")
    described = READERS["patchcamelyon"](root, (96, 96), {})
    assert column(described, "group")[:2] == ["train_a", "train_b"] and column(described, "pictures") == [2, 1] * 3
    assert column(described, "split")[::2] == ["train", "validation", "test"]
    pictures = [picture for item in described.items[:2] for picture in item.load()]
    assert [(picture.slice, int(picture.labels)) for picture in pictures] == [(0, 1), (2, 1), (1, 0)]
    truth = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    assert all(np.array_equal(picture.image, truth[picture.slice]) for picture in pictures)
    assert described.expected == {"train": 262144, "validation": 32768, "test": 32768}
    with pytest.raises(InputError, match="expected 262144 train samples in .*, but got 3 "):
        check_counts(described, False, tmp_path)
    for path in root.glob("*_meta.csv"):
        path.unlink()
    unknown = READERS["patchcamelyon"](root, (96, 96), {})
    assert len(unknown.items) == 9 and len(unknown.notes) == 3 and "is missing, so the slides" in unknown.notes[0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train_y.h5", b"", "HDF5 file in .*train_y.h5, but it cannot be read"),
        ("train_x.h5", b"\x89HDF", "HDF5 file in .*train_x.h5, but it cannot be read"),
        ("train_meta.csv", b"wsi\na\n", r"3 rows with the column wsi in .*, but got 1 with wsi"),
    ],
)
def test_broken_hdf5_files_are_refused(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    root = write_hdf5(tmp_path / "raw")
    (root / f"camelyonpatch_level_2_split_{name}").write_bytes(data)
    with pytest.raises(InputError, match=message):
        READERS["patchcamelyon"](root, (96, 96), {})


def test_kaggles_copy_of_chestxray14(samples: Path, read: Callable[..., Scan], tmp_path: Path) -> None:
    for name in ("Data_Entry_2017.csv", "train_val_list.txt", "test_list.txt"):
        (tmp_path / name).symlink_to(samples / "chestxray14" / name)
    for number, path in enumerate(sorted((samples / "chestxray14" / "images").iterdir())):
        picture(tmp_path / f"images_{number // 3 + 1:03d}/images/{path.name}", number)
    described = read("chestxray14", tmp_path, image="images_*/images/{Image Index}")
    assert labels(described) == labels(read("chestxray14"))


@pytest.mark.parametrize(
    "name", ["aptos", "chestxray14", "chexpert", "kermany", "nih-four-findings", "rsna-pe", "shenzhen", "siim"]
)
def test_the_entries_of_the_configuration(name: str, samples: Path) -> None:
    entry = load_params([ROOT / "params.yaml", ROOT / "configs/labelled.yaml"], {}).prepare.targets[name]
    described = READERS[entry.reader](samples / entry.reader, (16, 16), entry.options)
    drawn = assign_splits(described.items, entry.split, entry.validation)
    assert {"train", "test"} <= set(drawn) and not entry.subset

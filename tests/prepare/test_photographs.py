"""Published photographs with masks or species, in small: labels, colours, subsets of classes, splits and official counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tests.prepare.conftest import CASES
from tests.prepare.label_layouts import write_lines
from tests.prepare.photograph_layouts import save_mask, voc_palette, write_camvid_stills

from medtransfer.config.load import load_params
from medtransfer.data.prepared_images import PreparedImages, check_source
from medtransfer.data.resizing import resize_mask
from medtransfer.data.subsets import count_of
from medtransfer.errors import InputError
from medtransfer.prepare.mask_colours import ColourRule, find_palette, parse
from medtransfer.prepare.matlab_files import read_numbers
from medtransfer.prepare.readers import READERS
from medtransfer.prepare.readers.contract import Item, Scan
from medtransfer.prepare.splits import assign_splits
from medtransfer.prepare.stage import check_counts
from medtransfer.records import PreparedTarget

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
Read = Callable[..., Scan]


@pytest.fixture
def read(samples: Path) -> Read:
    """`read(reader, **options)` describes the reader's sample."""

    def call(reader: str, root: Path | None = None, **options: Any) -> Scan:
        case = CASES[reader]
        return READERS[reader](root or samples / case["root"], case["size"], case["options"] | options)

    return call


def masks(described: Scan) -> list[np.ndarray]:
    return [picture.labels for item in described.items for picture in item.load()]


def labels(described: Scan) -> list[int]:
    return [int(picture.labels) for item in described.items for picture in item.load()]


def column(described: Scan, name: str) -> list[Any]:
    return [getattr(item, name) for item in described.items]


def drawn(*boxes: tuple[int, int, int, int, int], ground: int = 0) -> np.ndarray:
    """Return a mask by hand: boxes (value, top, left, bottom, right), later ones on top."""
    mask = np.full((24, 30), ground, np.uint8)
    for value, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = value
    return mask


COUNTS = {
    "flowers17": {"all": 849},
    "flowers102": {"train": 2040, "test": 6149},
    "oxford-pets": {"train": 3680, "test": 3669},
    "oxford-pets-breeds": {"train": 3680, "test": 3669},
    "cityscapes": {"train": 2975, "test": 500},
    "voc2012": {"train": 1464, "test": 1449},
    "camvid": {"train": 367, "validation": 101, "test": 233},
}  # as their authors publish them


@pytest.mark.parametrize("reader", COUNTS)
def test_official_counts_are_checked(reader: str, read: Read, tmp_path: Path) -> None:
    described = read(reader)
    assert dict(described.expected) == COUNTS[reader]
    split, number = next(iter(COUNTS[reader].items()))
    named = "" if split == "all" else f"{split} "
    with pytest.raises(InputError, match=rf"expected {number} {named}samples in .*, but got \d+ \(\d+ fewer\); .*`subset: true`"):
        check_counts(described, False, tmp_path)
    check_counts(described, True, tmp_path)


@pytest.mark.parametrize(
    ("share", "of_849", "of_7349", "of_7375"), [(0.01, 8, 73, 74), (0.05, 42, 367, 369), (0.2, 170, 1470, 1475)]
)
def test_shares_of_the_paper(share: float, of_849: int, of_7349: int, of_7375: int) -> None:
    """Printed are 8, 42, 170 of 849, which rounding half up gives, and 74, 368, 1475 of 7,375, of which it gives two."""
    assert [count_of(share, number) for number in (849, 7349, 7375)] == [of_849, of_7349, of_7375]


@pytest.mark.parametrize(("number", "trained"), [(849, 170), (7349, 1470)])
def test_a_fifth_is_left_to_train_on(number: int, trained: int) -> None:
    items = [Item(None, f"{index}.jpg", f"{index}.jpg", (), 1, list) for index in range(number)]
    assert assign_splits(items, {"test": 0.8, "seed": 0}, 0.0).count("train") == trained


def test_flowers17(read: Read) -> None:
    described = read("flowers17")
    assert [Path(name).stem[-1] for name in column(described, "source")] == ["1", "2", "3", "5", "6", "8"]
    for number, mask in zip((1, 2, 3, 5, 6, 8), masks(described), strict=True):  # palette and RGB alike
        assert np.array_equal(mask, drawn((255, 3, 3, 17, 20), (1, 4, 4, 16, 12 + number)))
    assert described.ignore and described.classes == ("flower",) and "2 of 8 photographs have no trimap" in described.notes[1]
    flower = sum(12 * (8 + number) for number in (1, 2, 3, 5, 6, 8)) / (6 * 24 * 30)
    assert f"128 0 0 (flower, {100 * flower:.1f} % of all pixels)" in described.notes[0]
    outlined = read("flowers17", colours={"128 0 0": "flower", "0 0 0": "flower", "128 128 0": "background"})
    assert np.array_equal(masks(outlined)[0], drawn((1, 3, 3, 17, 20))) and not outlined.ignore


def test_colours_without_a_meaning_are_refused_with_the_palette(read: Read, copy: Callable[[str], Path]) -> None:
    expected = (
        r"define every colour in .*trimaps, but there are 128 128 0 \(undefined, 6\d.\d % of all pixels\), 128 0 0 \(flower, "
        r".*0 0 0 \(undefined, .*; look at .*\.png, and set `colours: {128 128 0: background, 128 0 0: flower, 0 0 0: background}`"
    )
    with pytest.raises(InputError, match=expected):
        read("flowers17", colours={"128 0 0": "flower"})
    root = copy("flowers17")
    mask = np.asarray(Image.open(root / "trimaps/image_0008.png")).copy()
    mask[0, 0] = (1, 2, 3)
    save_mask(root / "trimaps/image_0008.png", mask)
    with pytest.raises(InputError, match=r"1 2 3 \(undefined, 0.0 % of all pixels\)"):
        read("flowers17", root)
    for wrong in (None, {}, {"128 0": "flower"}, {"128 0 256": "flower"}, {"128 0 0": "rose"}, {"128 0 0": "background"}):
        with pytest.raises(InputError, match="option colours to map colours such as 128 0 0 to flower, background, ignore"):
            read("flowers17", colours=wrong)


def test_flowers17_needs_the_files_of_its_list(read: Read, copy: Callable[[str], Path]) -> None:
    root = copy("flowers17")
    (root / "trimaps/image_0003.png").unlink()
    with pytest.raises(
        InputError, match=r"expected a trimap in .*image_0003.png, but there is none; .*imlist.mat names it: unpack"
    ):
        read("flowers17", root)
    (root / "jpg/image_0002.jpg").unlink()
    with pytest.raises(InputError, match=r"expected a photograph in .*image_0002.jpg, but there is none"):
        read("flowers17", root)


def test_colours(tmp_path: Path) -> None:
    assert parse("128 0 1") == parse("128,0,1") == 128 * 65536 + 1
    assert [parse(text) for text in ("", "1 2", "1 2 256", "1 2 -3", "1 2 x", 5)] == [None] * 6
    pixels = np.array([[[0, 0, 0], [9, 8, 7]], [[9, 8, 7], [9, 8, 7]]], np.uint8)
    path = save_mask(tmp_path / "a.png", pixels)
    palette = find_palette([path])
    assert [(str(colour), colour.share, colour.example) for colour in palette] == [("9 8 7", 0.75, path), ("0 0 0", 0.25, path)]
    rule = ColourRule({0: "background", 9 * 65536 + 8 * 256 + 7: "x"}, ["x"])
    assert rule.number(path).tolist() == [[0, 1], [1, 1]]
    with pytest.raises(InputError, match=r"expected the colours 0 0 0 in .*a.png, but got also 9 8 7; restore"):
        ColourRule({0: "background"}, ["x"]).number(path)


def test_matlab_files(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"a": np.array([[1, 2], [3, 4]], np.uint16), "b": np.array([1.0, 2.5]), "c": "text"})
    assert read_numbers(path, "a") == [1, 3, 2, 4]  # columns, as MATLAB counts
    for name, message in (
        ("b", "whole numbers in the variable 'b'"),
        ("c", "whole numbers"),
        ("d", "'d' in .*, but it holds a, b, c"),
    ):
        with pytest.raises(InputError, match=message):
            read_numbers(path, name)
    path.write_text("<!DOCTYPE HTML><html><head><title>302 Found</title></head>")
    with pytest.raises(
        InputError, match=r"expected a MATLAB file in .*x.mat, but it cannot be read \(.*\); download the file again"
    ):
        read_numbers(path, "a")
    with pytest.raises(InputError, match="expected a MATLAB file in .*, but there is none"):
        read_numbers(tmp_path / "y.mat", "a")


def test_flowers102(read: Read) -> None:
    described = read("flowers102", splits={})
    assert labels(described) == [0, 1, 101] * 3 and described.classes[101] == "102" and len(described.classes) == 102
    assert column(described, "split") == ["train"] * 2 + ["validation"] * 3 + ["test"] * 3 + ["train"]
    assert dict(described.expected) == {"train": 1020, "validation": 1020, "test": 6149}
    assert sum(described.expected.values()) == 8189
    assert set(column(read("flowers102"), "split")) == {"train", "test"}
    for wrong in ({"val": "train"}, {"valid": "training"}, ["valid"]):
        with pytest.raises(InputError, match="option splits to map some of trnid, valid, tstid to train, validation, test"):
            read("flowers102", splits=wrong)


def test_flowers102_is_a_source_of_pretraining(run: Callable[..., PreparedTarget]) -> None:
    prepared = run("flowers102", options={})
    check_source(prepared)
    images = PreparedImages(prepared, "val", 16, mean=[0.5] * 3, std=[0.5] * 3, train=False, randaugment=None, seed=0)
    assert [int(images[index][1]) for index in range(len(images))] == [101, 0, 1] and len(images.classes) == 102


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("imagelabels", {"labels": np.array([[1, 2, 103] * 3])}, "labels from 1 to 102 in .*imagelabels.mat, but got 103"),
        ("imagelabels", {"labels": np.array([[1, 2, 3]])}, "imagelabels.mat has 3 and there is an image 9"),
        ("setid", {"trnid": [10]}, "'valid' in .*setid.mat, but it holds trnid"),
    ],
)
def test_broken_lists_of_flowers102(
    name: str, value: dict[str, Any], message: str, read: Read, copy: Callable[[str], Path]
) -> None:  # fmt: skip
    root = copy("flowers102")
    savemat(root / f"{name}.mat", value)
    with pytest.raises(InputError, match=message):
        read("flowers102", root)


@pytest.mark.parametrize(("border", "value"), [("foreground", 1), ("background", 0), ("ignore", 255)])
def test_oxford_pets(border: str, value: int, read: Read) -> None:
    described = read("oxford-pets", border=border)
    names = [Path(source).stem for source in column(described, "source")]
    assert names == ["Abyssinian_1", "Abyssinian_2", "Abyssinian_204", "american_bulldog_100", "american_bulldog_208", "beagle_10"]
    assert column(described, "split") == ["train", "train", "test", "train", "test", "train"]
    seeds = (0, 1, 4, 3, 5, 2)  # order in which they were written
    for seed, mask in zip(seeds, masks(described), strict=True):
        assert np.array_equal(mask, drawn((value, 3, 3, 17, 20), (1, 4, 4, 16, 12 + seed)))
    assert described.ignore == (border == "ignore") and dict(described.left_out) == {}
    (note,) = described.notes
    assert note.startswith("1 photograph is not in list.txt and not read, such as ") and note.endswith("Egyptian_Mau_14.jpg")


def test_subsets_of_oxford_pets(read: Read, tmp_path: Path) -> None:
    dogs = read("oxford-pets", species=["dog"])
    assert len(dogs.items) == 3 and dict(dogs.left_out) == {"train": 2, "test": 1}
    beagles = read("oxford-pets", breeds=["beagle"])
    assert column(beagles, "source") == ["images/beagle_10.jpg"] and dict(beagles.left_out) == {"train": 3, "test": 2}
    breeds = read("oxford-pets-breeds")
    assert breeds.classes == ("Abyssinian", "american_bulldog", "beagle") and labels(breeds) == [0, 0, 0, 1, 1, 2]
    of_dogs = read("oxford-pets-breeds", species=["dog"])
    assert of_dogs.classes == ("american_bulldog", "beagle") and labels(of_dogs) == [0, 0, 1]
    for wrong, message in (
        ({"species": ["bird"]}, "option species to list some of cat, dog, but got"),
        ({"breeds": ["Beagle"]}, "option breeds to list some of Abyssinian, american_bulldog, beagle"),
        ({"species": ["cat"], "breeds": ["beagle"]}, r"images of the breeds \['beagle'\] among cats, but there are none"),
        ({"border": "edge"}, "option border to be one of foreground, background, ignore"),
    ):
        with pytest.raises(InputError, match=message):
            read("oxford-pets", **wrong)


def test_broken_lists_of_oxford_pets(read: Read, copy: Callable[[str], Path]) -> None:
    root = copy("oxford-pets")
    write_lines(root / "annotations/test.txt", "Abyssinian_204 1 1 1", "pug_1 3 2 3")
    with pytest.raises(InputError, match=r"list.txt to name all images of the other lists, but pug_1 is not there \(1 such\)"):
        read("oxford-pets", root)
    write_lines(root / "annotations/test.txt", "Abyssinian_204 1 3 1")
    with pytest.raises(InputError, match=r"lines such as `Abyssinian_100 1 1 1` in .*test.txt, but got 'Abyssinian_204 1 3 1'"):
        read("oxford-pets", root)


def test_cityscapes(read: Read) -> None:
    described = read("cityscapes")
    assert column(described, "split") == ["train"] * 4 + ["test"] * 2
    assert column(described, "group") == ["aachen"] * 2 + ["tubingen"] * 2 + ["munster"] * 2
    void = (255, 22, 0, 24, 30)  # ego vehicle
    first, second = (8, 2, 20, 9), (8, 11, 20, 18)
    expected = [
        drawn(void, (1, *first)), drawn(void, (2, *first), (1, *second)), drawn(void, (2, *first), (255, *second)), drawn(void),
        drawn(void, (1, *first), (2, *second)), drawn(void),
    ]  # fmt: skip
    assert all(map(np.array_equal, masks(described), expected))
    whole = read("cityscapes", classes=None)
    assert len(whole.classes) == 19 and whole.classes[13:16] == ("car", "truck", "bus")
    assert np.array_equal(masks(whole)[0], drawn((11, 0, 0, 6, 30), void, (14, *first), ground=1))
    caravans = read("cityscapes", classes=["caravan"], containing=True)
    assert len(caravans.items) == 1 and np.array_equal(masks(caravans)[0], drawn(void, (1, *second)))


def test_images_that_hold_a_class(read: Read) -> None:
    buses = read("cityscapes", classes=["bus"], containing=True)
    assert column(buses, "group") == ["aachen", "tubingen", "munster"] and dict(buses.left_out) == {"train": 2, "test": 1}
    assert buses.notes == (
        "1 image is not read in leftImg8bit/test, since their labels are not published",
        "3 of 6 images hold bus; the others are left out",
    )
    assert all((mask == 1).any() for mask in masks(buses))
    either = read("cityscapes", classes=["bus", "car"], containing=True)
    assert len(either.items) == 4 and "hold bus or car" in either.notes[1]
    with pytest.raises(InputError, match="expected images with truck in .*, but there are none"):
        read("cityscapes", classes=["truck"], containing=True)
    for wrong in ([], ["lorry"], ["bus", "bus"], "bus", [28]):
        with pytest.raises(InputError, match="option classes to list some of unlabeled, ego vehicle, .*, bicycle, but got"):
            read("cityscapes", classes=wrong)


def test_voc2012(read: Read, copy: Callable[[str], Path]) -> None:
    described = read("voc2012")  # cat and aeroplane, in this order
    assert column(described, "split") == ["train"] * 3 + ["test"] * 2
    outlined = [(255, 3, 2, 21, 14), (255, 3, 15, 21, 27)]
    both = [drawn(*outlined, (a, 4, 3, 20, 13), (b, 4, 16, 20, 26)) for a, b in ((2, 0), (1, 0), (1, 0))]
    one = [drawn(outlined[0], (a, 4, 3, 20, 13)) for a in (1, 2)]
    assert all(map(np.array_equal, masks(described), [both[0], one[0], both[1], one[1], both[2]]))
    cats = read("voc2012", classes=["cat"], containing=True)
    assert [Path(name).stem for name in column(cats, "source")] == ["2007_000039", "2007_000063", "2007_000042"]
    assert dict(cats.left_out) == {"train": 1, "test": 1}
    assert len(read("voc2012", classes=None).classes) == 20 and voc_palette()[15] == (192, 128, 128)  # person
    root = copy("voc2012")
    save_mask(root / "SegmentationClass/2007_000033.png", np.full((24, 30), 21, np.uint8), voc_palette())
    with pytest.raises(
        InputError, match=r"expected the labels 0, 1, .*, 20, 255 in .*2007_000033.png, but got 21; restore the mask"
    ):
        masks(read("voc2012", root))
    write_lines(root / "ImageSets/Segmentation/val.txt", "2007_000032")
    with pytest.raises(InputError, match="every image once in .*train.txt and .*val.txt, but some are named twice"):
        read("voc2012", root)


def test_camvid(read: Read) -> None:
    described = read("camvid")
    assert column(described, "group") == ["0001TP", "0001TP", "0006R0", "0016E5", "0001TP"]
    assert column(described, "split") == ["train", "train", "train", "validation", "test"]
    void, cars = (255, 22, 0, 24, 30), [(2, 8, 5 + n, 18, 15 + n) for n in (0, 1, 2, 0, 0)]
    expected = [drawn((0, 0, 0, 6, 30), car, void, ground=1) for car in cars]
    assert all(map(np.array_equal, masks(described), expected))
    with pytest.raises(InputError, match="every group .* in one split, but '0001TP' is in train and test"):
        assign_splits(described.items, "official", 0.0)
    frames = read("camvid", group="frame")
    assert assign_splits(frames.items, "official", 0.0) == column(described, "split")
    assert len(read("camvid", classes=None).classes) == 11
    with pytest.raises(InputError, match="option group to be sequence or frame"):
        read("camvid", group="street")


def test_camvid_of_its_authors(read: Read, tmp_path: Path) -> None:
    root = write_camvid_stills(tmp_path)
    stills, segnet = read("camvid", root, classes=["Road", "Car"]), read("camvid", root / "segnet")
    assert dict(stills.expected) == {"all": 701} and set(column(stills, "split")) == {None}
    by_name = {Path(item.source).stem: mask for item, mask in zip(segnet.items, masks(segnet), strict=True)}
    for item, mask in zip(stills.items, masks(stills), strict=True):
        assert np.array_equal(mask, by_name[Path(item.source).stem])
    assert sorted(set(column(stills, "group"))) == ["0001TP", "0006R0", "0016E5"]
    assert read("camvid", root, classes=None).classes == ("Animal", "Car", "Road", "Sky")  # Void is ignored
    write_lines(root / "label_colors.txt", "64 0 Car")
    with pytest.raises(InputError, match=r"lines such as `64 0 128 Car` in .*label_colors.txt, but got '64 0 Car'"):
        read("camvid", root)


def test_padding_is_ignored(samples: Path) -> None:
    described = READERS["voc2012"](samples / "voc2012", (40, 30), {"classes": ["cat"], "keep_aspect": True})
    assert described.ignore and described.image_rule is not None and described.image_rule().keep_aspect
    whole = READERS["voc2012"](samples / "voc2012", (24, 30), {"classes": ["cat"]})
    for padded, mask in zip(masks(described), masks(whole), strict=True):
        assert (padded[:8] == 255).all() and (padded[32:] == 255).all() and np.array_equal(padded[8:32], mask)
    assert resize_mask(np.ones((2, 4), np.uint8), (4, 4), True).tolist() == [[0] * 4, [1] * 4, [1] * 4, [0] * 4]


@pytest.mark.parametrize(
    ("reader", "wrong", "message"),
    [
        ("voc2012", {"augmentation": "mixup"}, "option augmentation to be one of affine, rotate-flip, but got 'mixup'"),
        ("cityscapes", {"containing": 1}, "option containing to be true or false, but got 1"),
    ],
)
def test_wrong_options_are_refused(reader: str, wrong: dict[str, Any], message: str, read: Read) -> None:
    with pytest.raises(InputError, match=message):
        read(reader, **wrong)


def entries() -> dict[str, Any]:
    return dict(load_params([ROOT / "params.yaml", ROOT / "configs/natural.yaml"], {}).prepare.targets)


@pytest.mark.parametrize(
    "name",
    ["flowers17", "flowers102", "oxford-pets", "oxford-dogs", "cityscapes-car", "cityscapes-bus", "voc-aeroplane", "voc-cat",
     "camvid", "camvid-frames"],
)  # fmt: skip
def test_the_entries_of_the_configuration(name: str, samples: Path) -> None:
    entry = entries()[name]
    root = samples / CASES[entry.reader]["root"]
    if name == "flowers17":
        with pytest.raises(InputError, match="define every colour"):
            READERS[entry.reader](root, (16, 16), entry.options)
        return
    described = READERS[entry.reader](root, (16, 16), entry.options)
    drawn_splits = assign_splits(described.items, entry.split, entry.validation)
    assert {"train", "test"} <= set(drawn_splits) and not entry.subset


def test_horses_are_read_as_cats_are() -> None:
    cat, horse = entries()["voc-cat"], entries()["voc-horse"]
    assert horse.options == cat.options | {"classes": ["horse"]} and horse.root == cat.root and horse.reader == cat.reader

"""The reader `table`: which images a table names, their splits, patients and pixels."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.prepare.label_layouts import picture, write_dicom, write_lines

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Item, Picture, Scan, own_patients, spelling_of_patients
from medtransfer.prepare.readers.table import scan
from medtransfer.wording import composed

SIZE = (20, 24)
OWN = own_patients("group_by", " to `'{COLUMN}'`, the column that names the patient")


def load(item: Item) -> Picture:
    (loaded,) = item.load()
    return loaded


def labels(described: Scan) -> dict[str, Any]:
    return {Path(item.source).name: load(item).labels.tolist() for item in described.items}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of three images and their table."""
    for number, name in enumerate("abc"):
        picture(tmp_path / f"{name}.png", number)
    write_lines(tmp_path / "labels.csv", "image,label", "a.png,1", "b.png,0", "c.png,1")
    return tmp_path


def run(root: Path, **options: Any) -> Scan:
    return scan(root, SIZE, {"column": "label"} | options)


def test_a_plain_table(root: Path) -> None:
    described = run(root)
    assert labels(described) == {"a.png": 1, "b.png": 0, "c.png": 1}
    assert (described.task, described.classes, described.channels, described.labels.shape) == ("binary", ("label",), 1, ())
    assert [item.group for item in described.items] == ["a.png", "b.png", "c.png"]
    assert described.notes == (OWN,) and described.items[0].files == (root / "a.png", root / "labels.csv")
    assert np.array_equal(load(described.items[1]).image[..., 0], np.asarray(Image.open(root / "b.png")))


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["image, label ", "a.png, 1", "b.png, 0"], {}),
        (["\ufeffimage,label", "a.png,1.0", "b.png,0.0"], {}),
        (["image;label;[w,h]", "a.png;1;2", "b.png;0;3"], {"delimiter": ";"}),
        (["label,,size[w,h],image", "1,x,2,3,a.png", "0,y,2,3,b.png"], {}),  # commas without quotes: five fields
        (["a.png 1", "b.png\t0  "], {"delimiter": " ", "header": ["image", "label"]}),
        (['image,note,label', '"a.png","two\nlines",1', 'b.png,"a ""quote""",0'], {}),
    ],
)  # fmt: skip
def test_tables_as_they_come(lines: list[str], options: dict[str, Any], root: Path) -> None:
    (root / "c.png").unlink()
    write_lines(root / "labels.csv", *lines)
    assert labels(run(root, **options)) == {"a.png": 1, "b.png": 0}


def test_missing_images_are_named_or_skipped(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label", "a.png,1", "x.png,0", "y.png,0")
    with pytest.raises(InputError, match=r"but 2 rows name an image .* such as .*x\.png in line 3 of .*labels\.csv; complete"):
        run(root)
    skipped, unnamed, _ = run(root, missing="skip").notes
    assert skipped.startswith("2 rows name") and skipped.endswith("such rows are skipped")
    assert unnamed == f"2 images are in no row of the table and not read, such as {root / 'b.png'}"


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "sub/../../a.png", "", "sub\\..\\..\\a.png"])
def test_names_outside_the_dataset_are_refused(name: str, root: Path) -> None:
    write_lines(root / "labels.csv", "image,label", f"{name},1")
    with pytest.raises(InputError, match="the path of an image below .* in line 2"):
        run(root)


def test_names_are_compared_after_composition(root: Path) -> None:
    picture(root / "Mu\u0308ller (1)/gro\u0308\u00dfe #1.png", 5)  # decomposed, as macOS writes it
    write_lines(root / "labels.csv", "image,label", "M\u00fcller (1)/gr\u00f6\u00dfe #1.png,1", "a.png,0")
    described = run(root)
    assert [item.group for item in described.items] == ["M\u00fcller (1)/gr\u00f6\u00dfe #1.png", "a.png"]
    assert load(described.items[0]).image.std() > 5


def test_stars_stand_for_folders(root: Path) -> None:
    picture(root / "images_001/images/d.png", 7)
    picture(root / "images_002/images/e.png", 8)
    write_lines(root / "labels.csv", "image,label", "d.png,1", "e.png,0")
    described = run(root, image="images_*/images/{image}")
    assert [item.source for item in described.items] == ["images_001/images/d.png", "images_002/images/e.png"]
    picture(root / "images_002/images/d.png", 9)
    with pytest.raises(InputError, match=r"one image named 'd\.png', but got .*images_001.* and .*images_002"):
        run(root, image="images_*/images/{image}")


def test_a_prefix_is_taken_off(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label", "v1.0-small/a.png,1", "v1.0/b.png,0")
    assert labels(run(root, strip=r"v1\.0(-small)?/")) == {"a.png": 1, "b.png": 0}


def test_rows_of_one_image_are_joined(root: Path) -> None:
    rows = ["a.png,1,0", "a.png,1,0", "b.png,0,1", "b.png,1,0", "c.png,0,0"]
    write_lines(root / "labels.csv", "image,x,y", *rows)
    options = {"task": "multilabel", "column": None, "columns": ["x", "y"]}
    with pytest.raises(
        InputError, match=r"same labels in all rows of .*b\.png, but line 4 .* and line 5 .* differ; .* `repeated: union`"
    ):
        run(root, **options)
    described = run(root, **options, repeated="union")
    assert labels(described) == {"a.png": [1, 0], "b.png": [1, 1], "c.png": [0, 0]}
    assert any(note.startswith("several rows of 2 image(s) are joined") for note in described.notes)


def test_a_row_per_finding(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label", "a.png,x", "a.png,y", "b.png,none", "c.png,y")
    options = {"task": "multilabel", "separator": "|", "classes": ["x", "y"], "none": "none", "repeated": "union"}
    assert labels(run(root, **options)) == {"a.png": [1, 1], "b.png": [0, 0], "c.png": [0, 1]}


def test_rows_that_do_not_count_are_expected_ones(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,view", "a.png,1,PA", "b.png,0,lateral", "c.png,,PA")
    described = run(root, where={"view": ["PA"]}, blank="leave-out", expected={"all": 3})
    assert labels(described) == {"a.png": 1} and described.left_out == {"all": 2} and described.expected == {"all": 3}
    assert described.notes == (OWN, "2 images are left out, as the options say")


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"group_by": "{who}"}, ["7", "7", "08"]),
        ({"group_by": "{who}-{label}"}, ["7-1", "7-0", "08-1"]),
        ({"group": r"^(.)"}, ["a", "b", "c"]),
        ({"group_by": "p{who}", "group": r"p0?(\d)"}, ["7", "7", "8"]),
    ],
)
def test_patients(options: dict[str, Any], groups: list[str], root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,who", "a.png,1,7", "b.png,0,7", "c.png,1,08")
    assert [item.group for item in run(root, **options).items] == groups


@pytest.mark.parametrize(
    ("patients", "pair"),
    [
        (["0", "0.0", "1"], ("0", 2, "0.0", 3)), (["1", "00", "0"], ("00", 3, "0", 4)), (["P0", "x", "p0"], ("P0", 2, "p0", 4)),
        (["P1", "P01", "P10"], ("P1", 2, "P01", 3)), (["Doe  J", "doe J", "Doe"], ("Doe  J", 2, "doe J", 3)),
        (["0", "00", "0"], ("0", 2, "00", 3)), (["7", "7", "70"], None),
        (["1.2.840", "1.2.840.0", "1.2.84"], None), (["1.1", "1.01", "1.10"], None), (["1_0", "10", "100"], None),
        (["12345678901234567891", "12345678901234567892", "1e3"], None), (["1000", "1e3", "-1000"], None),
        (["0281a7", "281a07", "028a17"], None), (["01.5", "1.5", "7"], None), (["7.", "7", "8"], None),
        (["id 7", "id 07", "8"], ("id 7", 2, "id 07", 3)),
        (["M\u00fcller", "Mu\u0308ller", "Muller"], None),
    ],
)  # fmt: skip
def test_patients_that_differ_in_spelling_alone_get_one_note(
    patients: list[str], pair: tuple[str, int, str, int] | None, root: Path
) -> None:
    """Pairs as a person sees them, who counts 1.01 and 1.1 as two visits, and Müller as one name however it is composed."""
    write_lines(root / "labels.csv", "image,label,who", *(f"{name}.png,1,{who}" for name, who in zip("abc", patients, strict=True)))
    described, table = run(root, group_by="{who}"), root / "labels.csv"
    assert len({item.group for item in described.items}) == len(set(map(composed, patients)))  # none are joined
    if pair is None:
        assert described.notes == ()
        return
    one, first, other, second = pair
    assert described.notes == (
        f"patients {one!r} (line {first} of {table}) and {other!r} (line {second} of {table}) differ in spelling alone; if they "
        "are the same patient, write them alike there, so that no patient is in two splits",
    )
    table.write_text(table.read_text().replace(f",{other}\n", f",{one}\n"))
    assert run(root, group_by="{who}").notes == ()


def test_all_patients_that_differ_in_spelling_are_counted_in_one_note(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,who", "a.png,1,7", "b.png,0,07", "c.png,1,7.0")
    (note,) = run(root, group_by="{who}").notes
    assert "and '07' (line 3 of" in note and "labels.csv), and 1 further pair, differ in spelling alone" in note
    assert run(root, group_by="{who}", group=r"0?(\d)").notes == ()
    write_lines(root / "labels.csv", "image,label", "a.png,1", "A.png,0")
    picture(root / "A.png", 5)
    note = run(root, group=r"(\w)\.png").notes[-1]
    assert note.endswith("if they are the same patient, name their images alike, so that no patient is in two splits")
    assert "spelling" not in "".join(run(root).notes)


def test_of_many_patients_those_spelt_alike_are_found() -> None:
    names = [*(f"patient{number:06d}" for number in range(100_000)), "Patient7"]
    (note,) = spelling_of_patients(((name, f"line {line}") for line, name in enumerate(names)), "do something")
    assert note.startswith("patients 'patient000007' (line 7) and 'Patient7' (line 100000) differ in spelling alone; if")


def test_a_blank_patient_is_refused(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,who", "a.png,1,")
    with pytest.raises(InputError, match=r"the patient of .*a\.png, but '\{who\}' is blank in line 2"):
        run(root, group_by="{who}")


def test_a_patient_that_is_probably_unknown_is_noted(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,who", "a.png,1,NA", "b.png,0,7", "c.png,1,NA")
    described = run(root, group_by="{who}")
    assert [item.group for item in described.items] == ["NA", "7", "NA"] and described.notes == (
        "2 rows are of the patient 'NA', which counts as one; if that means unknown, give each such row a patient of its own in "
        "the table",
    )  # fmt: skip


def test_the_classes_of_a_column_are_those_of_the_rows_that_count(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,view", "a.png,mel,PA", "b.png,nev,PA", "c.png,scar,lateral")
    assert run(root, task="multiclass", where={"view": ["PA"]}).classes == ("mel", "nev")
    write_lines(root / "labels.csv", "image,label", "a.png,mel", "b.png,nev", "c.png,NA")
    with pytest.raises(InputError, match=re.escape('set `where: {"label": ["mel", "nev"]}`')):
        run(root, task="multiclass")
    described = run(root, task="multiclass", where={"label": ["mel", "nev"]})  # as the message says
    assert labels(described) == {"a.png": 0, "b.png": 1} and described.left_out == {"all": 1}


def splits(described: Scan) -> list[str | None]:
    return [item.split for item in described.items]


def test_splits_of_a_column(root: Path) -> None:
    write_lines(root / "labels.csv", "image,label,part", "a.png,1,Training", "b.png,0,TEST", "c.png,1,val")
    assert splits(run(root, split_column="part")) == ["train", "test", "validation"]
    with pytest.raises(InputError, match="expected one of training, test in 'part' of line 4 .* but got 'val'"):
        run(root, split_column="part", splits={"training": "train", "test": "test"})


def test_splits_of_tables(root: Path) -> None:
    write_lines(root / "one.csv", "image,label", "a.png,1", "b.png,0")
    write_lines(root / "two.csv", "label,image", "1,c.png")
    assert splits(run(root, table={"test": ["two.csv"], "train": "one.csv"})) == ["test", "train", "train"]
    assert splits(run(root, table=["one.csv", "two.csv"])) == [None, None, None]


def test_splits_of_lists(root: Path) -> None:
    write_lines(root / "train.txt", "a.png", "", "c.png 1 0")
    write_lines(root / "val.txt", "c")
    write_lines(root / "test.txt", "b.png 0 1")
    lists = {"validation": "val.txt", "train": "train.txt", "test": ["test.txt"]}
    described = run(root, split_lists=lists)
    assert splits(described) == ["train", "test", "validation"]  # `c` and `c.png` are names of one image
    write_lines(root / "val.txt", "c.png")
    assert splits(run(root, split_lists=lists)) == ["train", "test", "validation"]
    write_lines(root / "val.txt", "b")
    with pytest.raises(InputError, match=r"b\.png in one list, but its names b and b\.png are in several"):
        run(root, split_lists=lists)
    write_lines(root / "val.txt", "c.png")
    assert described.items[0].files[1:] == tuple(root / name for name in ("labels.csv", "train.txt", "val.txt", "test.txt"))
    write_lines(root / "test.txt", "b.png", "x y.png")
    with pytest.raises(
        InputError, match=r"for every line of .*test\.txt, but there is none for 'x y\.png' \(1 such in all lists\)"
    ):
        run(root, split_lists=lists)
    overlap = "1 name is in the list of training images and in another one, which counts (c.png)"
    unused = "1 name in the lists of splits without an image (such as x y.png)"
    assert run(root, split_lists=lists, missing="skip").notes == (overlap, unused, OWN)
    write_lines(root / "test.txt", "c.png")
    with pytest.raises(InputError, match=r"'c\.png' in one list, but .*test\.txt has it as test and another list as validation"):
        run(root, split_lists=lists)


def test_images_in_no_list(root: Path) -> None:
    write_lines(root / "train.txt", "a.png", "c.png")
    write_lines(root / "test.txt", "c.png")
    lists = {"train": "train.txt", "test": "test.txt"}
    assert splits(run(root, split_lists=lists)) == ["train", None, "test"]
    described = run(root, split_lists=lists, unlisted="leave-out")
    assert splits(described) == ["train", "test"] and described.left_out == {"all": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "grade"}, r"expected the column 'grade' in .*labels\.csv, but it has image, label; correct"),
        ({"image": "{name}.png"}, "expected the column 'name'"),
        ({"table": "../labels.csv"}, r"option table to name files inside the dataset, but got '\.\./labels\.csv'"),
        ({"table": "other.csv"}, "expected a file of the dataset.*other.csv"),
        ({"table": {"all": "labels.csv"}}, "option table to map some of train, validation, test"),
        ({"split_lists": {"test": "labels.csv"}, "split_column": "label"}, "in one of the options split_column and split_lists"),
        ({"delimiter": ", "}, "one character in the option delimiter"),
        ({"header": "image"}, "option header to list the names"),
        ({"where": {"label": 1}}, "option where to map columns to lists"),
        ({"missing": True}, "option missing to be one of refuse, skip"),
        ({"strip": "("}, "regular expression in the option strip"),
        ({"group": "(x)"}, r"first group of the option group '\(x\)' to match every name"),
        ({"task": "segmentation"}, "option task to be one of binary, multilabel, multiclass, ordinal"),
        ({"channels": 2}, "option channels to be one of null, 1, 3"),
        ({"augmentation": "none"}, "option augmentation to be one of affine, rotate-flip"),
        ({"expected": {"valid": 3}}, "name train, validation, test or all, but got 'valid'"),
        ({"expected": {"test": "3"}}, "map splits to numbers of samples"),
        ({"scaling": [[0, 1], [0, 1], [0, 1]]}, r"DICOM files for several windows in the option scaling, but got .*a\.png"),
        ({"scaling": [[0, 1], [1, 0]]}, "intensity rule .* with low < high"),
        ({"where": {"label": [5]}}, "expected labelled images in .*, but there are none"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(root, **options)


@pytest.mark.parametrize(("channels", "expected"), [(None, 3), (1, 1), (3, 3)])
def test_grey_and_colour_may_be_mixed(channels: int | None, expected: int, root: Path) -> None:
    grey = np.asarray(Image.open(root / "b.png"))
    picture(root / "b.png", 1, "RGBA")
    picture(root / "c.png", 2, "P")
    described = run(root, channels=channels)
    image = load(described.items[1]).image
    assert described.channels == expected and image.shape == (*SIZE, expected) and (image == grey[..., None]).all()


VALUES = np.array([[-1350, 150], [-50, 0]])  # Hounsfield units


def test_windows_become_channels(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", (VALUES + 1400).astype(np.uint16), intercept=-1400)
    write_lines(tmp_path / "labels.csv", "image,label", "a.dcm,1")
    options = {"column": "label", "scaling": [[-1350, 150], [-250, 450], [-160, 240]]}
    described = scan(tmp_path, (2, 2), options)
    image = load(described.items[0]).image
    expected = [[[0, 0, 0], [255, 146, 198]], [[221, 73, 70], [230, 91, 102]]]  # 255 * (v - low) / (high - low), rounded
    assert described.channels == 3 and image.tolist() == expected and described.image_rule is None
    assert described.scaling() == "windows of the channels: -1350 to 150; -250 to 450; -160 to 240, clipped"
    one = scan(tmp_path, (2, 2), options | {"scaling": [-160, 240], "channels": 3})
    assert load(one.items[0]).image.tolist() == [[[v[2]] * 3 for v in row] for row in expected]
    assert one.image_rule().kind == "window"


def test_bytes_of_dicom_files_are_kept(tmp_path: Path) -> None:
    stored = np.array([[0, 10], [200, 90]], np.uint8)
    write_dicom(tmp_path / "a.dcm", stored, intercept=0)
    write_dicom(tmp_path / "b.dcm", stored, intercept=0, photometric="MONOCHROME1")
    write_lines(tmp_path / "labels.csv", "image,label", "a.dcm,1", "b.dcm,0")
    one, other = (load(item).image[..., 0] for item in scan(tmp_path, (2, 2), {"column": "label"}).items)
    assert np.array_equal(one, stored) and np.array_equal(other, 255 - stored)


def test_deep_images_share_a_scale(root: Path) -> None:
    for name, high in (("a", 1000), ("b", 4000), ("c", 2000)):
        Image.fromarray(np.linspace(0, high, 480).reshape(SIZE).astype(np.uint16)).save(root / f"{name}.png")
    described = run(root, scaling="dataset")
    described.see_splits(["train", "test", "train"])
    assert load(described.items[0]).image.max() < 140 and load(described.items[1]).image.max() == 255
    assert "per dataset" in described.scaling() and described.image_rule().over == "dataset"

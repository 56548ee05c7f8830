"""The reader `image-folder`: classes by folder or by name, and published splits."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.prepare.label_layouts import picture, write_lines

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.image_folder import scan

SIZE = (20, 24)


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name, number)
    return root


def rows(described: Scan) -> list[tuple[str, str | None, int]]:
    """Return source, split and label of each image."""
    return [(item.source, item.split, int(picture.labels)) for item in described.items for picture in item.load()]


def test_classes_without_splits(tmp_path: Path) -> None:
    write(tmp_path, "10/a.png", "9/a.png", "9/deep/b.jpg", "2/c.tif")
    described = scan(tmp_path, SIZE, {})
    assert described.classes == ("2", "9", "10") and described.task == "multiclass"
    assert rows(described) == [("10/a.png", None, 2), ("2/c.tif", None, 0), ("9/a.png", None, 1), ("9/deep/b.jpg", None, 1)]


def test_only_a_group_that_matches_every_name_is_proposed(tmp_path: Path) -> None:
    write(tmp_path, "a/person1_virus_6.png", "b/person2_bacteria_1.png")
    (note,) = scan(tmp_path, SIZE, {}).notes
    assert r"set the option `group`, such as `'(person\d+)'`, so that" in note and scan(tmp_path, SIZE, {"group": r"(person\d+)"})
    write(tmp_path, "b/IM-0001-0001.png")
    (note,) = scan(tmp_path, SIZE, {}).notes
    assert "set the option `group`, so that" in note


def test_published_splits_are_read_and_other_folders_named(tmp_path: Path) -> None:
    write(tmp_path, "Training/x/1.png", "val/y/2.png", "test/x/3.png", "chest_xray/x/4.png", "__MACOSX/x/5.png")
    described = scan(tmp_path, SIZE, {})
    assert [(split, label) for _, split, label in rows(described)] == [("train", 0), ("test", 0), ("validation", 1)]
    beside, alone = described.notes
    assert beside == f"folders of {tmp_path} beside those of the splits are not read: chest_xray"
    assert (
        alone.startswith("every picture counts as a patient of its own") and not scan(tmp_path, SIZE, {"group": "/(.)/"}).notes[1:]
    )
    assert "set the option `group`, so that" in alone
    joined = scan(tmp_path, SIZE, {"splits": {"val": "train", "chest_xray": "test"}})
    assert sorted(split for _, split, _ in rows(joined)) == ["test", "test", "train", "train"]


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train/x/1.png", "train/y/2.png", "test/x/3.png")
    for empty in ("train/z/deeper", "test/y", "test/.hidden"):
        (tmp_path / empty).mkdir(parents=True)
    notes = scan(tmp_path, SIZE, {"group": "(.)"}).notes
    assert notes == (
        f"folders of {tmp_path / 'test'} that hold no pictures: y",
        f"folders of {tmp_path / 'train'} that hold no pictures: z",
    )


def test_images_beside_masks(tmp_path: Path) -> None:
    write(tmp_path, "Normal/images/a (1).png", "COVID/images/b.png", "COVID/lung masks/b.png", "Normal/lung masks/a (1).png")
    write_lines(tmp_path / "Normal/readme.txt", "")
    described = scan(tmp_path, SIZE, {"images": "*/images", "classes": ["Normal", "COVID"]})
    assert rows(described) == [("COVID/images/b.png", None, 1), ("Normal/images/a (1).png", None, 0)]
    assert any(note.startswith("2 pictures are not in '*/images' and not read") for note in described.notes)
    assert any("are not read: .txt (1, such as Normal/readme.txt)" in note for note in described.notes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task": "binary", "classes": ["b"]}, [("a/1.png", 0), ("b/2.png", 1), ("c/3.png", 0)]),
        ({"classes": ["c", "a"], "others": "leave-out"}, [("a/1.png", 1), ("c/3.png", 0)]),
        ({"classes": ["x", "y"], "labels": {"a": "y", "b": "x", "c": "y"}}, [("a/1.png", 1), ("b/2.png", 0), ("c/3.png", 1)]),
        ({"task": "ordinal", "classes": ["c", "b", "a"]}, [("a/1.png", 2), ("b/2.png", 1), ("c/3.png", 0)]),
        ({"label": r"(\d)$", "labels": {1: "u", 2: "v", 3: "u"}}, [("a/1.png", 0), ("b/2.png", 1), ("c/3.png", 0)]),
    ],
)
def test_classes_in_other_words(options: dict[str, Any], expected: list[tuple[str, int]], tmp_path: Path) -> None:
    described = scan(write(tmp_path, "a/1.png", "b/2.png", "c/3.png"), SIZE, options)
    assert [(source, label) for source, _, label in rows(described)] == expected
    assert sum(described.left_out.values()) == 3 - len(expected)


def test_folders_of_images_and_masks_are_hardly_classes(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    notes = scan(tmp_path, SIZE, {"group": "(.)[.]"}).notes
    assert notes[0] == "the classes are images, masks, which is how folders of images to segment are named: set reader: folder"


def test_unicode_names_and_patients(tmp_path: Path) -> None:
    write(tmp_path, "gesund/Mu\u0308ller_1.png", "gesund/M\u00fcller_2.png", "krank/K\u00f6hl & S\u00f6hne_1.png")
    described = scan(tmp_path, SIZE, {"group": r"/(.+)_\d"})
    assert [item.group for item in described.items] == ["M\u00fcller", "M\u00fcller", "K\u00f6hl & S\u00f6hne"]


def test_lists_of_names_with_labels(tmp_path: Path) -> None:
    write(tmp_path, *(f"CXR_png/X_{number}_{number % 2}.png" for number in range(4)))
    write_lines(tmp_path / "lists/train.txt", "X_0_0.png 0", "X_1_1.png 1", "X_2_0.png 0")
    write_lines(tmp_path / "lists/test.txt", "X_3_1.png 1")
    options = {"images": "CXR_png", "label": r"_(\d)$", "task": "binary", "classes": ["1"]}
    lists = {"train": "lists/train.txt", "test": "lists/test.txt"}
    described = scan(tmp_path, SIZE, options | {"split_lists": lists})
    assert [split for _, split, _ in rows(described)] == ["train", "train", "train", "test"]
    assert [path.name for path in described.items[0].files] == ["X_0_0.png", "train.txt", "test.txt"]
    write_lines(tmp_path / "lists/test.txt", "X_3_1.png 1", "X_5_1.png 1")
    with pytest.raises(InputError, match=r"none for 'X_5_1\.png'"):
        scan(tmp_path, SIZE, options | {"split_lists": lists})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "multilabel"}, "but got multilabel; use the reader table"),
        ({"task": "binary"}, "option classes to name the positive class"),
        ({"task": "ordinal"}, "option classes to name the grades"),
        ({"task": "binary", "classes": ["a", "b"]}, "one class, the positive one"),
        ({"classes": ["a", "z"]}, "images of every class in .*, but there are none of 'z'; there are a, b; check"),
        ({"classes": ["a"]}, "expected images of a, but .* is of 'b'; add it to the option classes, or set `others: leave-out`"),
        ({"classes": ["a", "a"]}, "different names of classes"),
        ({"labels": {"a": "x"}}, "option labels to name the class of 'b'"),
        ({"labels": ["a"]}, "option labels to map names"),
        ({"label": "z(.)"}, "first group of the option label 'z"),
        ({"label": "("}, "regular expression in the option label"),
        ({"splits": {"a": "training"}}, "map folders to train, validation or test, but got 'training'"),
        ({"images": "scans"}, "expected images in class folders of"),
        ({"others": "skip"}, "option others to be refuse or leave-out"),
    ],
)
def test_what_cannot_be_read_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        scan(write(tmp_path, "a/1.png", "b/2.png"), SIZE, options)


def test_one_class_and_pictures_without_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images of two classes or more, but got only a"):
        scan(write(tmp_path, "a/1.png"), SIZE, {})
    with pytest.raises(InputError, match=r"to match every name, but not .*1\.png"):
        scan(write(tmp_path, "1.png"), SIZE, {})


def refusal(root: Path, options: dict[str, Any]) -> str:
    with pytest.raises(InputError) as refused:
        scan(root, SIZE, options)
    return str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Mel/1.png", "mel/2.png"), ("bcc/1.png", "bcc /2.png"), ("train/Basal cell/1.png", "test/basal  Cell/2.png")],
)
def test_classes_that_differ_in_spelling_alone_are_refused_with_remedies_that_work(one: str, other: str, tmp_path: Path) -> None:
    begin, names = Path(one).parts[:-2], [Path(path).parent.name for path in (one, other)]
    write(tmp_path, one, other, str(Path(*begin, "nv", "3.png")))
    message = refusal(tmp_path, {})
    assert f"{names[0]!r} (such as {one}) and {names[1]!r} ({other}) in {tmp_path} do not; rename one, or name one" in message
    labels = yaml.safe_load(message.split("such as `labels: ")[1].split("`")[0])
    assert labels == {names[0]: names[0], names[1]: names[0], "nv": "nv"}
    described = scan(tmp_path, SIZE, {"labels": labels})
    assert described.classes == (names[0], "nv") and sorted(label for *_, label in rows(described)) == [0, 0, 1]
    assert scan(tmp_path, SIZE, {"classes": [*names, "nv"]}).classes == (*names, "nv")
    (tmp_path / other).parent.rename(tmp_path / "elsewhere")
    (tmp_path / other).parent.with_name(names[0]).mkdir(exist_ok=True)
    (tmp_path / "elsewhere" / Path(other).name).rename((tmp_path / other).parent.with_name(names[0]) / Path(other).name)
    (tmp_path / "elsewhere").rmdir()
    assert scan(tmp_path, SIZE, {}).classes == (names[0], "nv")


def test_a_positive_class_in_another_spelling_is_not_negative(tmp_path: Path) -> None:
    write(tmp_path, "Mel/1.png", "mel/2.png", "nv/3.png")
    options = {"task": "binary", "classes": ["mel"]}
    message = refusal(tmp_path, options)
    assert message.endswith("""`labels: {"Mel": "mel", "mel": "mel", "nv": "nv"}`""")
    labels = yaml.safe_load(message.split("`labels: ")[1].rstrip("`"))
    assert [label for *_, label in rows(scan(tmp_path, SIZE, {**options, "labels": labels}))] == [1, 1, 0]


def test_of_many_classes_the_two_are_proposed(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{number}.png" for number, name in enumerate(["Mel", "mel", "a", "b", "c", "d", "e"])))
    assert """such as `labels: {"Mel": "Mel", "mel": "Mel", ...}`, or list all""" in refusal(tmp_path, {})
    labels = dict.fromkeys(["a", "b", "c", "d", "e"], "other") | {"Mel": "M", "mel": "m"}
    assert "'M' (such as Mel/0.png) and 'm' (mel/1.png)" in refusal(tmp_path, {"labels": labels})


@pytest.mark.parametrize(
    ("folders", "options", "classes", "labels"),
    [
        (["Normal", "normal", "cancer"], {"task": "binary", "classes": ["cancer"]}, ("cancer",), [0, 0, 1]),
        (["Mel", "mel", "b"], {"classes": ["Mel", "b"], "others": "leave-out"}, ("Mel", "b"), [0, 1]),
        (["Other", "other", "a", "b"], {"classes": ["a", "b"], "others": "leave-out"}, ("a", "b"), [0, 1]),
        (["a", "b", "c"], {"labels": {"a": "a", "b": "b", "c": None}, "classes": ["a", "b"], "others": "leave-out"},
         ("a", "b"), [0, 1]),
        (["a", "b", "c"], {"task": "binary", "labels": {"a": "ill", "b": 0, "c": None}, "classes": ["ill"]}, ("ill",), [0, 0, 1]),
    ],
)  # fmt: skip
def test_spellings_that_count_alike_or_that_were_named_are_none(
    folders: list[str], options: dict[str, Any], classes: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    described = scan(write(tmp_path, *(f"{name}/{number}.png" for number, name in enumerate(folders))), SIZE, options)
    assert described.classes == classes and sorted(label for *_, label in rows(described)) == labels


def test_names_with_odd_characters_are_proposed_as_yaml_reads_them(tmp_path: Path) -> None:
    """A blank that does not break a line, and both kinds of quotes."""
    names = ["basal cell", "basal\xa0cell", """it's "nv" """.strip()]
    write(tmp_path, *(f"{name}/{number}.png" for number, name in enumerate(names)))
    proposed = yaml.safe_load(refusal(tmp_path, {}).split("such as `labels: ")[1].split("`")[0])
    assert proposed == {names[0]: names[0], names[1]: names[0], names[2]: names[2]}
    assert scan(tmp_path, SIZE, {"labels": proposed}).classes == (names[0], names[2])


def test_two_folders_of_one_class_are_not_to_be_joined(tmp_path: Path) -> None:
    write(tmp_path, "A/1.png", "a/2.png")
    assert refusal(tmp_path, {}).endswith("do not; rename one, or list all in the option classes if they are two")
    assert scan(tmp_path, SIZE, {"classes": ["a", "A"]}).classes == ("a", "A")


def test_patients_that_differ_in_spelling_alone_get_a_note(tmp_path: Path) -> None:
    write(tmp_path, "a/P1_1.png", "b/p01_1.png", "b/p2_1.png")
    (note,) = scan(tmp_path, SIZE, {"group": r"/(\w+)_"}).notes
    assert note.startswith("patients 'P1' (a/P1_1.png) and 'p01' (b/p01_1.png) differ in spelling alone; if they are the same")
    assert "spelling" not in "".join(scan(tmp_path, SIZE, {}).notes)

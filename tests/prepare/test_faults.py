"""Broken files are all named: in headers, in statistics of a dataset, and by their own sentence where that differs."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.prepare.volume_layouts import save, volume, write_nnunet

from medtransfer.errors import InputError
from medtransfer.prepare.faults import Faults, attempt_all
from medtransfer.prepare.stage import prepare


def prepared(reader: str, root: Path, out: Path, **options: object) -> None:
    prepare(
        "t", reader=reader, root=root, size=(32, 32), subset=False, split={"test": 0.4, "seed": 1}, validation=0.0,
        allow_duplicates=False, options=options, out=out,
    )  # fmt: skip


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_headers_of_volumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One mask of another shape, one elsewhere, and two that are no volumes."""
    root = write_nnunet(tmp_path / "raw", cases=8, tests=0)
    save(root / "labelsTr/Tr_002.nii.gz", np.zeros((12, 10, 4), np.uint8))
    save(
        root / "labelsTr/Tr_004.nii.gz",
        np.zeros((12, 10, 3), np.uint8),
        np.diag([-1.5, -2, 8, 1]) + np.eye(4)[:, [3, 0, 1, 2]] * 90,
    )
    for case in (5, 7):
        (root / f"labelsTr/Tr_{case:03d}.nii.gz").write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"^expected a mask on the voxels of \S*Tr_002_0000.*\(3 others are named above\)$"):
        prepared("nnunet", root, tmp_path / "out")
    lines = named(caplog)
    assert [f"Tr_{case:03d}" in line for case, line in zip((2, 4, 5, 7), lines, strict=True)] == [True] * 4
    assert lines[3] == f"prepare: {root}/labelsTr/Tr_007.nii.gz: the same"


@pytest.mark.parametrize("reader", ["nnunet", "folder"])
def test_statistics_of_a_dataset(reader: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "raw"
    if reader == "nnunet":
        write_nnunet(root, cases=12, tests=0)
        files = [root / f"imagesTr/Tr_{case:03d}_0000.nii.gz" for case in range(12)]
        for file in files[5:10:2]:
            save(file, np.where(volume(1) > 130, np.nan, volume(1)))
    else:
        rng = np.random.default_rng(0)
        for name in ("images", "masks"):
            (root / name).mkdir(parents=True)
        for case in range(12):
            Image.fromarray(rng.integers(0, 4000, (40, 50)).astype(np.uint16)).save(root / f"images/p{case}.png")
            Image.fromarray(np.full((40, 50), 255 * (case % 2), np.uint8)).save(root / f"masks/p{case}.png")
        for case in (5, 7, 9):
            file = root / f"images/p{case}.png"
            file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"\([12] others? (are|is) named above\)$"):
        prepared(reader, root, tmp_path / "out", scaling="dataset")
    lines = named(caplog)
    assert 2 <= len(lines) <= 3 and all(line.endswith(": the same") for line in lines[1:]) and not (tmp_path / "out/t").exists()


def test_a_sentence_that_names_no_file_is_said_with_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail(number: int) -> int:
        raise InputError("the same of all")

    with pytest.raises(InputError, match=r"^the same of all \(2 others are named above; the rest was not looked at\)$"):
        attempt_all(range(9), fail, lambda number: [Path(f"{number}.png")])
    assert named(caplog) == [f"prepare: {number}.png: the same of all" for number in range(3)]


def test_the_last_ones_leave_no_rest(caplog: pytest.LogCaptureFixture) -> None:
    def fail(number: int) -> int:
        raise InputError(f"not {number}.png")

    with pytest.raises(InputError, match=r"^not 0.png \(2 others are named above\)$"):
        attempt_all(range(3), fail, lambda number: [Path(f"{number}.png")])


def test_a_fault_is_that_of_the_file_whose_whole_name_it_says(caplog: pytest.LogCaptureFixture) -> None:
    """One path may begin as another does."""
    found = Faults()
    for name in ("b", "c"):
        found.see(InputError(f"not {name}.nii.gz"), [Path(f"{name}.nii"), Path(f"{name}.nii.gz")])
    assert named(caplog) == ["prepare: not b.nii.gz", "prepare: c.nii.gz: the same"]


@pytest.mark.parametrize("reader", ["folder", "image-folder"])
def test_headers_of_pictures(reader: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for case in range(8):
        folder = tmp_path / "raw" / ("images" if reader == "folder" else f"train/{'ab'[case % 2]}")
        masks = [tmp_path / "raw/masks"] if reader == "folder" else []
        for place in (folder, *masks):
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 50), 255 * (case % 2), np.uint8)).save(place / f"p{case}.png")
        if case in (3, 5):
            (folder / f"p{case}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"p[35].png.*\(1 other is named above\)$"):
        prepared(reader, tmp_path / "raw", tmp_path / "out")
    assert len(named(caplog)) == 2


def test_other_numbers_in_a_sentence_are_another_fault(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    found = Faults()
    found.see(None)
    for number in (7, 99, 7):
        file = tmp_path / f"{number}-{len(caplog.records)}.png"
        found.see(InputError(f"expected 0 in {file}, but got {number}"), [file])
    with pytest.raises(InputError, match="2 others are named above"):
        found.check()
    assert [line.rpartition(" ")[2] for line in named(caplog)] == ["7", "99", "same"]


def test_nothing_is_raised_where_all_can_be_used(caplog: pytest.LogCaptureFixture) -> None:
    assert attempt_all("abc", str.upper, lambda letter: []) == ["A", "B", "C"] and not named(caplog)

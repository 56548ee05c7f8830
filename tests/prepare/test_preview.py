"""Preview: outlines are visible on any colour, and names of any script and length fit."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFont

from medtransfer.data.fonts import load_font
from medtransfer.prepare import preview
from medtransfer.prepare.preview import CELL, LINE, draw_preview
from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo

ORANGE = (230, 159, 0)


@pytest.fixture
def draw(tmp_path) -> Callable[..., np.ndarray]:
    def call(
        image: np.ndarray, mask: np.ndarray, name: str | list[str], classes: list[str], ignore: bool = False, part: int = 0,
        reader: str = "folder",
    ) -> np.ndarray:  # fmt: skip
        names = [name] if isinstance(name, str) else name
        np.save(tmp_path / "images.npy", np.stack([image] * len(names)))
        np.save(tmp_path / "masks.npy", np.stack([mask] * len(names)))
        lines = [(row, row, "train", "p", name, part, 0, 0, *mask.shape) for row, name in enumerate(names)]
        pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(tmp_path / "index.csv", index=False)
        TargetInfo(
            target="t", reader=reader, task="segmentation", citation="", classes=classes, channels=3, input=list(mask.shape),
            augmentation="rotate-flip", scaling="", counts={"train": 1}, expected={}, subset=False, sources={},
            arrays={"masks.npy": ""}, settings={}, ignore=ignore,
        ).write(tmp_path / "dataset.json")  # fmt: skip
        draw_preview(PreparedTarget.open(tmp_path), tmp_path / "preview.png")
        return np.asarray(Image.open(tmp_path / "preview.png"))

    return call


def test_an_outline_on_its_own_colour_has_a_black_edge(draw: Callable[..., np.ndarray]) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 8:16] = 1  # rows and columns 64 to 127 of the cell
    cell = draw(np.full((32, 32, 3), ORANGE, np.uint8), mask, "étude/断面 β.png", ["lésion"])[LINE : LINE + CELL, :CELL]
    row = cell[96]
    assert (row[62:64] == 0).all() and (row[128:130] == 0).all()
    assert (row[64:66] == ORANGE).all() and (row[60:62] == ORANGE).all()


def test_pixels_to_ignore_are_in_the_legend(draw: Callable[..., np.ndarray]) -> None:
    mask = np.repeat(np.array([0, 1, 255, 255], np.uint8), 8)[:, None].repeat(32, 1)
    name, classes = "a" * 200 + ".png", [f"class number {c} of a long list" for c in range(20)]
    sheet = draw(np.zeros((32, 32, 3), np.uint8), mask, name, classes, ignore=True)
    legend = sheet[3 * (CELL + LINE) :]
    assert len(legend) > LINE and (legend == (153, 153, 153)).all(axis=2).sum() >= 144
    assert (sheet[LINE : LINE + CELL, :CELL] == (153, 153, 153)).all(axis=2).any()
    assert not sheet[:LINE, CELL:].any()  # the text ends with its cell


@pytest.mark.parametrize(("part", "title"), [(0, "train x.png"), (3, "train x.png slice 3")])
def test_a_title_names_the_slice_of_volumes(
    part: int, title: str, draw: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(preview, "_write", lambda sheet, position, text, *_: written.append(text) or len(text))
    draw(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), "folder/x.png", ["lesion"], part=part)
    assert written[-1] == title


@pytest.mark.parametrize(
    ("names", "reader", "shown"),
    [
        (["case0/t1.nii.gz", "case1/t1.nii.gz"], "nifti", ["case0/t1.nii.gz", "case1/t1.nii.gz"]),
        (["images/a.nii.gz", "images/b.nii.gz"], "nifti", ["a.nii.gz", "b.nii.gz"]),
        (["images/case0/IM1", "images/case1/IM9"], "dicom", ["case0", "case1"]),
        (["p1/ct/1.dcm", "p2/ct/1.dcm"], "dicom", ["p1/ct", "p2/ct"]),
    ],
)
def test_a_title_has_as_many_folders_as_distinguish_the_cases(
    names: list[str], reader: str, shown: list[str], draw: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(preview, "_write", lambda sheet, position, text, *_: written.append(text) or len(text))
    draw(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), names, ["lesion"], reader=reader)
    assert written[-2:] == [f"train {name}" for name in shown]


def test_umlauts_and_accents_are_letters() -> None:
    """Of Pillow's own font they are all the same empty box."""
    drawn = {bytes(load_font(24).getmask(letter)) for letter in "äöüßéñåøčşβ≥"}
    assert len(drawn) == 12 and bytes(load_font(24).getmask("\ufffe")) not in drawn


@pytest.mark.parametrize("text", ["train patient001_frame01.nii.gz slice 12", "enhancing tumour"])
def test_lines_are_as_long_as_in_the_font_of_pillow(text: str) -> None:
    assert load_font(12).getlength(text) == pytest.approx(ImageFont.load_default(12).getlength(text), rel=0.03)

"""A prediction says, in one line each, which pictures lose colour or transparency, or show nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.predict.test_images import write_series
from tests.predict.test_stage import VOLUME
from torch import Tensor

GREY = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
COLOURED = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
HALF = np.full((32, 32), 128, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_that_lose_colour_or_transparency_are_counted(
    channels: int, tmp_path: Path, make_model: Callable[..., Path], predict: Callable[..., str], bright: list[Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pictures = {
        "a": GREY, "b": np.dstack([GREY] * 3), "c": COLOURED, "d": np.dstack([COLOURED, HALF]), "e": np.dstack([GREY, HALF]),
    }  # fmt: skip
    folder = tmp_path / "new"
    folder.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    models = [make_model(name, seed, channels=channels) for seed, name in enumerate(("first", "second"))]
    predict(models, folder)
    coloured = f"predict: 2 of 5 pictures are coloured and are turned to grey, which the model expects (such as {folder / 'c.png'})"
    transparent = (
        f"predict: 2 of 5 pictures have transparent pixels, which are read as if they were opaque (such as {folder / 'd.png'})"
    )
    notes = [text for text in caplog.messages if text.startswith("predict: ") and "pictures" in text]
    assert notes == ([coloured, transparent] if channels == 1 else [transparent])


def test_pages_that_lose_colour_are_counted(
    tmp_path: Path, make_model: Callable[..., Path], predict: Callable[..., str], bright: list[Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for name, pixels in (("grey", np.dstack([GREY] * 3)), ("coloured", COLOURED)):
        pages = [Image.fromarray(pixels)] * 3
        (tmp_path / "new").mkdir(exist_ok=True)
        pages[0].save(tmp_path / "new" / f"{name}.tif", save_all=True, append_images=pages[1:])
    predict([make_model(channels=1)], tmp_path / "new")
    (note,) = [text for text in caplog.messages if "turned to grey" in text]
    assert note.startswith("predict: 1 of 2 pictures are coloured and are turned to grey")


def test_images_that_show_nothing_are_counted(
    tmp_path: Path, make_model: Callable[..., Path], predict: Callable[..., str], bright: list[Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "new").mkdir()
    for name, pixels in {"a": GREY, "b": np.full_like(GREY, 7), "c": np.full((32, 32, 3), (9, 0, 200), np.uint8)}.items():
        Image.fromarray(pixels).save(tmp_path / "new" / f"{name}.png")
    predict([make_model(channels=3)], tmp_path / "new")
    notes = [text for text in caplog.messages if "one value" in text]
    assert notes == [
        f"predict: 2 of 3 pictures hold one value only as the model is given them (such as {tmp_path / 'new' / 'b.png'})"
    ]


def test_an_empty_series_beside_another_one_is_counted(
    tmp_path: Path, make_model: Callable[..., Path], predict: Callable[..., str], bright: list[Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for number, volume in ((4, np.zeros((2, 32, 32))), (301, np.random.default_rng(0).integers(0, 4000, (2, 32, 32)))):
        for path in write_series(tmp_path / f"new/{number}", volume, series=f"1.2.{number}", SeriesNumber=number):
            (tmp_path / "new/c0").mkdir(exist_ok=True)
            path.rename(tmp_path / "new/c0" / f"{number}{path.name}")
    predict([make_model(channels=1, rule=VOLUME)], tmp_path / "new")
    (note,) = [text for text in caplog.messages if "one value" in text]
    assert note.startswith("predict: 1 of 2 pictures hold one value only") and note.endswith(f"(such as {tmp_path / 'new/c0-4'})")

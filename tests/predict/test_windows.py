"""Windows, overlaps and flips against sums by brute force, and resizing there and back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from tests.predict.conftest import MEAN, STD

from medtransfer.predict.model import load_model
from medtransfer.predict.windows import Plan, predict_picture, starts
from medtransfer.records import ImageRule


@pytest.mark.parametrize(
    ("length", "side", "overlap", "expected"),
    [(32, 32, 0.0, [0]), (64, 32, 0.0, [0, 32]), (1120, 224, 0.0, [0, 224, 448, 672, 896]), (65, 32, 0.0, [0, 16, 33]),
     (64, 32, 0.5, [0, 16, 32]), (33, 32, 0.9, [0, 1])],
)  # fmt: skip
def test_windows_cover_a_length(length: int, side: int, overlap: float, expected: list[int]) -> None:
    assert starts(length, side, overlap) == expected


def window_dependent(images: torch.Tensor) -> torch.Tensor:
    """A probability that depends on where a pixel is in its window, and on the mean of the window."""
    values = images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    return ((values.mean((1, 2, 3), True) + torch.linspace(0, 1, 32)) / 2).expand(-1, 1, 32, 32)


@pytest.mark.parametrize("shape", [(50, 70), (20, 40), (32, 32)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_overlapping_windows_are_averaged(shape: tuple[int, int], overlap: float, make_model: Callable[..., Path]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 1), dtype=np.uint8)
    info = load_model(make_model(), accelerator="cpu").info
    found = predict_picture(picture, info, window_dependent, Plan(True, overlap))
    padded = np.zeros((max(32, shape[0]), max(32, shape[1])))
    padded[: shape[0], : shape[1]] = picture[..., 0] / 255
    total, count = np.zeros(padded.shape), np.zeros(padded.shape)
    for top in starts(padded.shape[0], 32, overlap):
        for left in starts(padded.shape[1], 32, overlap):
            total[top : top + 32, left : left + 32] += (padded[top : top + 32, left : left + 32].mean() + np.linspace(0, 1, 32)) / 2
            count[top : top + 32, left : left + 32] += 1
    assert found.shape == (1, *shape)
    assert np.allclose(found[0], (total / count)[: shape[0], : shape[1]], atol=1e-5)


@pytest.mark.parametrize("flips", [("horizontal",), ("vertical",), ("horizontal", "vertical")])
def test_flips_are_averaged(flips: tuple[str, ...], make_model: Callable[..., Path]) -> None:
    model = load_model(make_model(), accelerator="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    one = {"horizontal": lambda a: a[..., ::-1, :], "vertical": lambda a: a[..., ::-1, :, :]}
    turns = [[]] + [[name] for name in flips] + ([list(flips)] if len(flips) == 2 else [])
    total = 0.0
    for turn in turns:
        turned = picture
        for name in turn:
            turned = one[name](turned)
        found = np.moveaxis(model.predict(np.ascontiguousarray(turned)), 1, -1)  # (N, H, W, outputs)
        for name in turn:
            found = one[name](found)
        total = total + found
    assert np.allclose(np.moveaxis(model.predict(picture, Plan(flips=flips)), 1, -1), total / len(turns), atol=1e-6)


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("shape", [(90, 60), (20, 24), (32, 32), (33, 31)])
def test_what_is_bright_comes_back_where_it_was(
    shape: tuple[int, int], keep_aspect: bool, make_model: Callable[..., Path], bright: list[torch.Tensor]
) -> None:
    """A rectangle that is bright in the picture is found at its place, to a pixel of the resized picture."""
    picture = np.full((1, *shape, 1), 20, np.uint8)
    box = (slice(shape[0] // 4, shape[0] // 2), slice(shape[1] // 3, shape[1] - 2))
    picture[0][box] = 230
    rule = ImageRule("keep", keep_aspect=keep_aspect)
    mask = load_model(make_model(rule=rule), accelerator="cpu").predict(picture)[0, 0] > 0.5
    true = picture[0, ..., 0] > 127
    share = max(shape) / 32 if keep_aspect else max(shape[0] / 32, shape[1] / 32)
    wrong = mask != true
    if edge := 0 if shape == (32, 32) else int(np.ceil(max(1.0, share))):
        true, false = (binary_erosion(part, iterations=edge, border_value=1) for part in (true, ~true))
        wrong &= true | false
    assert not wrong.any()

"""Overlays: image, truth and prediction side by side, and a colour of its own for pixels to ignore."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from medtransfer.tasks import TASKS
from medtransfer.tasks.overlays import LEGEND, SIDE, TITLE, draw_overlays, paint

METRIC = TASKS["segmentation"].primary


class Plain:
    """Grey images, twice as wide as high, whose left half has the first label."""

    images = ("folder/first.png", f"folder/{'long' * 20}.png")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        mask = torch.zeros(20, 40, dtype=torch.uint8)
        mask[:, :20] = 1
        return torch.full((20, 40, 1), 100, dtype=torch.uint8), mask, index


def test_ignored_pixels_are_grey() -> None:
    painted = paint(np.zeros((1, 4, 3), np.uint8), np.array([[0, 1, 3, 255]], np.uint8))
    black, first, third, ignored = painted[0].tolist()
    assert black == [0, 0, 0] and first != third
    assert len(set(ignored)) == 1 and ignored[0] > 0  # 255 is the third colour of seven, modulo


def test_a_black_line_outside_of_the_mask_shows_a_colour_on_its_like() -> None:
    """A cross of one pixel and its four neighbours; the corners stay as they are, and the object keeps its colour."""
    orange = np.full((5, 6, 3), (230, 159, 0), np.uint8)  # the colour of the first class
    mask = np.zeros((5, 6), np.uint8)
    mask[2, 2] = 1
    black = (paint(orange, mask) == 0).all(-1)
    assert [tuple(place) for place in np.argwhere(black).tolist()] == [(1, 2), (2, 1), (2, 3), (3, 2)]
    assert np.array_equal(paint(orange, mask)[2, 2], [230, 159, 0]) and np.array_equal(orange[1, 2], [230, 159, 0])
    assert (paint(orange, mask, outline=2) == 0).all(-1).sum() == 8
    assert (paint(orange, np.full((5, 6), 1, np.uint8), outline=9) == orange).all()


def test_a_row_has_image_truth_and_prediction(tmp_path: Path) -> None:
    right = torch.zeros(1, 2, 20, 40)  # predicted: the first label in the right half
    right[:, 0, :, :20] = right[:, 1, :, 20:] = 1
    path = tmp_path / "overlays.png"
    draw_overlays(path, Plain(), [{METRIC.name: 0.25}, {METRIC.name: 0.5}], METRIC, lambda _: right, ["lesion"], 6)  # type: ignore[arg-type]
    drawn = (255 * imread(path)[..., :3]).round().astype(int)
    height, width, _ = drawn.shape
    assert width == 825 and height == pytest.approx(110 * (2 * (SIDE / 2 + TITLE) + LEGEND), abs=1)
    middle = 110 * (TITLE + SIDE / 4)  # of the first row, in pixels
    at = [drawn[round(middle), round(825 * (column + part) / 3)].tolist() for column in range(3) for part in (0.25, 0.75)]
    grey, label = [100, 100, 100], paint(np.full((1, 1, 3), 100, np.uint8), np.array([[1]]))[0, 0].tolist()
    assert at == [grey, grey, label, grey, grey, label]


def test_a_picture_one_pixel_wide_has_a_line_above_and_below_its_mask() -> None:
    mask = np.array([[0], [0], [1], [0], [0]], np.uint8)
    painted = paint(np.full((5, 1, 3), 100, np.uint8), mask)
    assert (painted[[0, 4]] == 100).all() and (painted[[1, 3]] == 0).all() and (painted[2] != 100).any()

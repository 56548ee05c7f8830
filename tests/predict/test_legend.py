"""Every class has its colour and name below the picture, which stays as it is."""

import numpy as np
import pytest
from PIL import ImageColor

from medtransfer.predict.legend import add_legend, add_title

COLOURS = {"left ventricle": "#E69F00", "myocardium": "#56B4E9", "right ventricle": "#CC79A7"}


@pytest.mark.parametrize("width", [40, 140, 700])
def test_the_legend_is_below_the_picture_and_has_every_colour_once(width: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, width, 3), dtype=np.uint8)
    drawn = add_legend(picture, COLOURS)
    assert np.array_equal(drawn[:30, :width], picture)
    legend = drawn[30:]
    for colour in COLOURS.values():
        rows, columns = np.nonzero((legend == ImageColor.getrgb(colour)).all(-1))
        assert len(rows) == 100 and np.ptp(rows) == np.ptp(columns) == 9
    assert (legend.min(axis=(1, 2)) < 60).any()  # black letters


def test_a_title_is_above_the_picture_which_stays_as_it_is() -> None:
    picture = np.full((30, 90, 3), 100, np.uint8)
    drawn = add_title(picture, "slice 7")
    assert np.array_equal(drawn[-30:], picture) and drawn[:-30].min() < 60 and drawn[:-30, -9:].min() == 255


def test_entries_share_a_line_if_the_picture_is_wide_enough() -> None:
    heights = [add_legend(np.zeros((8, width, 3), np.uint8), COLOURS).shape[0] - 8 for width in (40, 260, 700)]
    assert heights == sorted(heights, reverse=True) and heights[0] == 3 * heights[2] and heights[1] == 2 * heights[2]


def test_the_legend_grows_with_a_wide_picture() -> None:
    """2,000 pixels, looked at on a screen, are shrunk by two: colours of 25 pixels instead of 10."""
    legend = add_legend(np.zeros((8, 2000, 3), np.uint8), COLOURS)[8:]
    assert len(legend) == 45 and (legend == ImageColor.getrgb("#E69F00")).all(-1).sum() == 25 * 25

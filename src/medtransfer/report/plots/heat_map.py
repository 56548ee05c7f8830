"""Heat map of CKA values between the levels of two encoders, or between several encoders."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medtransfer.records import atomic_path
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLACK, GREY

CELL, SMALL_CELL = 44, 20  # px; of many rows or columns
MOST_WRITTEN = 12  # rows or columns up to which the values are written into the cells
LETTER, LINE, GAP, BAR = 5.6, 16, 8, 12  # px of a letter, of a line of text, between parts, of the colour scale
TURN = 40  # degrees of the labels below
LONGEST = 28  # letters of a label
UNDEFINED = "#d9d9d9"


def heat_map(
    values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], names: tuple[str, str], title: str
) -> Markup:
    """Draw a heat map for the page.

    Args:
        values: (R, C), coloured from 0 to 1; lower ones as 0, and NaN grey.
        rows: labels of the rows, from the top.
        columns: labels of the columns.
        names: what the rows and the columns are of; empty for none.
        title: for screen readers.
    """
    figure = blank(*size(rows, columns, names))
    _draw(figure, values, rows, columns, names)
    return to_svg(figure, title)


def write_png(
    path: Path, values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], names: tuple[str, str],
    headings: Sequence[str],
) -> None:  # fmt: skip
    """Write a heat map as a PNG file below lines of text; other arguments as of `heat_map`."""
    width, height = size(rows, columns, names)
    head = LINE * len(headings) + GAP
    full = max(width, GAP * 2 + max(len(line) * (LETTER if index == 0 else 0.82 * LETTER) for index, line in enumerate(headings)))
    figure = Figure(figsize=(full / 72, (height + head) / 72))
    _draw(figure, values, rows, columns, names)
    for index, line in enumerate(headings):
        y = 1 - (LINE * (index + 1)) / (height + head)
        figure.text(GAP / full, y, line, fontsize=11 if index == 0 else 9, color=BLACK if index == 0 else GREY)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def short(name: str) -> str:
    """Shorten a label in its middle."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-(LONGEST // 2 - 1) :]}"


def _cell(rows: Sequence[str], columns: Sequence[str]) -> int:
    return CELL if max(len(rows), len(columns)) <= MOST_WRITTEN else SMALL_CELL


def _margins(rows: Sequence[str], columns: Sequence[str], names: tuple[str, str]) -> tuple[float, float, float]:
    """Return the px left of, below and right of the cells."""
    left = max(map(len, rows)) * LETTER + GAP + (LINE + 4 if names[0] else 0)
    below = max(map(len, columns)) * LETTER * math.sin(math.radians(TURN)) + 2 * GAP + (LINE if names[1] else 0)
    return left, below, GAP + BAR + 3 * LETTER + GAP


def size(rows: Sequence[str], columns: Sequence[str], names: tuple[str, str]) -> tuple[float, float]:
    """Return width and height in px."""
    rows, columns = [short(name) for name in rows], [short(name) for name in columns]
    left, below, right = _margins(rows, columns, names)
    cell = _cell(rows, columns)
    inside = max(cell * len(columns), len(short(names[1])) * LETTER)
    above = GAP + max(0, len(short(names[0])) * LETTER - cell * len(rows)) / 2  # a long name beside few rows
    return left + inside + right, above + cell * len(rows) + below


def _draw(
    figure: Figure, values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], names: tuple[str, str]
) -> None:  # fmt: skip
    """Draw the cells at the lower left, the labels beside and below them, and the colour scale at their right."""
    rows, columns = [short(name) for name in rows], [short(name) for name in columns]
    width, height = 72 * figure.get_size_inches()
    left, below, _ = _margins(rows, columns, names)
    cell = _cell(rows, columns)
    wide, high = cell * len(columns), cell * len(rows)
    axes = figure.add_axes((left / width, below / height, wide / width, high / height))
    shades = matplotlib.colormaps["viridis"].resampled(50).with_extremes(bad=UNDEFINED)
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=shades, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=10)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=10, rotation=TURN, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, labelcolor=BLACK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if cell == CELL:
        _write_values(axes, values, shades)
    if names[0]:
        figure.text((LINE - 4) / width, (below + high / 2) / height, short(names[0]), rotation=90, ha="center", va="center",
                    fontsize=10.5, color=BLACK)  # fmt: skip
    if names[1]:
        figure.text((left + wide / 2) / width, 6 / height, short(names[1]), ha="center", fontsize=10.5, color=BLACK)
    bar = figure.add_axes(((left + wide + GAP) / width, below / height, BAR / width, high / height))
    scale = figure.colorbar(mesh, cax=bar, ticks=[0, 0.5, 1])
    scale.outline.set_visible(False)  # type: ignore[operator]
    bar.tick_params(length=0, labelsize=9, labelcolor=GREY)


def _write_values(axes: Axes, values: NDArray[np.float64], shades: matplotlib.colors.Colormap) -> None:
    for (row, column), value in np.ndenumerate(values):
        defined = bool(np.isfinite(value))
        red, green, blue, _ = shades(value) if defined else (1, 1, 1, 1)
        colour = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else BLACK
        text = f"{value:z.2f}" if defined else "–"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=10, color=colour)

"""Picture of the initialisations of a target: every result, their mean and its spread, from the best to the worst."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure, FigureBase

from medtransfer.analysis.starts import Compared, StartComparison
from medtransfer.records import atomic_path
from medtransfer.report.format import fold, spread
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.frame import EDGE, LINES
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.wording import counted

WIDTH, NAMES, ROW, LINE, HEAD, FLOOR = 620, 240, 19, 12, 26, 38  # px: of all, of names, rows, further lines, heading and axis
LETTERS = 40  # of a line of a name
MOST_COMPARISONS, MOST_ROWS, MOST_OF_ALL = 12, 15, 75  # rows of a comparison, and of all in a file
CAPTION = "Grey: results. Blue: their means with one standard deviation to both sides"
WHITE = "; a white mean is not the best"  # where one is


def initialisations(comparison: StartComparison) -> Markup:
    """Draw the initialisations of a target for the page."""
    figure = blank(WIDTH, _height(comparison, 0))
    draw_rows(figure, comparison, 0)
    return to_svg(figure, f"{comparison.name}: test {comparison.metric.label} by initialisation")


def caption(comparisons: Sequence[StartComparison]) -> str:
    """Say what the dots of pictures are, white ones where there are any."""
    white = any(row.unbeaten is False for comparison in comparisons for row in comparison.rows[:MOST_ROWS])
    return f"{CAPTION}{WHITE if white else ''}."


def draw_rows(figure: FigureBase, comparison: StartComparison, head: int = HEAD) -> None:
    """Draw a row per initialisation, at most MOST_ROWS: a grey dot per result, and the mean with one standard deviation.

    Means filled with blue may be the best; white ones are not. Above the rows are `head` pixels for a heading.
    """
    rows, height = comparison.rows[:MOST_ROWS], _height(comparison, head)
    heights = [ROW + LINE * name.count("\n") for name in _names(comparison)]
    places = sum(heights) - np.cumsum(heights) + np.array(heights) / 2  # px above the axis
    axes = figure.add_axes((NAMES / WIDTH, FLOOR / height, (WIDTH - NAMES - 12) / WIDTH, (height - FLOOR - head) / height))
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(EDGE)
    axes.patch.set_visible(False)
    results = [(value, place) for place, row in zip(places, rows, strict=True) for value in row.start.values]
    axes.plot(*zip(*results, strict=True), "o", color=GREY, markersize=5, markeredgewidth=0, zorder=2.5)
    low, high = ([comparison.metric.clip(row.mean + sign * (row.std or 0)) for row in rows] for sign in (-1, 1))
    axes.hlines(places, low, high, color=BLUE, linewidth=1.4)
    axes.scatter(
        [row.mean for row in rows], places, 45, ["white" if row.unbeaten is False else BLUE for row in rows], edgecolors=BLUE,
        zorder=3, urls=[_described(row) for row in rows],
    )  # fmt: skip
    axes.grid(axis="y", color=LINES, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_yticks(places, _names(comparison), fontsize=10.5, color=BLACK, linespacing=1.05)
    axes.set_ylim(0, sum(heights))
    axes.margins(x=0.04)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=10.5, length=3, color=EDGE, labelcolor=GREY)
    axes.locator_params(axis="x", nbins=6)
    axes.ticklabel_format(axis="x", useOffset=False)
    figure.text(1 - 12 / WIDTH, 6 / height, f"test {comparison.metric.label}", color=BLACK, fontsize=10.5, ha="right")
    if more := len(comparison.rows) - len(rows):
        figure.text(12 / WIDTH, 6 / height, f"and {more} more", color=GREY, fontsize=10.5)


def write_png(path: Path, comparisons: Sequence[StartComparison]) -> None:
    """Write the pictures of targets below each other: of the first MOST_COMPARISONS, up to MOST_OF_ALL rows."""
    total = np.cumsum([len(_names(comparison)) for comparison in comparisons])
    shown = comparisons[: max(1, min(MOST_COMPARISONS, int(np.sum(total <= MOST_OF_ALL))))]
    heights = [*(_height(comparison) for comparison in shown), HEAD]
    figure = Figure(figsize=(1.2 * WIDTH / 72, 1.2 * sum(heights) / 72))
    *parts, foot = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    more = f" {counted(len(comparisons) - len(shown), 'further comparison')} in the table." if len(comparisons) > len(shown) else ""
    foot.text(12 / WIDTH, 0.5, caption(shown) + more, va="center", fontsize=10.5, color=GREY)
    for part, comparison, height in zip(parts, shown, heights, strict=False):
        part.text(12 / WIDTH, 1 - 8 / height, comparison.name, va="top", fontsize=11.5, color=BLACK)
        draw_rows(part, comparison)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _described(row: Compared) -> str:
    return f"{row.start.name}: {spread(row.mean, nan if row.std is None else row.std)} of {len(row.start.values)}"


def _names(comparison: StartComparison) -> list[str]:
    return [fold(row.start.name, LETTERS) for row in comparison.rows[:MOST_ROWS]]


def _height(comparison: StartComparison, head: int = HEAD) -> int:
    return head + sum(ROW + LINE * name.count("\n") for name in _names(comparison)) + FLOOR

"""Pictures of a ranking: values with intervals by candidate, and how far the indicators agree."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from medtransfer.indicators.registry import INDICATORS
from medtransfer.rank.ranking import Ranking
from medtransfer.report.format import fold, number
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.selectors.score_names import score_label

ROW, NAMES, FLOOR = 17, 128, 26  # px of a candidate's row, of the names, below the axes
MOST = 60  # candidates that are drawn: a panel of a thousand would be 17,000 px high
LINE, LETTERS = 12, 20  # px of a further line of a name, letters of a line
CELL = 34  # px of a cell of the matrix


def panel(ranking: Ranking, name: str, width: float = 290) -> Markup:
    """Draw the values of the candidates by one indicator, in the order of the verdict, with their intervals.

    Of more than MOST candidates the first are drawn. Filled marks cannot be distinguished from the best; random weights are
    squares.
    """
    order, standing, values = ranking.order[:MOST], ranking.standings[name], ranking.values(name)
    names = [fold(ranking.candidates[index].name, LETTERS) for index in reversed(order)]  # from the bottom
    heights = [ROW + LINE * name.count("\n") for name in names]
    places = np.cumsum(heights) - np.array(heights) / 2  # px above the axis
    height = sum(heights) + FLOOR
    figure = blank(width, height)
    axes = figure.add_axes((NAMES / width, FLOOR / height, (width - NAMES - 8) / width, (height - FLOOR) / height))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for line, index in zip(places, reversed(order), strict=True):
        candidate, value = ranking.candidates[index], values[index]
        axes.axhline(line, color="#ececec", linewidth=0.8, zorder=0)
        if not np.isfinite(value):
            continue
        colour = BLUE if standing.kept[index] else GREY
        if np.isfinite(standing.low[index]):
            axes.plot([standing.low[index], standing.high[index]], [line, line], color=colour, linewidth=1.1, clip_on=False)
        axes.plot(
            [value], [line], "s" if ranking.is_random(index) else "o", color=colour, markersize=6, clip_on=False,
            markerfacecolor=colour if standing.kept[index] else "white", url=f"{candidate.name}: {number(value)}",
        )  # fmt: skip
    axes.set_yticks(places, names, fontsize=10.5, color=BLACK, linespacing=1.05)
    axes.set_ylim(0, sum(heights))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=10.5, length=3, color="#8a8a8a", labelcolor=GREY)
    axes.locator_params(axis="x", nbins=4)
    if not INDICATORS[name].higher_is_better:
        axes.invert_xaxis()
    return to_svg(figure, f"{score_label(name)} by candidate")


def matrix(ranking: Ranking, names: Sequence[str]) -> Markup:
    """Draw Kendall's tau between every two of the named indicators as a matrix of numbers on shades."""
    side = NAMES + CELL * (len(names) + 1)
    figure = blank(side, CELL * len(names) + NAMES)
    axes = figure.add_axes((NAMES / side, 0, CELL * len(names) / side, CELL * len(names) / (CELL * len(names) + NAMES)))
    taus = np.full((len(names), len(names)), np.nan)
    for (first, second), (tau, _) in ranking.agreements.items():
        row, column = names.index(first), names.index(second)
        taus[row, column] = taus[column, row] = tau
    axes.imshow(taus, cmap="RdBu", vmin=-1.3, vmax=1.3)
    for row, column in np.argwhere(np.isfinite(taus)):
        axes.text(column, row, f"{taus[row, column]:.2f}", ha="center", va="center", fontsize=10, color=BLACK)
    labels = [score_label(name) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=10.5)
    axes.set_xticks(range(len(names)), labels, fontsize=10.5, rotation=60, ha="left")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return to_svg(figure, "Kendall's tau between indicators")

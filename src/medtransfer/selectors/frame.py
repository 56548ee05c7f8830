"""Style of the axes of scores, searches and reports."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medtransfer.selectors.marks import GREY

EDGE, LINES = "#8a8a8a", "#e3e3e3"  # colours
PAD = 4  # pt between labels and the axes
FONT = 10  # pt
MARGINS = (0.05, 0.08)  # to the sides, and above and below, as shares of the data's range


def frame(axes: Axes, most: int) -> None:
    """Style axes: only the lower edge, and at most `most` + 1 horizontal lines at round values."""
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(EDGE)
    axes.patch.set_visible(False)
    axes.margins(*MARGINS)
    axes.tick_params(length=0, labelsize=FONT, labelcolor=GREY, pad=PAD)
    axes.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y", color=LINES, linewidth=1)
    axes.set_axisbelow(True)

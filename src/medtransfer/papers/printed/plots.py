"""Picture of all comparisons of all claims, by their t statistics."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from scipy import stats

from medtransfer.papers.printed.claims import SIGNIFICANT, Comparison, Judged
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLUE, GREY, VERMILLION

WIDTH, ROW, LEFT, FLOOR = 860, 22, 66, 34  # px
FARTHEST = 12.0  # standard errors; dots beyond are drawn there


def draw(judged: Sequence[Judged]) -> Markup:
    """Draw a row of dots per claim; claims without printed spreads have none."""
    height = ROW * len(judged) + FLOOR
    figure = blank(WIDTH, height)
    axes = figure.add_axes((LEFT / WIDTH, FLOOR / height, (WIDTH - LEFT - 12) / WIDTH, (height - FLOOR) / height))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for line, one in enumerate(reversed(judged)):
        axes.axhline(line, color="#ececec", linewidth=0.8, zorder=0)
        for comparison in (comparison for comparison in one.comparisons if comparison.p is not None):
            _draw_dot(axes, line, comparison)
    low, high = min(map(critical, judged), default=2.0), max(map(critical, judged), default=2.0)
    axes.axvspan(-low, low, color="#f0f0f0", zorder=-1, label=f"{low:.2f} to {high:.2f}")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(-FARTHEST - 0.5, FARTHEST + 0.5)
    axes.set_ylim(-0.6, len(judged) - 0.4)
    axes.set_yticks(range(len(judged)), [f"claim {number}" for number in range(len(judged), 0, -1)], fontsize=10.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("difference in the claimed direction, in standard errors", fontsize=10.5, color=GREY)
    return to_svg(figure, "Comparisons of the claims")


def critical(judged: Judged) -> float:
    """Return the t statistic from which on a comparison of a claim is significant."""
    sizes = [(one.first.n or 2) + (one.second.n or 2) - 2 for one in judged.comparisons]
    return float(stats.t.ppf(1 - SIGNIFICANT / 2, min(sizes)))


def _draw_dot(axes: Axes, line: int, one: Comparison) -> None:
    degrees = (one.first.n or 2) + (one.second.n or 2) - 2
    statistic = np.sign(one.gain) * stats.t.isf((one.p or 0.0) / 2, degrees)
    colour = BLUE if one.significant else VERMILLION if one.reversed else GREY
    axes.plot(
        [float(np.clip(statistic, -FARTHEST, FARTHEST))], [line], "o", color=colour, markersize=6, alpha=0.75, clip_on=False,
        url=f"{one.first.row} against {one.second.row}, {one.first.column}: {one.gain:+g}, p {one.p:.2g}",
    )  # fmt: skip

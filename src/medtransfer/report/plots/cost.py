"""Plot of the mean TIS of selectors against the epochs of pretraining that they cost."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medtransfer.analysis.model import Summary
from medtransfer.report.format import between, epochs, number
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.selectors.selectors import FULL, ORACLE

LEFT, TOP, FLOOR = 50, 26, 40  # px around the axes
LEGEND_WIDTH, LEGEND_ROW = 290, 18  # px
SPACING = 13  # px between marks that would cover each other


def cost_front(summaries: Sequence[Summary], width: float, height: float) -> Markup:
    """Draw mean TIS against mean epochs spent for the page; empty if there is nothing to draw.

    Args:
        summaries: summaries of all selectors.
        width: width of the picture, px; below 600 px the legend is below the axes instead of beside them.
        height: height of the picture, px.
    """
    fixed, picks = fixed_and_picks(summaries)
    if not fixed and not picks:
        return Markup()
    figure = blank(width, height)
    draw_front(figure, fixed, picks)
    return to_svg(figure, "Mean TIS against mean epochs of pretraining spent")


def fixed_and_picks(summaries: Sequence[Summary]) -> tuple[list[Summary], list[Summary]]:
    """Return the fixed lengths by cost, and the other selectors to mark, best first.

    The oracle is the upper edge and not marked; the last checkpoint is marked only if it is not a fixed length.
    """
    fixed = sorted((s for s in summaries if s.selector.length is not None), key=lambda s: s.mean_epochs)
    lengths = {(round(s.mean_epochs, 6), round(s.mean_tis, 9)) for s in fixed}
    picks = [
        s for s in summaries if s.selector.length is None and s.selector != ORACLE
        and (s.selector != FULL or (round(s.mean_epochs, 6), round(s.mean_tis, 9)) not in lengths)
    ]  # fmt: skip
    return fixed, sorted(picks, key=lambda s: -s.mean_tis)


def draw_front(figure: Figure, fixed: Sequence[Summary], picks: Sequence[Summary]) -> None:
    """Draw fixed lengths, joined, and a mark for every other selector, with intervals.

    The axis of epochs has a square-root scale. Between two fixed lengths the curve shows the TIS of a random mix of both at
    that cost. Marks that would cover each other are moved to the left.
    """
    width, height = 72 * figure.get_size_inches()
    beside = width >= 600
    across = width - LEFT - (LEGEND_WIDTH if beside else 10)  # px
    lines = len([s for s in picks if not s.selector.further]) + any(s.selector.further for s in picks) + 1
    floor = FLOOR if beside else FLOOR + LEGEND_ROW * lines
    axes = figure.add_axes((LEFT / width, floor / height, across / width, (height - TOP - floor) / height))
    _frame_front(axes, [*fixed, *picks])
    _label_epochs(axes, [s.mean_epochs for s in fixed], across)
    figure.text(4 / width, 1 - 12 / height, "mean TIS", color=BLACK)
    _draw_fixed(axes, fixed)
    near = float(SPACING / (height - TOP - floor) * np.ptp(axes.get_ylim()))
    _draw_picks(axes, picks, SPACING / across * axes.get_xlim()[1], near)
    figure.legend(loc="center left" if beside else "lower left",
                  bbox_to_anchor=(1 - (LEGEND_WIDTH - 14) / width, 0.55) if beside else (0, 0), frameon=False, fontsize=11.5,
                  handlelength=1.4, handletextpad=0.4, labelcolor=BLACK, borderaxespad=0.2)  # fmt: skip


def _frame_front(axes: Axes, summaries: Sequence[Summary]) -> None:
    frame(axes, 5)
    bounds = [bound for s in summaries for bound in (s.interval or (s.mean_tis,))]
    low, high = min(bounds), max(1.0, *bounds)
    height = high - low or 0.1
    axes.set_ylim(low - 0.06 * height, high + 0.04 * height)
    axes.set_xlim(0, sqrt(max(s.mean_epochs for s in summaries)) or 1)
    axes.axhline(1, color=BLACK, linewidth=1, linestyle=(0, (2, 3)), clip_on=False)
    axes.annotate("best checkpoint", (0, 1), (6, 6), textcoords="offset points", color=GREY)
    axes.set_xlabel("mean epochs of pretraining spent (square-root scale)", loc="left", color=BLACK)


def _label_epochs(axes: Axes, lengths: Sequence[float], across: float) -> None:
    """Label the fixed lengths that fit, from the longest to the shortest; round numbers if there are none."""
    top = axes.get_xlim()[1]
    costs = lengths or MaxNLocator(5).tick_values(0, round(top**2, 6))
    shown: list[float] = []
    for cost in sorted((cost for cost in costs if sqrt(cost) <= top), reverse=True):
        if not shown or (sqrt(shown[-1]) - sqrt(cost)) / top * across > 7 * len(epochs(cost)) + 8:
            shown.append(cost)
    axes.set_xticks([sqrt(cost) for cost in shown], [epochs(cost) for cost in shown])
    axes.tick_params(axis="x", length=4, color="#8a8a8a")


def _draw_fixed(axes: Axes, fixed: Sequence[Summary]) -> None:
    if fixed:
        costs, tis = [s.mean_epochs for s in fixed], [s.mean_tis for s in fixed]
        between_roots = np.union1d(np.linspace(sqrt(costs[0]), sqrt(costs[-1]), 60), np.sqrt(costs))
        axes.plot(
            between_roots, np.interp(between_roots**2, costs, tis), color=BLUE, linewidth=1.4, clip_on=False, label="fixed lengths"
        )
    for s in fixed:
        _draw_interval(axes, sqrt(s.mean_epochs), s, BLUE, 0.45)
        axes.plot([sqrt(s.mean_epochs)], [s.mean_tis], "o", color=BLUE, markersize=6, clip_on=False, url=described(s))


def _draw_picks(axes: Axes, picks: Sequence[Summary], spacing: float, near: float) -> None:
    """Draw marks with their intervals; those nearer than `spacing` in cost and `near` in TIS are moved to the left."""
    taken: list[tuple[float, float]] = []
    _draw_further(axes, [s for s in picks if s.selector.further])
    for s in (s for s in picks if not s.selector.further):
        x = sqrt(s.mean_epochs)
        while any(abs(x - other) < spacing and abs(s.mean_tis - tis) < near for other, tis in taken):
            x -= spacing
        taken.append((x, s.mean_tis))
        mark, name = s.selector.mark, f"{s.selector.label} {number(s.mean_tis)}"
        _draw_interval(axes, x, s, BLACK, 1)
        axes.plot([x], [s.mean_tis], mark.marker, color=mark.colour, markersize=10, clip_on=False, label=name, url=described(s))


def _draw_further(axes: Axes, further: Sequence[Summary]) -> None:
    """Draw the many selectors that share a mark, without intervals, under one name."""
    for s in further:
        label = f"{len(further)} further ways" if s is further[0] else None
        axes.plot(
            [sqrt(s.mean_epochs)], [s.mean_tis], s.selector.mark.marker, color=s.selector.mark.colour, markersize=5, clip_on=False,
            label=label, url=described(s),
        )  # fmt: skip


def _draw_interval(axes: Axes, x: float, summary: Summary, colour: str, alpha: float) -> None:
    if summary.interval is not None:
        axes.plot([x] * 2, summary.interval, color=colour, alpha=alpha, linewidth=1.1, marker="_", markersize=6, clip_on=False)


def described(summary: Summary) -> str:
    """Describe the TIS and the cost of a selector in one line."""
    bounds = f" ({between(summary.interval)})" if summary.interval else ""
    tunings = f" and {epochs(summary.mean_fine_tunings)} fine-tunings" if summary.mean_fine_tunings else ""
    spent = f"{epochs(summary.mean_epochs)} epochs spent{tunings}"
    return f"{summary.selector.label}: mean TIS {number(summary.mean_tis)}{bounds}, {spent}"

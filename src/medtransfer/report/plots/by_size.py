"""Picture of the outcome over the number of training images, with a line per initialisation."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from medtransfer.analysis.by_size import SizeCurves, SizePoint
from medtransfer.records import atomic_path
from medtransfer.report.format import between, number
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MOST_LINES = len(COLOURS)
WIDTH, HEIGHT, ROW = 460, 260, 16  # px; of a line of the legend


def lines_of(curve: SizeCurves) -> dict[str, list[SizePoint]]:
    """Return the points to draw by initialisation: the last checkpoint of every origin, and random weights once per encoder."""
    ends: dict[tuple[str, ...], str] = {}
    for point in curve.points:
        if point.epoch == 0:
            ends.setdefault((point.encoder, ""), point.initialisation)
        else:
            ends[point.encoder, point.origin, point.pretraining] = point.initialisation  # the points are in order
    names = list(ends.values())[:MOST_LINES]
    return {name: [point for point in curve.points if point.initialisation == name] for name in names}


def metric_by_size(curve: SizeCurves) -> Markup:
    """Draw the lines of a target for the page."""
    figure = blank(WIDTH, HEIGHT + ROW * len(lines_of(curve)))
    draw_lines(figure, curve, HEIGHT + ROW * len(lines_of(curve)))
    return to_svg(figure, f"{curve.name}: test {curve.metric.label} by number of training images")


def draw_lines(figure: FigureBase, curve: SizeCurves, height: float) -> None:
    """Draw the mean by size with its interval; sizes are equally spaced, starts are side by side, and random ones are dashed.

    Args:
        figure: figure or part of one.
        curve: what to draw.
        height: height of the figure, px.
    """
    lines = lines_of(curve)
    floor = ROW * len(lines) + 46
    axes = figure.add_axes((0.1, floor / height, 0.87, (height - floor - 30) / height))
    frame(axes, 4)
    for index, ((name, points), colour) in enumerate(zip(lines.items(), COLOURS, strict=False)):
        _draw_line(axes, curve, name, points, colour, 0.06 * (index - (len(lines) - 1) / 2))
    axes.set_xticks(range(len(curve.sizes)), [size or "all" for size in curve.sizes])
    axes.set_xlim(-0.4, len(curve.sizes) - 0.6)
    figure.text(0.012, 1 - 14 / height, curve.metric.label, color=BLACK)
    figure.text(0.012, (floor - 36) / height, "training images", color=BLACK)
    figure.legend(loc="lower left", bbox_to_anchor=(0, 0), frameon=False, fontsize=10.5, labelcolor=BLACK, labelspacing=0.25)


def _draw_line(axes: Axes, curve: SizeCurves, name: str, points: Sequence[SizePoint], colour: str, shift: float) -> None:
    places = [curve.sizes.index(point.size) + shift for point in points]
    style = "--" if points[0].epoch == 0 else "-"
    axes.plot(places, [point.mean for point in points], style, color=colour, linewidth=1.4, label=name, clip_on=False)
    axes.scatter(places, [point.mean for point in points], 36, colour, zorder=3, clip_on=False, urls=[
        f"{name}, {point.size or 'all'} images: {number(point.mean)} ({between(point.interval)})" for point in points
    ])  # fmt: skip
    bounds = {place: point.interval for place, point in zip(places, points, strict=True) if point.interval is not None}
    if bounds:
        axes.vlines(list(bounds), *zip(*bounds.values(), strict=True), color=colour, linewidth=1.2, clip_on=False)


def write_png(path: Path, curves: Sequence[SizeCurves]) -> None:
    """Write the pictures of all targets below each other."""
    tall = HEIGHT + ROW * MOST_LINES
    figure = Figure(figsize=(1.3 * WIDTH / 72, 1.3 * tall * len(curves) / 72))
    parts = figure.subfigures(len(curves), 1, squeeze=False)[:, 0]
    for part, curve in zip(parts, curves, strict=True):
        part.text(0.5, 0.97, curve.name, ha="center", va="top", fontsize=11)
        draw_lines(part, curve, tall)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")

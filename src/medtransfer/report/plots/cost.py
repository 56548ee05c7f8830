"""Mean TIS of the ways of choosing against what they cost, as SVG text."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from medtransfer.analysis.model import Interval, Summary
from medtransfer.report.format import between, epochs, number
from medtransfer.report.plots.label_placement import FONT, Box, place_labels, spaced
from medtransfer.report.plots.svg import Scale, decimals, drawing, line, mark, polyline, text, ticks
from medtransfer.selectors.marks import BLUE, Mark
from medtransfer.selectors.selectors import FULL, ORACLE

NAMES, EDGE = 136, 45  # px, for the names beside the picture, and how near to the end they belong there
STYLE = f"""
.front text{{font-size:{FONT}px}} .front .pick{{font-weight:600;fill:#1a1a1a}} .top{{stroke:#1a1a1a;stroke-dasharray:2 3}}
.fixed{{fill:none;stroke:{BLUE};stroke-width:1.4}} .bar{{fill:none;stroke:#1a1a1a;stroke-width:1.1}}
.bar-fixed{{fill:none;stroke:{BLUE};stroke-width:1;opacity:.45}} .lead{{stroke:#8a8a8a;stroke-width:.8}}
"""


def cost_front(summaries: Sequence[Summary], width: float, height: float) -> str:
    """Draw mean TIS against mean epochs spent; fixed lengths are joined, every other way of choosing is a labelled mark.

    The axis of epochs goes with their square root. Between two fixed lengths the curve is what a random mix of both
    brings at that cost. Ways of the same cost stand side by side.

    Args:
        summaries: of every way of choosing.
        width: of the picture, px.
        height: of the picture, px.
    """
    fixed = sorted((one for one in summaries if one.selector.length is not None), key=lambda one: one.mean_epochs)
    picks = _picks(summaries, fixed)
    if not fixed and not picks:
        return ""
    everything = [*fixed, *picks]
    bounds = [bound for one in everything for bound in (one.interval or (one.mean_tis,))]
    low = min(bounds)
    up = Scale(low - 0.06 * (1 - low or 0.1), 1.0 + 0.04 * (1 - low or 0.1), height - 40, 24)
    across = Scale(0, math.sqrt(max(one.mean_epochs for one in everything)) or 1.0, 50, width - NAMES)
    spots = {name: (x, up(tis)) for name, x, tis in _dodged(picks, across)}
    parts = [_frame(up, across, fixed, width, height), _fixed_line(fixed, across, up)]
    for one in picks:
        x, y = spots[one.selector.name]
        parts += [_whisker(x, one.interval, up, "bar"), mark(one.selector.mark, x, y, 6, described(one))]
    obstacles = [*_curve_boxes(fixed, across, up), (56, up(1.0) - 18, 150, up(1.0))]
    obstacles += [box for one in picks for box in _boxes(*spots[one.selector.name], one.interval, up)]
    marks = {one.selector.name: one.selector.mark for one in picks}
    parts.append(_names(spots, marks, obstacles, across.end, (50, 28, across.end + 6, height - 42)))
    return drawing(width, height, "Mean TIS against mean epochs of pretraining spent", "".join(parts), "front")


def _names(
    spots: Mapping[str, tuple[float, float]], marks: Mapping[str, Mark], obstacles: Sequence[Box], end: float, frame: Box
) -> str:
    """Name the marks: those at the right end in a column beside it, with their marks again, the others where there is room."""
    edge = {name: place for name, place in spots.items() if place[0] > end - EDGE}
    others = [(name.replace("-", " "), *place) for name, place in spots.items() if name not in edge]
    parts = []
    for name, y in zip(sorted(edge, key=lambda one: edge[one][1]), spaced([y for _, y in edge.values()], 16), strict=True):
        parts += [mark(marks[name], end + 18, y, 4.5), text(end + 28, y + 4, name.replace("-", " "), "pick")]
    for one, (_, x, y) in zip(place_labels(others, obstacles, frame), others, strict=True):
        parts += [line(x, y, one.x, one.y - 4, "lead")] if one.far else []
        parts.append(text(one.x, one.y, one.words, "pick m"))
    return "".join(parts)


def described(one: Summary) -> str:
    """Say in a line what a way of choosing brings and costs."""
    bounds = f" ({between(one.interval)})" if one.interval else ""
    return f"{one.selector.label}: mean TIS {number(one.mean_tis)}{bounds}, {epochs(one.mean_epochs)} epochs spent"


def _picks(summaries: Sequence[Summary], fixed: Sequence[Summary]) -> list[Summary]:
    """Return those to mark: not the best in hindsight, which is the upper edge; the last checkpoint only off the line."""
    on_line = {(round(one.mean_epochs, 6), round(one.mean_tis, 9)) for one in fixed}
    others = [one for one in summaries if one.selector.length is None and one.selector != ORACLE]
    return [one for one in others if one.selector != FULL or (round(one.mean_epochs, 6), round(one.mean_tis, 9)) not in on_line]


def _dodged(picks: Sequence[Summary], across: Scale) -> list[tuple[str, float, float]]:
    """Give each mark its name, x and mean TIS; those of the same cost stand side by side."""
    spots: list[tuple[str, float, float]] = []
    for one in picks:
        x = across(math.sqrt(one.mean_epochs))
        while any(abs(x - other) < 13 for _, other, _ in spots):
            x -= 13
        spots.append((one.selector.name, x, one.mean_tis))
    return spots


def _frame(up: Scale, across: Scale, fixed: Sequence[Summary], width: float, height: float) -> str:
    values = ticks(up.low, 1.0, 6)
    places, right, floor = decimals(values), across.end + 6, height - 40
    parts = [line(50, up(v), right, up(v), "grid") + text(44, up(v) + 4, f"{v:.{places}f}", "e") for v in values]
    parts += [line(50, up(1.0), right, up(1.0), "top"), text(56, up(1.0) - 6, "best checkpoint")]
    parts += [line(50, floor, right, floor, "axis"), text(4, 12, "mean TIS", "b")]
    shown: list[float] = []
    for cost in reversed([one.mean_epochs for one in fixed] or ticks(0, across.high**2, 5)):
        x = across(math.sqrt(cost))
        if not shown or shown[-1] - x > 7 * len(epochs(cost)) + 8:
            shown.append(x)
            parts.append(line(x, floor, x, floor + 4, "axis") + text(x, floor + 17, epochs(cost), "m"))
    return "".join(parts) + text(50, height - 6, "mean epochs of pretraining spent (square-root scale)", "b")


def _fixed_line(fixed: Sequence[Summary], across: Scale, up: Scale) -> str:
    parts = [polyline(_curve(fixed, across, up), "fixed")]
    for one in fixed:
        x, y = across(math.sqrt(one.mean_epochs)), up(one.mean_tis)
        parts += [_whisker(x, one.interval, up, "bar-fixed"), _dot(x, y, described(one))]
    return "".join(parts)


def _dot(x: float, y: float, title: str) -> str:
    return f'<circle class="near" cx="{x:g}" cy="{y:g}" r="3"><title>{escape(title)}</title></circle>'


def _curve(fixed: Sequence[Summary], across: Scale, up: Scale) -> list[tuple[float, float]]:
    """Follow the straight line in epochs between neighbours, which bends where the axis is of square roots."""
    points = []
    for one, after in zip(fixed, fixed[1:], strict=False):
        for share in (place / 8 for place in range(8)):
            cost = one.mean_epochs + share * (after.mean_epochs - one.mean_epochs)
            points.append((across(math.sqrt(cost)), up(one.mean_tis + share * (after.mean_tis - one.mean_tis))))
    return points + [(across(math.sqrt(one.mean_epochs)), up(one.mean_tis)) for one in fixed[-1:]]


def _curve_boxes(fixed: Sequence[Summary], across: Scale, up: Scale) -> list[Box]:
    return [(x - 3, y - 3, x + 3, y + 3) for x, y in _curve(fixed, across, up)]


def _whisker(x: float, interval: Interval | None, up: Scale, kind: str) -> str:
    if interval is None:
        return ""
    low, high = up(interval[0]), up(interval[1])
    return f'<path class="{kind}" d="M{x:g} {low:g}V{high:g}M{x - 3:g} {low:g}h6M{x - 3:g} {high:g}h6"/>'


def _boxes(x: float, y: float, interval: Interval | None, up: Scale) -> list[Box]:
    """Give what a mark and its interval cover."""
    bar = [] if interval is None else [(x - 3, up(interval[1]), x + 3, up(interval[0]))]
    return [(x - 7, y - 7, x + 7, y + 7), *bar]


def whisker(value: float, interval: Interval | None, low: float, high: float, zero: float | None = None) -> str:
    """Draw a value and its interval as a dot on a line, small enough for a table's cell.

    Args:
        value: of the dot.
        interval: of the line; None draws the dot alone.
        low: value at the left edge.
        high: value at the right edge.
        zero: value to draw a vertical line at.
    """
    across = Scale(low, high, 6, 134)
    parts = [line(across(zero), 1, across(zero), 15, "axis")] if zero is not None else []
    parts += [line(across(interval[0]), 8, across(interval[1]), 8, "bar")] if interval else []
    parts.append(f'<circle cx="{across(value):g}" cy="8" r="3.4" fill="{BLUE}"/>')
    said = f"{number(value)} ({between(interval)})" if interval else number(value)
    return drawing(140, 16, said, "".join(parts), "cell")
